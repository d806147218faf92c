"""Puts a stdio server behind a WebSocket, one child a connection: the control for clients that speak it.

Usage: over_websocket.py PORT COMMAND ARG...

MCP never specified WebSocket. What the SDKs do: subprotocol `mcp`, one message a text frame.
"""

import asyncio
import sys

import websockets.asyncio.server

LINE_BYTES_MAX = 16 << 20


async def serve(socket: websockets.asyncio.server.ServerConnection) -> None:
    child = await asyncio.create_subprocess_exec(
        *sys.argv[2:], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES_MAX)

    async def down() -> None:
        async for line in child.stdout:
            await socket.send(line.decode().rstrip("\n"))

    relay = asyncio.create_task(down())
    try:
        async for message in socket:
            child.stdin.write(message.encode() + b"\n")
            await child.stdin.drain()
    finally:
        relay.cancel()
        child.terminate()
        await child.wait()


async def main() -> None:
    async with websockets.asyncio.server.serve(
            serve, "127.0.0.1", int(sys.argv[1]), subprotocols=["mcp"], max_size=LINE_BYTES_MAX):
        await asyncio.Future()


asyncio.run(main())
