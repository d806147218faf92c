"""Streams that are never read: each costs its bound and is closed after its time, while a thousand others go on."""

import base64
import contextlib
import json
import os
import pathlib
import socket
import sys
import time
from collections.abc import Callable

from exchange import BOTH, Door, Session
from lines import ANSWER_S_MAX, Lines, text_of
from shards import metrics
from stage import HERE, Gateway, Stage

NEIGHBOURS = 1_000
# What the upstream says to the one who does not read is some 10 MB a second; so much may stay of it, queues
# of the kernel aside. The bound of a link is 100 KB; allocators round up.
MEMORY_MAX = 16 << 20
CLOSED_S_MAX = 60.0
CALL = {"jsonrpc": "2.0", "id": 77, "method": "tools/call",
        "params": {"name": "steps", "arguments": {}, "_meta": {"progressToken": "never-read"}}}


def small(port: int) -> socket.socket:
    """A connection whose kernel takes little for it."""
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.settimeout(ANSWER_S_MAX)
    stuck.connect(("127.0.0.1", port))
    return stuck


def over_sse(port: int) -> socket.socket:
    session = Session(Door(port))
    body = json.dumps(CALL).encode()
    stuck = small(port)
    stuck.sendall((f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nAccept: {BOTH}\r\n"
                   f"Mcp-Session-Id: {session.id}\r\nMCP-Protocol-Version: {session.version}\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
    return stuck


def over_websocket(port: int) -> socket.socket:
    stuck = small(port)
    key = base64.b64encode(os.urandom(16)).decode()
    stuck.sendall((f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}}
    for message in ({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
                    {"jsonrpc": "2.0", "method": "notifications/initialized"}, CALL):
        payload = json.dumps(message).encode()
        assert 126 <= len(payload) + 100 < 65536
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        # A mask of zeros leaves the payload as it is.
        stuck.sendall(b"\x81" + length + bytes(4) + payload)
    return stuck


def over_lines(port: int) -> socket.socket:
    stuck = small(port)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}}
    for message in ({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
                    {"jsonrpc": "2.0", "method": "notifications/initialized"}, CALL):
        stuck.sendall(json.dumps(message).encode() + b"\n")
    return stuck


def resident(pid: int) -> int:
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def never_read(begin: Callable[[int], socket.socket], is_lines: bool) -> Callable:
    def check(binary: str, stage: Stage) -> str:
        quick = {"quick": {"command": sys.executable, "args": [str(HERE / "servers" / "quick.py")]}}
        gateway = Gateway(binary, stage.dir / f"slow-{begin.__name__}", quick, http=True,
                          config="[http]\nmetrics = true\n")
        try:
            gateway.wait_up()
            with contextlib.ExitStack() as stack:
                others = [stack.enter_context(Lines(gateway.port)) for _ in range(NEIGHBOURS)]
                for lines in others:
                    lines.initialize()

                def round_of_calls() -> None:
                    begun = [lines.begin("tools/call", {"name": "echo", "arguments": {"text": f"{n}"}})
                             for n, lines in enumerate(others)]
                    for n, (lines, ident) in enumerate(zip(others, begun, strict=True)):
                        answer = lines.answer()
                        assert answer["id"] == ident and text_of(answer) == f"{n}", answer

                for _ in range(5):
                    round_of_calls()
                before, most, rounds = resident(gateway.process.pid), 0, 0
                stuck = stack.enter_context(begin(gateway.port if is_lines else gateway.http_port))
                began = time.monotonic()
                while not sum(metrics(gateway.http_port)["closed_slow"]):
                    round_of_calls()
                    rounds += 1
                    most = max(most, resident(gateway.process.pid) - before)
                    assert time.monotonic() - began < CLOSED_S_MAX, "the stream that is never read stays open"
                after = time.monotonic() - began
                round_of_calls()
                stuck.close()
            assert most < MEMORY_MAX, f"{most} bytes for one stream"
        finally:
            wrong = gateway.stop()
        assert wrong is None, wrong
        return f"closed after {after:.1f} s and {rounds} rounds of {NEIGHBOURS} calls, at most {most >> 10} KiB"

    return check


ALL = {
    "slow/an-event-stream-that-is-never-read": never_read(over_sse, False),
    "slow/a-websocket-that-is-never-read": never_read(over_websocket, False),
    "slow/a-connection-that-is-never-read": never_read(over_lines, True),
}
