"""Endless cheap work: each flood must cost the server a bounded amount, and its neighbours nothing.

A flood is over when the server ends the connection (GOAWAY or close) or the stream, or stops reading.
One that is taken to its last frame, with the server still willing, has failed.
"""

import struct
import threading

from cases import case
from wire import (
    CONTINUATION, DATA, END_HEADERS, GOAWAY, PING, RST_STREAM, SETTINGS, Closed, Connection, Silent, frame, setting,
)

FLOOD_BYTES = 64 << 20
RESETS = 200_000
BATCH = 200


class Neighbour(threading.Thread):
    """Makes requests on a connection of its own while the flood runs."""

    def __init__(self, c: Connection) -> None:
        super().__init__(daemon=True)
        host, port = c.socket.getpeername()[:2]
        self.mine = Connection(host, port, 10.0)
        self.mine.shake()
        self.ending = threading.Event()
        self.done = 0
        self.wrong: Exception | None = None

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                self.mine.alive(1 + 2 * self.done)
            except Exception as error:  # any failure of the neighbour is what we look for
                self.wrong = error
                return
            self.done += 1

    def __enter__(self) -> "Neighbour":
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.ending.set()
        self.join(15)
        self.mine.socket.close()
        if kind is None:
            assert self.wrong is None, f"a neighbour noticed: {self.wrong}"
            assert self.done, "the neighbour was not served"


def _flood(c: Connection, frames, reads: bool) -> str:
    """Sends until the server has had enough; says how that showed."""
    with Neighbour(c):
        c.socket.settimeout(5.0)
        sent = 0
        for chunk in frames:
            try:
                c.socket.sendall(chunk)
            except TimeoutError:
                return f"it stopped reading after {sent >> 10} KiB"
            except OSError:
                return f"it closed after {sent >> 10} KiB"
            sent += len(chunk)
            if not reads:
                continue
            try:
                while True:
                    got = c.next(0)
                    if got.kind == GOAWAY:
                        return f"{got} after {sent >> 10} KiB"
                    if got.kind == RST_STREAM and c.ends_with_stream:
                        return f"{got} after {sent >> 10} KiB"
                    c.seen.clear()
            except Silent:
                continue
            except Closed:
                return f"it closed after {sent >> 10} KiB"
        raise AssertionError(f"it took {sent >> 10} KiB and wants more")


def _batches(one: bytes, limit: int = FLOOD_BYTES):
    chunk = one * BATCH
    for _ in range(limit // len(chunk) + 1):
        yield chunk


@case("10.5")
def a_rapid_reset(c: Connection) -> str:
    """CVE-2023-44487: streams that are reset as soon as they are opened."""
    block = c.block(c.fields())

    def frames():
        for first in range(0, RESETS, BATCH):
            yield b"".join(frame(1, 0x5, 1 + 2 * i, block) + frame(RST_STREAM, 0, 1 + 2 * i, b"\0\0\0\x08")
                           for i in range(first, first + BATCH))

    return _flood(c, frames(), reads=True)


@case("10.5.1")
def a_header_block_without_end(c: Connection) -> str:
    """CVE-2024-27316 and its kin: CONTINUATION frames that never end the block."""
    c.headers(1, flags=0x1)
    c.ends_with_stream = True
    more = c.block([("x-more", "y" * 4_000)])
    return _flood(c, _batches(frame(CONTINUATION, 0, 1, more)), reads=True)


@case("10.5")
def empty_continuations(c: Connection) -> str:
    """CVE-2019-9518: no byte of a block, again and again."""
    c.headers(1, flags=0x1)
    c.ends_with_stream = True
    return _flood(c, _batches(frame(CONTINUATION, 0, 1)), reads=True)


@case("10.5")
def empty_data(c: Connection) -> str:
    """CVE-2019-9518: no byte of a body, again and again."""
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.ends_with_stream = True
    return _flood(c, _batches(frame(DATA, 0, 1)), reads=True)


@case("10.5")
def pings_whose_answers_are_not_read(c: Connection) -> str:
    """CVE-2019-9512."""
    return _flood(c, _batches(frame(PING, 0, 0, b"ringgate")), reads=False)


@case("10.5")
def settings_whose_answers_are_not_read(c: Connection) -> str:
    """CVE-2019-9515."""
    return _flood(c, _batches(frame(SETTINGS, 0, 0, setting(1, 100))), reads=False)


@case("10.5")
def streams_that_make_the_server_reset_them(c: Connection) -> str:
    """CVE-2019-9514 and CVE-2025-8671: each stream is opened with what must be answered by RST_STREAM."""
    block = c.block(c.fields("POST"))

    def frames():
        for first in range(0, RESETS, BATCH):
            yield b"".join(frame(1, 0x4, 1 + 2 * i, block) + frame(8, 0, 1 + 2 * i, struct.pack(">I", 0))
                           for i in range(first, first + BATCH))

    return _flood(c, frames(), reads=True)
