"""What clients of the churn speak, on asyncio and the standard library: lines, HTTP/1.1 with event streams, WebSocket.

Only as much of each as a client needs; every wait has an end, and whoever does not answer within it is at fault.
"""

import asyncio
import base64
import itertools
import json
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator

ANSWER_S_MAX = 60.0
LEGACY, MODERN = "2025-11-25", "2026-07-28"
SELF = {"name": "churn", "version": "1"}
BOTH = "application/json, text/event-stream"
NAMED = {"tools/call": "name", "resources/read": "uri"}
LINE_BYTES_MAX = 1 << 20


class Fault(Exception):
    """The gateway did not do what it had to."""


def meta(able: dict | None = None) -> dict:
    return {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": able or {},
            "io.modelcontextprotocol/clientInfo": SELF}


def hello(able: dict | None = None, version: str = LEGACY) -> dict:
    return {"protocolVersion": version, "capabilities": able or {}, "clientInfo": SELF}


def text_of(answer: dict) -> str:
    if "result" not in answer or answer["result"].get("isError"):
        raise Fault(f"a call failed: {json.dumps(answer)[:300]}")
    return "".join(part.get("text", "") for part in answer["result"].get("content", []))


class Stream:
    """A connection, and its end in all ways in which clients leave."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def leave(self, rudely: bool = False) -> None:
        if rudely:
            plain = self.writer.get_extra_info("socket")
            if plain is not None and plain.family != socket.AF_UNIX:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


async def connect(where: str | int, context: ssl.SSLContext | None = None, source: str | None = None) -> Stream:
    """To a path or a port; from an address of the loopback, if it is said."""
    async with asyncio.timeout(ANSWER_S_MAX):
        if isinstance(where, str):
            return Stream(*await asyncio.open_unix_connection(where, limit=LINE_BYTES_MAX))
        secure = {"ssl": context, "server_hostname": "localhost"} if context else {}
        origin = {"local_addr": (source, 0)} if source else {}
        return Stream(*await asyncio.open_connection("127.0.0.1", where, limit=LINE_BYTES_MAX, **secure, **origin))


class Peer:
    """JSON-RPC over something that sends and receives whole messages."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)
        self.heard: list[dict] = []

    async def send(self, message: dict) -> None:
        raise NotImplementedError

    async def receive(self) -> dict:
        raise NotImplementedError

    async def ask(self, method: str, params: dict | None = None) -> dict:
        ident = next(self.ids)
        await self.send({"jsonrpc": "2.0", "id": ident, "method": method, "params": params or {}})
        async with asyncio.timeout(ANSWER_S_MAX):
            while True:
                message = await self.receive()
                if message.get("id") == ident and "method" not in message:
                    return message
                if message.get("method") == "elicitation/create":
                    result = {"action": "accept", "content": {"name": "x"}}
                    await self.send({"jsonrpc": "2.0", "id": message["id"], "result": result})
                self.heard.append(message)

    async def hears(self, method: str) -> dict:
        async with asyncio.timeout(ANSWER_S_MAX):
            while True:
                for message in self.heard:
                    if message.get("method") == method:
                        return message
                self.heard.append(await self.receive())

    async def tell(self, method: str, params: dict | None = None) -> None:
        await self.send({"jsonrpc": "2.0", "method": method, "params": params or {}})

    async def initialize(self, able: dict | None = None) -> None:
        answer = await self.ask("initialize", hello(able))
        if answer.get("result", {}).get("protocolVersion") != LEGACY:
            raise Fault(f"initialize: {json.dumps(answer)[:300]}")
        await self.tell("notifications/initialized")

    async def call(self, tool: str, arguments: dict | None = None, **more: object) -> dict:
        return await self.ask("tools/call", {"name": tool, "arguments": arguments or {}, **more})


