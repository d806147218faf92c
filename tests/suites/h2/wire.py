"""One HTTP/2 connection that may say anything: frames are packed by hand, so that they can be wrong.

Nothing here judges. What the server sends is read into `Frame`s; its SETTINGS and PINGs are answered,
as a client must, unless a case asks for silence.
"""

import dataclasses
import select
import socket
import struct
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED, PRIORITIZED, ACK = 0x1, 0x4, 0x8, 0x20, 0x1
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)
ERRORS = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
          "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"]
KINDS = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
         "CONTINUATION"]
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
FRAME_BYTES = 16_384


def named(names: list[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)


@dataclasses.dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def error(self) -> int:
        """The code of a RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[-4:] if self.kind == RST_STREAM else self.payload[4:8], "big")

    def __str__(self) -> str:
        told = f" {named(ERRORS, self.error)}" if self.kind in (RST_STREAM, GOAWAY) else ""
        return f"{named(KINDS, self.kind)}{told} on {self.stream}, flags {self.flags:#x}, {len(self.payload)} bytes"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def setting(name: int, value: int) -> bytes:
    return struct.pack(">HI", name, value)


class Closed(Exception):
    """The server closed the connection."""


class Silent(Exception):
    """Nothing came in time."""


class Connection:
    def __init__(self, host: str, port: int, wait_s: float, strict: bool = False) -> None:
        self.wait_s, self.strict = wait_s, strict
        self.authority = f"{host}:{port}"
        self.socket = socket.create_connection((host, port), wait_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.settings: dict[int, int] = {}
        self.seen: list[Frame] = []
        self.answers = True
        # Floods: whether the end of the stream is the end of the case.
        self.ends_with_stream = False
        self._rest = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # Out

    def raw(self, data: bytes) -> None:
        """Sends; if the server has closed, what it said before is still there to be read."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise

    def send(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self.raw(frame(kind, flags, stream, payload))

    def shake(self, settings: bytes = b"") -> None:
        """The preface, our SETTINGS, and the wait for the server's and its acknowledgement."""
        self.raw(PREFACE + frame(SETTINGS, payload=settings))
        self.until(lambda f: f.kind == SETTINGS and not f.flags & ACK)
        self.until(lambda f: f.kind == SETTINGS and bool(f.flags & ACK))

    def fields(self, method: str = "GET", **changed: str | None) -> list[tuple[str, str]]:
        """A good request's fields; `_path=None` leaves the pseudo field `:path` out."""
        pseudo = {":method": method, ":scheme": "http", ":path": "/", ":authority": self.authority}
        pseudo.update({":" + name.lstrip("_"): value for name, value in changed.items()})
        return [(name, value) for name, value in pseudo.items() if value is not None]

    def block(self, fields: list[tuple[str, str]]) -> bytes:
        # Never indexed: a block that the server refuses must not spoil the table for the next.
        return b"".join(literal(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields)

    def headers(self, stream: int, fields: list[tuple[str, str]] | None = None, flags: int = END_STREAM | END_HEADERS,
                ) -> None:
        self.send(HEADERS, flags, stream, self.block(fields or self.fields()))

    # In

    def next(self, wait_s: float | None = None) -> Frame:
        """The next frame. What a client must answer is answered."""
        deadline = time.monotonic() + (self.wait_s if wait_s is None else wait_s)
        while (size := self._whole()) is None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise Silent("nothing came in time")
            try:
                data = self.socket.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                raise Closed("the connection was closed")
            self._rest += data
        kind, flags, stream = self._rest[3], self._rest[4], int.from_bytes(self._rest[5:9], "big") & 0x7FFF_FFFF
        got = Frame(kind, flags, stream, self._rest[9:9 + size])
        self._rest = self._rest[9 + size:]
        self.seen.append(got)
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(got.payload) - 5, 6):
                name, value = struct.unpack_from(">HI", got.payload, at)
                self.settings[name] = value
            if self.answers:
                self.send(SETTINGS, ACK)
        elif kind == PING and not flags & ACK and self.answers:
            self.send(PING, ACK, 0, got.payload)
        return got

    def _whole(self) -> int | None:
        if len(self._rest) < 9:
            return None
        size = int.from_bytes(self._rest[:3], "big")
        return size if len(self._rest) >= 9 + size else None

    def until(self, wanted) -> Frame:
        while True:
            got = self.next()
            if wanted(got):
                return got

    def response(self, stream: int) -> tuple[int, bytes]:
        """A whole response: its status and body."""
        status, body = 0, b""
        while True:
            got = self.next()
            assert got.kind != GOAWAY, f"instead of a response: {got}"
            if got.stream != stream:
                continue
            assert got.kind in (HEADERS, DATA, WINDOW_UPDATE), f"instead of a response: {got}"
            if got.kind == HEADERS:
                fields = dict(self.decoder.decode(got.payload))
                status = int(fields.get(":status", status))
            elif got.kind == DATA:
                body += got.payload
                if got.payload:
                    self.send(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(got.payload)))
            if got.kind in (HEADERS, DATA) and got.flags & END_STREAM:
                return status, body

    def alive(self, stream: int) -> None:
        """The connection goes on: a request gets its response."""
        self.headers(stream)
        status, _ = self.response(stream)
        assert 200 <= status < 500, f"status {status}"


def literal(name: bytes, value: bytes) -> bytes:
    """A literal field without indexing and without Huffman coding, RFC 7541 section 6.2.2."""
    return b"\x00" + length(len(name), 7) + name + length(len(value), 7) + value


def length(value: int, bits: int) -> bytes:
    """An integer with a prefix, RFC 7541 section 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    out, value = bytearray([most]), value - most
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
