"""HTTP+SSE of 2024-11-05, and WebSocket, which no revision has but people use.

basic/transports of 2024-11-05; RFC 6455, with the subprotocol that the SDKs agreed on.
"""

import base64
import hashlib
import json
import os
import socket
import struct
from urllib.parse import urljoin

from exchange import ABLE_KEY, LEGACY, MODERN, SELF, VERSION_KEY, Door, Reply, text_of
from http_sessions import good

SSE_VERSION = "2024-11-05"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


# HTTP+SSE

class Stream:
    """One SSE session: what is posted is answered on the stream."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.reply = good(door.request("GET", {"Accept": "text/event-stream"}, None, "/sse"), 200)
        self.events = self.reply.events()
        first = next(self.events)
        assert first["event"] == "endpoint", f"the first event is {first}"
        self.endpoint = urljoin("/sse", first["data"])

    def post(self, message: dict) -> Reply:
        body = json.dumps(message).encode()
        return self.door.request("POST", {"Content-Type": "application/json"}, body, self.endpoint)

    def ask(self, ident: object, method: str, params: dict | None = None) -> dict:
        good(self.post({"jsonrpc": "2.0", "id": ident, "method": method, "params": params or {}}), 202)
        for event in self.events:
            if "data" not in event:
                continue
            assert event.get("event", "message") == "message", event
            message = json.loads(event["data"])
            if message.get("id") == ident and "method" not in message:
                return message
        raise AssertionError("the stream ended without an answer")

    def hello(self) -> "Stream":
        params = {"protocolVersion": SSE_VERSION, "capabilities": {}, "clientInfo": SELF}
        assert self.ask(0, "initialize", params)["result"]["protocolVersion"] == SSE_VERSION
        good(self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}), 202)
        return self


def an_sse_stream_begins_with_its_endpoint(door: Door) -> None:
    """The URI may be relative; it leads to this server and is this session's own."""
    one, two = Stream(door), Stream(door)
    assert one.endpoint != two.endpoint and one.endpoint.startswith("/"), (one.endpoint, two.endpoint)
    one.reply.close()
    two.reply.close()


def answers_come_on_the_sse_stream(door: Door) -> None:
    """A POST is 202; its answer, and a failure of the call too, are events `message`."""
    stream = Stream(door).hello()
    assert "simple text" in text_of(stream.ask("a", "tools/call", {"name": "test_simple_text", "arguments": {}}))
    assert stream.ask("b", "no/such")["error"]["code"] == -32601
    stream.reply.close()


def sse_sessions_are_apart(door: Door) -> None:
    one, two = Stream(door).hello(), Stream(door).hello()
    good(one.post({"jsonrpc": "2.0", "id": "mine", "method": "ping"}), 202)
    assert two.ask("yours", "ping")["result"] == {}
    assert json.loads(next(e for e in one.events if "data" in e)["data"])["id"] == "mine"
    one.reply.close()
    two.reply.close()


def a_message_for_an_unknown_sse_session_is_refused(door: Door) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    for query, status in (("?sessionId=junk", (404,)), ("", (400, 404))):
        reply = door.request("POST", {"Content-Type": "application/json"}, body, f"/message{query}")
        assert reply.status in status, (query, reply.status)


def an_sse_session_ends_with_its_stream(door: Door) -> None:
    stream = Stream(door).hello()
    stream.reply.close()
    for _ in range(2_000):
        if stream.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status == 404:
            return
    raise AssertionError("the session outlives its stream")


def the_sse_endpoints_take_one_method_each(door: Door) -> None:
    for method, path in (("PUT", "/sse"), ("GET", "/message?sessionId=junk"), ("DELETE", "/message?sessionId=junk")):
        assert door.request(method, {"Accept": "*/*"}, None, path).status == 405, (method, path)


# WebSocket

