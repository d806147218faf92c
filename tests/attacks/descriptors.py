"""More connections than descriptors: the gateway neither spins nor dies, and takes the waiting ones when others leave."""

import resource
import socket
import time

from lines import Lines, text_of
from siege import OverLines, Siege, many, close_all, others_are_served, stands, until
from stage import Gateway, Stage

NOFILE, BEYOND = 200, 100
# Each listener of each shard asks again after 10 ms.
TRIES_A_SECOND_MAX = 100
LOOK_S = 2.0
# Processor time of a gateway that has nothing to do but to find that no descriptor is left.
BUSY_MAX = 0.25


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (NOFILE, NOFILE))


def cpu_s(siege: Siege) -> float:
    """From /proc: the admin listener needs a descriptor too."""
    with open(f"/proc/{siege.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def exhausted(siege: Siege, port: int, what: bytes) -> None:
    good = OverLines(Lines(siege.gateway.port))
    with others_are_served(siege, good):
        crowd = many(port, NOFILE + BEYOND, what)
        until("the descriptors are not used up", lambda: "could not be accepted" in siege.gateway.log.read_text())
        before, began = cpu_s(siege), time.monotonic()
        done = good.done
        until("calls stand still", lambda: time.monotonic() - began > LOOK_S and good.done > done)
        busy = (cpu_s(siege) - before) / (time.monotonic() - began)
        assert busy < BUSY_MAX, f"{busy:.2f} of a core, spent on finding that nothing is left"
        # Those that wait are taken when others leave, and served.
        waiting = crowd[-1]
        close_all(crowd[:NOFILE])
        del crowd[:NOFILE]
        served(waiting, port == siege.gateway.port)
        close_all(crowd)
    tries, shards = siege.count("accept_failures_total"), siege.count("shard_up")
    lasted = time.monotonic() - began + LOOK_S
    assert 0 < tries <= TRIES_A_SECOND_MAX * shards * lasted, f"{tries} tries in {lasted:.1f} s"
    with Lines(siege.gateway.port) as lines:
        lines.initialize()
        assert text_of(lines.call("echo", {"text": "afterwards"})) == "afterwards"


def served(waiting: socket.socket, is_lines: bool) -> None:
    """Who came when nothing was left, and waited."""
    if is_lines:
        waiting.sendall(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
                        b'"capabilities":{},"clientInfo":{"name":"late","version":"1"}}}\n')
        assert b'"protocolVersion"' in waiting.recv(1 << 16)
    else:
        waiting.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert waiting.recv(1 << 16).startswith(b"HTTP/1.1 200")


def of_lines(binary: str, stage: Stage) -> None:
    with stands(binary, stage, "descriptors-lines", prepare=few_descriptors) as siege:
        exhausted(siege, siege.gateway.port, b"")


def of_http(binary: str, stage: Stage) -> None:
    with stands(binary, stage, "descriptors-http", prepare=few_descriptors) as siege:
        exhausted(siege, siege.gateway.http_port, b"")


def a_server_is_started_again(binary: str, stage: Stage) -> None:
    """One that dies while no descriptor is left is back when there are some."""
    with stands(binary, stage, "descriptors-child", prepare=few_descriptors) as siege:
        gateway: Gateway = siege.gateway
        with Lines(gateway.port) as lines:
            lines.initialize()
            crowd = many(gateway.port, NOFILE + BEYOND)
            until("the descriptors are not used up", lambda: "could not be accepted" in gateway.log.read_text())
            lines.call("die")
            answer = lines.call("echo", {"text": "x"})
            assert "error" in answer or text_of(answer) == "x", answer
            close_all(crowd)
            until("the server is not back", lambda: lines.call("echo", {"text": "x"}).get("result"))


ALL = {"descriptors/of-lines": of_lines, "descriptors/of-http": of_http,
       "descriptors/a-server-is-started-again": a_server_is_started_again}
