"""What every attack is judged by: others are served all through it, and afterwards nothing of it is left."""

import contextlib
import itertools
import os
import pathlib
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator

from exchange import Door, text_of
from eyes import Admin
from lines import ANSWER_S_MAX, Lines
from stage import HERE, Gateway, Stage, free_port

QUICK = {"quick": {"command": sys.executable, "args": ["-S", str(HERE / "servers" / "quick.py")]}}
GONE_S_MAX = 60.0
# Between two calls of a good client: attacks are to find it calling, not to be outshouted by it.
PACE_S = 0.02
# What an attack may leave of the memory that it took at its height, and what an allocator keeps in any case.
KEPT_PART, KEPT_BYTES = 0.25, 8 << 20
# An attack that takes much comes in waves: each is to find all that the one before gave back, but for this. The step
# between two of them is judged by its median: an allocator may take some megabytes more once, a leak grows each time.
MORE_PART, MORE_BYTES = 0.05, 1 << 20


class Good(threading.Thread):
    """A client that calls all the time, and wants every answer."""

    def __init__(self, name: str) -> None:
        super().__init__(daemon=True)
        self.called, self.done, self.wrong, self.is_ending = name, 0, [], threading.Event()

    def ask(self, text: str) -> str:
        raise NotImplementedError

    def run(self) -> None:
        while not self.is_ending.wait(PACE_S):
            text = f"{self.called} {self.done}"
            try:
                got = self.ask(text)
                assert got == text, f"asked for {text!r}, got {got!r}"
            except Exception as error:  # whatever it is, somebody was not served
                self.wrong.append(f"{type(error).__name__}: {error}")
                return
            self.done += 1

    def finish(self) -> None:
        self.is_ending.set()
        self.join(ANSWER_S_MAX)
        assert not self.wrong, f"{self.called} was not served: {self.wrong[0]}"
        assert self.done, f"{self.called} made no call"


class OverLines(Good):
    """One connection, kept all through."""

    def __init__(self, lines: Lines, tool: str = "echo", argument: str = "text") -> None:
        super().__init__("lines")
        self.lines, self.tool, self.argument = lines, tool, argument
        lines.initialize()

    def ask(self, text: str) -> str:
        return text_of(self.lines.call(self.tool, {self.argument: text}))


class OverHttp(Good):
    """A new connection for each call: whoever comes meanwhile is let in."""

    def __init__(self, port: int) -> None:
        super().__init__("http")
        self.door = Door(port)

    def ask(self, text: str) -> str:
        reply = self.door.modern("tools/call", {"name": "echo", "arguments": {"text": text}}, ident=1)
        answer = text_of(reply.answer(1))
        reply.close()
        return answer


def resident(pid: int) -> int:
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def until(what: str, is_so, within_s: float = GONE_S_MAX) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"{what} within {within_s:.0f} s"
        time.sleep(0.05)


class Siege:
    """A gateway that is attacked, beside what an operator sees of it."""

    def __init__(self, gateway: Gateway, admin: Admin) -> None:
        self.gateway, self.admin, self.pid = gateway, admin, gateway.process.pid
        self.most = 0
        self.heights: list[int] = []

    def count(self, name: str, **labels: str) -> int:
        return int(self.admin.value(f"ringgate_{name}", **labels))

    def look(self) -> None:
        """Notes what the attack has taken at its height."""
        self.most = max(self.most, resident(self.pid))

    def wave_is_over(self) -> None:
        """The next one is measured for itself."""
        self.heights.append(self.most)
        self.most = 0


@contextlib.contextmanager
def stands(binary: str, stage: Stage, name: str, config: str = "", upstreams: dict | None = None, prepare=None,
           environ: dict | None = None) -> Iterator[Siege]:
    """A gateway with its admin listener, which must live and end well."""
    port = free_port()
    gateway = Gateway(binary, stage.dir / name, QUICK if upstreams is None else upstreams, http=True, config=config,
                      prepare=prepare, environ={"RINGGATE_ADMIN__LISTEN": f"127.0.0.1:{port}", **(environ or {})})
    try:
        gateway.wait_up()
        yield Siege(gateway, Admin(port))
        assert gateway.process.poll() is None, f"the gateway ended: {gateway.tail()}"
    except BaseException:
        if gateway.process.poll() is None:
            gateway.stop()
        raise
    wrong = gateway.stop()
    assert wrong is None, wrong


@contextlib.contextmanager
def others_are_served(siege: Siege, *good: Good) -> Iterator[None]:
    """Good clients call all through; then descriptors are as they were, and memory is back: most of it is the
    system's again, or the last wave has taken no more than the one before."""
    for one in good:
        one.start()
    until("the good clients do not begin", lambda: all(one.done >= 20 or one.wrong for one in good))
    before, fds = resident(siege.pid), descriptors(siege.pid)
    siege.most = before
    yield
    siege.look()
    # Not before each has come through once more.
    marks = [one.done for one in good]
    until("good clients stand still", lambda: all(one.done > mark + 1 or one.wrong for one, mark in zip(good, marks, strict=True)))
    for one in good:
        one.finish()
    # A good client of HTTP has one connection open or none.
    until("descriptors are not back", lambda: descriptors(siege.pid) <= fds + 1)
    if len(siege.heights) > 1:
        steps = [last - before for before, last in itertools.pairwise(siege.heights)]
        usual = statistics.median_low(steps)
        assert usual <= siege.heights[0] * MORE_PART + MORE_BYTES, f"each wave takes more: {siege.heights}"
        return
    kept = max(KEPT_BYTES, int(KEPT_PART * (siege.most - before)))
    until(f"memory is not back: {before >> 10} KiB before, {siege.most >> 10} KiB at most, {resident(siege.pid) >> 10} KiB now",
          lambda: resident(siege.pid) <= before + kept)


def many(port: int, count: int, what: bytes = b"", source: str | None = None) -> list[socket.socket]:
    """Connections that say this much and no more."""
    made = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), ANSWER_S_MAX, source and (source, 0))
        if what:
            one.sendall(what)
        made.append(one)
    return made


def close_all(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()
    sockets.clear()