class Lines(Peer):
    """A JSON message a line."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    async def send(self, message: dict) -> None:
        self.stream.writer.write(json.dumps(message).encode() + b"\n")
        await self.stream.writer.drain()

    async def receive(self) -> dict:
        line = await self.stream.reader.readline()
        if not line:
            raise Fault("a connection was closed before it was answered")
        return json.loads(line)


class WebSocket(Peer):
    """A JSON message a text frame."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    async def upgrade(self, port: int, key: str) -> "WebSocket":
        nonce = base64.b64encode(os.urandom(16)).decode()
        self.stream.writer.write((f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
                                  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  f"Sec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Key: {nonce}\r\n\r\n").encode())
        async with asyncio.timeout(ANSWER_S_MAX):
            head = await self.stream.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Fault(f"no upgrade: {head[:100]!r}")
        return self

    def frame(self, code: int, payload: bytes) -> None:
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        # A mask of zeros leaves the payload as it is.
        self.stream.writer.write(bytes([0x80 | code]) + length + bytes(4) + payload)

    async def send(self, message: dict) -> None:
        self.frame(1, json.dumps(message).encode())
        await self.stream.writer.drain()

    async def receive(self) -> dict:
        reader = self.stream.reader
        while True:
            first, length = await reader.readexactly(2)
            if length == 126:
                length = struct.unpack(">H", await reader.readexactly(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", await reader.readexactly(8))[0]
            payload = await reader.readexactly(length)
            if first & 15 == 9:
                self.frame(10, payload)
            elif first & 15 == 8:
                raise Fault(f"a WebSocket was closed: {payload!r}")
            elif first & 15 == 1:
                return json.loads(payload)


class Reply:
    """The head of a response, and how its body is read: whole, or event by event."""

    def __init__(self, stream: Stream, head: bytes) -> None:
        first, *lines = head.decode().rstrip().split("\r\n")
        self.stream, self.status = stream, int(first.split()[1])
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}

    async def chunks(self) -> AsyncIterator[bytes]:
        reader = self.stream.reader
        while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readline()

    async def body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in self.chunks()])
        return await self.stream.reader.readexactly(int(self.headers.get("content-length", 0)))

    async def events(self) -> AsyncIterator[tuple[str, dict[str, str]]]:
        """Events as (id, fields); comments are none."""
        rest = b""
        async for chunk in self.chunks():
            rest += chunk
            while b"\n\n" in rest:
                event, _, rest = rest.partition(b"\n\n")
                fields = dict(line.split(": ", 1) for line in event.decode().split("\n") if ": " in line and line[0] != ":")
                if fields:
                    yield fields.get("id", ""), fields

    async def answer(self, ident: object) -> dict:
        """The response to a request, as a body or in a stream; the whole body is read."""
        async with asyncio.timeout(ANSWER_S_MAX):
            if not self.headers.get("content-type", "").startswith("text/event-stream"):
                raw = await self.body()
                try:
                    return json.loads(raw)
                except ValueError:
                    raise Fault(f"status {self.status}: {raw[:200]!r}") from None
            found = None
            async for _, fields in self.events():
                message = json.loads(fields["data"]) if fields.get("data") else {}
                if message.get("id") == ident and "method" not in message:
                    found = message
        if found is None:
            raise Fault("a stream ended without its answer")
        return found


class Http:
    """One kept-alive connection of an HTTP client with a key."""

    def __init__(self, stream: Stream, port: int, key: str | None) -> None:
        self.stream, self.port, self.key = stream, port, key
        self.ids = itertools.count(1)
        self.session: str | None = None

    async def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        if self.key is not None:
            lines.append(f"Authorization: Bearer {self.key}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        if self.session is not None:
            lines += [f"Mcp-Session-Id: {self.session}", f"MCP-Protocol-Version: {LEGACY}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.stream.writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        async with asyncio.timeout(ANSWER_S_MAX):
            head = await self.stream.reader.readuntil(b"\r\n\r\n")
        return Reply(self.stream, head)

    async def post(self, message: dict, **headers: str) -> Reply:
        return await self.request("POST", "/mcp", json.dumps(message).encode(), Accept=BOTH, **headers)

    async def initialize(self, able: dict | None = None) -> None:
        reply = await self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello(able)})
        answer = await reply.answer(0)
        if "result" not in answer:
            raise Fault(f"initialize: {reply.status} {json.dumps(answer)[:300]}")
        self.session = reply.headers["mcp-session-id"]
        done = await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        if done.status != 202:
            raise Fault(f"initialized: {done.status}")
        await done.body()

    async def ask(self, method: str, params: dict | None = None) -> dict:
        ident = next(self.ids)
        reply = await self.post({"jsonrpc": "2.0", "id": ident, "method": method, "params": params or {}})
        return await reply.answer(ident)

    async def modern(self, method: str, params: dict | None = None, able: dict | None = None) -> tuple[int, Reply]:
        ident, params = next(self.ids), {**(params or {}), "_meta": meta(able)}
        headers = {"MCP_Protocol_Version": MODERN, "Mcp_Method": method}
        if method in NAMED:
            headers["Mcp_Name"] = params[NAMED[method]]
        message = {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}
        return ident, await self.post(message, **headers)

    async def delete(self) -> None:
        reply = await self.request("DELETE", "/mcp")
        await reply.body()
        self.session = None
