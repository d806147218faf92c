"""Clients that take compressed answers, as the field's libraries do it. Usage: packed.py websocket|httpx PORT SIZE

Calls `echo` of the built-in server with a text of SIZE characters, twice; prints what came as JSON.
"""

import asyncio
import json
import sys

import httpx
import websockets.asyncio.client

KIND, PORT, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
TEXT = ("the status of the repository is open, " * (SIZE // 20))[:SIZE]
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"}}


def call(ident: int) -> dict:
    return {"jsonrpc": "2.0", "id": ident, "method": "tools/call",
            "params": {"name": "echo", "arguments": {"message": TEXT}, "_meta": META}}


async def websocket() -> dict:
    url = f"ws://127.0.0.1:{PORT}/ws"
    async with websockets.asyncio.client.connect(url, subprotocols=["mcp"], max_size=None) as socket:
        answers = []
        for ident in (1, 2):
            await socket.send(json.dumps(call(ident)))
            answers.append(json.loads(await socket.recv()))
        return {"extensions": [type(one).__name__ for one in socket.protocol.extensions],
                "good": all(TEXT in json.dumps(answer) for answer in answers)}


def over_http() -> dict:
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28",
               "mcp-method": "tools/call", "mcp-name": "echo"}
    with httpx.Client() as client:
        replies = [client.post(f"http://127.0.0.1:{PORT}/mcp", json=call(ident), headers=headers) for ident in (1, 2)]
    return {"asked": replies[0].request.headers["accept-encoding"],
            "coding": [reply.headers.get("content-encoding") for reply in replies],
            "good": all(TEXT in reply.text for reply in replies)}


print(json.dumps(asyncio.run(websocket()) if KIND == "websocket" else over_http()))
