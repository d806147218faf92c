"""Three thousand readers that stop reading while everything is told to everybody: memory stays within the bounds, they
are closed in their time and counted, and those who read are told all of it, in order.

The stuck hear a resource change, over SSE and over WebSocket, until their kernels take no more. How long calls of others
take before and meanwhile is printed, not judged: a figure needs a release build (`--gateway`).
"""

import base64
import contextlib
import json
import os
import re
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

from exchange import ABLE_KEY, BOTH, MODERN, SELF, SELF_KEY, VERSION_KEY
from eyes import Admin
from lines import Lines, text_of
from slow import resident
from stage import HERE, Gateway, Stage, free_port

SSE, WEBSOCKET = 2_000, 1_000
GOOD = 4
CALLERS = 16
ROUNDS = 100
# What is told in all is several times what may wait for one reader (`outbox_bytes_max`) and what its kernels take. It is
# told in pieces that fit a link's bound: who reads is never behind.
TOLD, PIECE = 200, 10
TOLD_BYTES = 4_000
# A link's bound, and the frame that went over it; buffers grow by doubling, so that twice that may be theirs.
LINK_BYTES_MAX = 2 * ((100 << 10) + TOLD_BYTES + 1_000)
# What is kept for all who do not read (`gateway/behind.rs`), and buffers that grew with what was said to all at once.
SHARD_BYTES_MAX = 96 << 20
WAIT_S_MAX = 120.0
NUMBER = re.compile(rb'"n": ?(\d+),')
FILES = 8_000

META = {VERSION_KEY: MODERN, ABLE_KEY: {}, SELF_KEY: SELF}
LISTEN = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen",
          "params": {"_meta": META, "notifications": {"resourceSubscriptions": ["herald+news:today"]}}}


def small(port: int) -> socket.socket:
    """A connection whose kernels take little for it, on both sides."""
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    stuck.settimeout(WAIT_S_MAX)
    stuck.connect(("127.0.0.1", port))
    return stuck


def large(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), WAIT_S_MAX)


def until(reader: socket.socket, word: bytes) -> bytes:
    got = b""
    while word not in got:
        piece = reader.recv(4096)
        assert piece, f"closed before {word!r}: {got!r}"
        got += piece
    return got


def listen_sse(connection: socket.socket) -> bytes:
    """Listens; what came behind the acknowledgement."""
    body = json.dumps(LISTEN).encode()
    connection.sendall((f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: {BOTH}\r\n"
                        f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: subscriptions/listen\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
    return until(connection, b"subscriptions/acknowledged")


def listen_websocket(connection: socket.socket) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    payload = json.dumps(LISTEN).encode()
    assert 126 <= len(payload) < 65536
    connection.sendall((f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode()
                       # A mask of zeros leaves the payload as it is.
                       + b"\x81\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload)
    return until(connection, b"subscriptions/acknowledged")


class Reader(threading.Thread):
    """Reads all that it is told, and notes the number of each change."""

    def __init__(self, port: int, listen: Callable[[socket.socket], bytes]) -> None:
        super().__init__(daemon=True)
        self.connection = large(port)
        self.rest = listen(self.connection)
        self.numbers: list[int] = []
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end = 0
                for found in NUMBER.finditer(self.rest):
                    self.numbers.append(int(found[1]))
                    end = found.end()
                # A number may not be there as a whole yet.
                self.rest = self.rest[end:][-32:]
                piece = self.connection.recv(1 << 16)
                if not piece:
                    return
                self.rest += piece


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= FILES, f"the host allows {hard} files, and this needs {FILES}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100] * 1_000


def three_thousand(binary: str, stage: Stage) -> str:
    servers = {name: {"command": sys.executable, "args": [str(HERE / "servers" / f"{name}.py")]} for name in ("herald", "quick")}
    admin_port = free_port()
    with many_files(), contextlib.ExitStack() as stack:
        gateway = Gateway(binary, stage.dir / "stuck", servers, http=True,
                          environ={"RINGGATE_ADMIN__LISTEN": f"127.0.0.1:{admin_port}"})
        try:
            gateway.wait_up()
            admin = Admin(admin_port)
            port = gateway.http_port
            callers = [stack.enter_context(Lines(gateway.port)) for _ in range(CALLERS)]
            for lines in callers:
                lines.initialize()
            good = [Reader(port, listen) for listen in [listen_sse, listen_websocket] for _ in range(GOOD // 2)]

            def round_of_calls(number: int) -> list[float]:
                times = []
                for n, lines in enumerate(callers):
                    began = time.monotonic()
                    answer = lines.call("quick__echo", {"text": f"{number}.{n}"})
                    times.append(time.monotonic() - began)
                    assert text_of(answer) == f"{number}.{n}", answer
                return times

            before = [time for n in range(ROUNDS) for time in round_of_calls(n)]
            stuck = []
            for listen, count in ((listen_sse, SSE), (listen_websocket, WEBSOCKET)):
                for _ in range(count):
                    connection = stack.enter_context(small(port))
                    listen(connection)
                    stuck.append(connection)
            idle = resident(gateway.process.pid)
            proclaimer = stack.enter_context(Lines(gateway.port))
            proclaimer.initialize()
            most, meanwhile, pressed, began = 0, [], 0.0, time.monotonic()

            def look() -> None:
                nonlocal most, pressed
                meanwhile.extend(round_of_calls(len(meanwhile)))
                most = max(most, resident(gateway.process.pid) - idle)
                pressed = max(pressed, admin.value("ringgate_shard_blocked_links"))

            def proclaim(first: int, count: int) -> None:
                proclaimer.call("herald__proclaim", {"from": first, "count": count, "bytes": TOLD_BYTES})
                deadline = time.monotonic() + WAIT_S_MAX
                while any(len(reader.numbers) < first + count for reader in good):
                    assert time.monotonic() < deadline, [len(reader.numbers) for reader in good]
                    time.sleep(0.002)

            def given_up(kind: str) -> float:
                return admin.value("ringgate_slow_closed_total", kind=kind, limit="blocked")

            for first in range(0, TOLD, PIECE):
                proclaim(first, PIECE)
                look()
            while (closed := (given_up("http"), given_up("websocket"))) != (SSE, WEBSOCKET):
                look()
                assert time.monotonic() - began < WAIT_S_MAX, f"closed are {closed}; blocked were {pressed}"
            after = time.monotonic() - began
            bound = len(stuck) * LINK_BYTES_MAX + SHARD_BYTES_MAX
            assert most < bound, f"{most >> 20} MiB for those who do not read, and {bound >> 20} are theirs"
            # Those who read are there, and are told on.
            proclaim(TOLD, 1)
            for reader in good:
                assert reader.numbers == list(range(TOLD + 1)), reader.numbers
            kinds = ("http", "websocket")
            until_gone = time.monotonic() + WAIT_S_MAX
            while links := sum(admin.value("ringgate_shard_links", kind=kind) for kind in kinds) - GOOD:
                assert time.monotonic() < until_gone, f"{links} are left"
                time.sleep(0.02)
            for reader in good:
                reader.connection.close()
        finally:
            wrong = gateway.stop()
        assert wrong is None, wrong
    return (f"all closed after {after:.1f} s, {pressed:.0f} blocked at once; at most {most >> 20} MiB of {bound >> 20}; "
            f"p99 of a call {p99(before):.2f} ms before, {p99(meanwhile):.2f} ms meanwhile")


ALL = {"stuck/three-thousand-readers-that-stop": three_thousand}
