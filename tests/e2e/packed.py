"""What is compressed on its way: the field's own clients and servers agree on it with the gateway, the metrics say what
it came to, and a bomb costs its sender one request and the gateway no memory."""

import gzip
import json
import pathlib
import socket
import subprocess
import zlib

from exchange import Door
from eyes import Admin, seen
from net import Started
from stage import HERE, Gateway, Stage, client_python
from typescript import REFERENCE, node

ON = "[http]\ncompression = true\nwebsocket_compression = true\n"
SIZE = 20_000
BOMB_BYTES = 1 << 30
# What a body of the limit frame_bytes_max may cost several times over.
GROWTH_KB_MAX = 64 << 10
FETCH = """
const [port, size] = process.argv.slice(1);
const text = "the status of the repository is open, ".repeat(size / 20).slice(0, size);
const reply = await fetch(`http://127.0.0.1:${port}/tools/echo`, {
  method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({message: text})});
const body = await reply.text();
console.log(JSON.stringify({coding: reply.headers.get("content-encoding"), good: body.includes(text)}));
"""


def client(kind: str, port: int) -> dict:
    done = subprocess.run([client_python("legacy-1.30"), str(HERE / "clients" / "packed.py"), kind, str(port), str(SIZE)],
                          stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def ratio(admin: Admin, coding: str, direction: str) -> str:
    labels = {"coding": coding, "direction": direction}
    assert admin.value("ringgate_compressed_total", **labels) >= 2, labels
    found = admin.value("ringgate_compression_ratio", **labels)
    assert found > 2, (labels, found)
    return f"{coding} {direction} {found:.1f}"


def clients_get_what_they_ask_for(binary: str, stage: Stage) -> str:
    """`websockets`, httpx and Node's fetch, none of them told to."""
    with seen(binary, stage, {}, config=ON) as (gateway, admin):
        told = client("websocket", gateway.http_port)
        assert told == {"extensions": ["PerMessageDeflate"], "good": True}, told
        told = client("httpx", gateway.http_port)
        assert told["good"] and set(told["coding"]) <= {"gzip", "zstd"}, told
        coding = told["coding"][0]
        done = subprocess.run([node(), "--input-type=module", "-e", FETCH, str(gateway.http_port), str(SIZE)],
                              stdout=subprocess.PIPE, text=True, check=True)
        fetched = json.loads(done.stdout)
        assert fetched["good"] and fetched["coding"] in ("gzip", "zstd"), fetched
        packed = [ratio(admin, "permessage-deflate", way) for way in ("in", "out")]
        return ", ".join([*packed, ratio(admin, coding, "out")])


def nobody_does_by_default(binary: str, stage: Stage) -> None:
    with seen(binary, stage, {}) as (gateway, admin):
        assert client("websocket", gateway.http_port) == {"extensions": [], "good": True}
        told = client("httpx", gateway.http_port)
        assert told["good"] and told["coding"] == [None, None], told
        assert admin.value("ringgate_compressed_total") == 0


def a_request_may_come_compressed(binary: str, stage: Stage) -> None:
    with seen(binary, stage, {}) as (gateway, admin):
        door = Door(gateway.http_port)
        body = json.dumps({"message": "x" * SIZE}).encode()
        headers = {"Content-Type": "application/json"}
        reply = door.request("POST", {**headers, "Content-Encoding": "gzip"}, gzip.compress(body), path="/tools/echo")
        assert reply.status == 200 and b"x" * SIZE in reply.body, reply.status
        reply = door.request("POST", {**headers, "Content-Encoding": "br"}, body, path="/tools/echo")
        assert reply.status == 415 and reply.header("accept-encoding") == "zstd, gzip", reply.status
        assert admin.value("ringgate_compressed_total", coding="gzip", direction="in") == 1


def upstreams_are_asked_for_it(binary: str, stage: Stage) -> str:
    """The reference server behind `websockets`, and behind another gateway over HTTP/1.1 and HTTP/2."""
    said = []
    environ = {"RINGGATE_UPSTREAMS__EVERYTHING__COMPRESSION": "on", "RINGGATE_SHARDS__COUNT": "1"}
    program, *args = REFERENCE
    with Started(stage.dir / "compressed-ws.log") as started:
        behind = Gateway(binary, stage.dir / "compressed-behind", {"everything": {"command": program, "args": args}},
                         http=True, config=ON)
        try:
            behind.wait_up()
            ways = [(started.over_websocket(*REFERENCE), "permessage-deflate", {}), (behind.url, "zstd", {}),
                    (behind.url, "zstd", {"RINGGATE_UPSTREAMS__EVERYTHING__HTTP2": "true"})]
            for url, coding, more in ways:
                with seen(binary, stage, {"everything": {"url": url}}, environ={**environ, **more}) as (gateway, admin):
                    gateway.wait_up()
                    for _ in range(3):
                        listed = Door(gateway.http_port).modern("tools/list").json
                        assert len(listed["result"]["tools"]) > 5, listed
                    assert admin.value("ringgate_compressed_total", coding=coding, direction="in") > 0, coding
                    found = admin.value("ringgate_compression_ratio", coding=coding, direction="in")
                    assert found > 2, found
                    said.append(f"{coding} {found:.1f}")
        finally:
            wrong = behind.stop()
    assert wrong is None, wrong
    return ", ".join(said)


def bomb(window: int) -> bytes:
    """A gibibyte of nothing: of `gzip` (31) or without a head (-15)."""
    machine = zlib.compressobj(9, zlib.DEFLATED, window)
    zeros = b" " * (1 << 20)
    packed = b"".join(machine.compress(zeros) for _ in range(BOMB_BYTES >> 20))
    return packed + (machine.flush() if window > 0 else machine.flush(zlib.Z_SYNC_FLUSH)[:-4])


def peak_kb(pid: int) -> int:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def a_bomb_costs_one_request_and_no_memory(binary: str, stage: Stage) -> str:
    with seen(binary, stage, {}, config=ON) as (gateway, _):
        client("httpx", gateway.http_port)
        before = peak_kb(gateway.process.pid)
        body = bomb(31)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        for _ in range(5):
            reply = Door(gateway.http_port).request("POST", headers, body)
            assert reply.status == 413 and b"frame_bytes_max" in reply.body, reply.status
        packed = bomb(-15)
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", gateway.http_port), 20) as raw:
                raw.sendall(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += raw.recv(1)
                assert b"permessage-deflate" in head, head
                raw.sendall(b"\xc1\xff" + len(packed).to_bytes(8) + bytes(4) + packed)
                closed = raw.recv(4, socket.MSG_WAITALL)
                assert closed == b"\x88\x02" + (1009).to_bytes(2), closed
        grown = peak_kb(gateway.process.pid) - before
        assert grown < GROWTH_KB_MAX, f"{grown} KB"
        assert client("httpx", gateway.http_port)["good"]
        return f"{len(body) >> 10} KB that are 1 GB, ten times: {grown >> 10} MB more at most"


ALL = {f"packed/{name}": check for name, check in {
    "clients-get-what-they-ask-for": clients_get_what_they_ask_for,
    "nobody-does-by-default": nobody_does_by_default,
    "a-request-may-come-compressed": a_request_may_come_compressed,
    "upstreams-are-asked-for-it": upstreams_are_asked_for_it,
    "a-bomb-costs-one-request-and-no-memory": a_bomb_costs_one_request_and_no_memory,
}.items()}