class Socket:
    """One WebSocket, frame by frame."""

    def __init__(self, door: Door, **headers: str | None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", door.port), 20)
        key = base64.b64encode(os.urandom(16))
        usual = {"Host": f"127.0.0.1:{door.port}", "Upgrade": "websocket", "Connection": "Upgrade",
                 "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key.decode(), "Sec-WebSocket-Protocol": "mcp"}
        lines = [f"{name}: {value}" for name, value in {**usual, **headers}.items() if value is not None]
        self.socket.sendall(("GET /ws HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            data = self.socket.recv(1 << 16)
            assert data, f"closed during the handshake: {self.rest!r}"
            self.rest += data
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *rows = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
        self.accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()

    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, kind: int, payload: bytes, last: bool = True, masked: bool = True) -> None:
        size = len(payload)
        head = bytes([kind | (0x80 if last else 0)])
        short = size if size < 126 else 126 if size < 1 << 16 else 127
        head += bytes([short | (0x80 if masked else 0)])
        head += struct.pack(">H", size) if short == 126 else struct.pack(">Q", size) if short == 127 else b""
        mask = os.urandom(4)
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        self.socket.sendall(head + (mask + body if masked else payload))

    def _take(self, size: int) -> bytes:
        while len(self.rest) < size:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the connection was closed")
            self.rest += data
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def next(self) -> tuple[int, bytes]:
        first, second = self._take(2)
        assert not second & 0x80, "a server must not mask"
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        return first & 0x0F, self._take(size)

    def ask(self, ident: object, method: str, params: dict | None = None) -> dict:
        self.send(TEXT, json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params or {}}).encode())
        while True:
            kind, payload = self.next()
            if kind == TEXT:
                message = json.loads(payload)
                if message.get("id") == ident and "method" not in message:
                    return message
            assert kind in (TEXT, PING), (kind, payload)

    def hello(self) -> "Socket":
        assert self.status == 101, self.status
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": SELF}
        assert self.ask(0, "initialize", params)["result"]["protocolVersion"] == LEGACY
        self.send(TEXT, b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        return self

    def closed_with(self) -> int | None:
        """The code of the server's close frame; none if it only closed."""
        try:
            while True:
                kind, payload = self.next()
                if kind == CLOSE:
                    return int.from_bytes(payload[:2], "big") if payload else None
        except OSError:
            return None


def a_websocket_is_opened_with_the_subprotocol(door: Door) -> None:
    with Socket(door) as ws:
        assert ws.status == 101 and ws.headers["sec-websocket-accept"] == ws.accept, ws.headers
        assert ws.headers.get("sec-websocket-protocol") == "mcp", ws.headers
    with Socket(door, **{"Sec-WebSocket-Protocol": "chat, mcp"}) as ws:
        assert ws.headers.get("sec-websocket-protocol") == "mcp", ws.headers


def a_websocket_speaks_either_era(door: Door) -> None:
    with Socket(door) as ws:
        ws.hello()
        assert "simple text" in text_of(ws.ask(1, "tools/call", {"name": "test_simple_text", "arguments": {}}))
    meta = {VERSION_KEY: MODERN, ABLE_KEY: {}}
    with Socket(door) as ws:
        params = {"name": "test_simple_text", "arguments": {}, "_meta": meta}
        answer = ws.ask("m", "tools/call", params)
        assert answer["result"]["resultType"] == "complete" and "simple text" in text_of(answer), answer


def a_websocket_handshake_that_is_wrong_is_refused(door: Door) -> None:
    for headers, status in (({"Origin": "http://evil.example"}, {403}), ({"Host": "evil.example"}, {421}),
                            ({"Sec-WebSocket-Version": "8"}, {400, 426}), ({"Sec-WebSocket-Key": None}, {400}),
                            ({"Upgrade": None, "Connection": None}, {400, 426})):
        with Socket(door, **headers) as ws:
            assert ws.status in status, (headers, ws.status)


def frames_that_are_wrong_close_a_websocket(door: Door) -> None:
    """1002 for a frame that must not be, 1003 for a binary one, 1007 for text that is no UTF-8."""
    for kind, payload, masked, code in ((TEXT, b"{}", False, 1002), (BINARY, b"{}", True, 1003),
                                        (TEXT, b'"\xff"', True, 1007), (3, b"", True, 1002)):
        with Socket(door) as ws:
            ws.send(kind, payload, masked=masked)
            assert ws.closed_with() in (code, None), (kind, payload)


def a_ping_and_a_fragmented_message_are_taken(door: Door) -> None:
    with Socket(door) as ws:
        ws.hello()
        ws.send(TEXT, b'{"jsonrpc":"2.0","id":"f",', last=False)
        ws.send(PING, b"hello")
        ws.send(0, b'"method":"ping"}')
        got = [ws.next(), ws.next()]
        assert (PONG, b"hello") in got, got
        assert any(kind == TEXT and json.loads(payload) == {"jsonrpc": "2.0", "id": "f", "result": {}}
                   for kind, payload in got), got


def a_close_is_answered(door: Door) -> None:
    with Socket(door) as ws:
        ws.hello()
        ws.send(CLOSE, struct.pack(">H", 1000))
        assert ws.closed_with() == 1000


def bad_json_on_a_websocket_is_answered(door: Door) -> None:
    """And the connection goes on."""
    with Socket(door) as ws:
        ws.hello()
        ws.send(TEXT, b"not json")
        kind, payload = ws.next()
        assert kind == TEXT and json.loads(payload)["error"]["code"] == -32700, payload
        assert ws.ask(5, "ping")["result"] == {}


ALL = {f"http-sse/{check.__name__.replace('_', '-')}": check for check in (
    an_sse_stream_begins_with_its_endpoint, answers_come_on_the_sse_stream, sse_sessions_are_apart,
    a_message_for_an_unknown_sse_session_is_refused, an_sse_session_ends_with_its_stream,
    the_sse_endpoints_take_one_method_each,
)}
ALL |= {f"http-ws/{check.__name__.replace('_', '-')}": check for check in (
    a_websocket_is_opened_with_the_subprotocol, a_websocket_speaks_either_era,
    a_websocket_handshake_that_is_wrong_is_refused, frames_that_are_wrong_close_a_websocket,
    a_ping_and_a_fragmented_message_are_taken, a_close_is_answered, bad_json_on_a_websocket_is_answered,
)}
