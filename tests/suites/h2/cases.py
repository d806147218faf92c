"""How a case is written down, and the two kinds of verdict that RFC 9113 knows."""

import dataclasses
from collections.abc import Callable

from wire import END_STREAM, ERRORS, GOAWAY, HEADERS, RST_STREAM, Closed, Connection, Frame, Silent, named


class Skipped(Exception):
    """The server gives no occasion for this case."""


@dataclasses.dataclass
class Case:
    section: str
    name: str
    run: Callable[[Connection], str | None]
    # Whether the handshake is the case's own business.
    bare: bool
    # A rule that good servers leave aside; it counts only when asked for.
    strict: bool


ALL: list[Case] = []


def case(section: str, bare: bool = False, strict: bool = False):
    """Registers a case under the section of RFC 9113 (or `7541/…`) that it holds the server to."""

    def register(run: Callable[[Connection], str | None]) -> Callable[[Connection], str | None]:
        ALL.append(Case(section, run.__name__.strip("_").replace("_", "-"), run, bare, strict))
        return run

    return register


def connection_error(connection: Connection, *codes: int) -> str | None:
    """Section 5.4.1: GOAWAY with one of these codes. That the connection is closed is enough: a reset
    of the TCP connection may overtake the frame. So is GOAWAY with another code (which is said), as long
    as the connection ends; not under `--strict`."""
    return _error(connection, None, codes)


def stream_error(connection: Connection, stream: int, *codes: int) -> str | None:
    """Section 5.4.2: RST_STREAM with one of these codes; an endpoint may always take a stream error for
    one of the connection. A response that is an error itself, section 8.1.1, ends the stream too."""
    return _error(connection, stream, codes)


def _error(connection: Connection, stream: int | None, codes: tuple[int, ...]) -> str | None:
    wanted = " or ".join(named(ERRORS, code) for code in codes)
    seen: list[str] = []
    other: str | None = None
    while True:
        try:
            got = connection.next()
        except Closed:
            return other
        except Silent:
            raise AssertionError(f"wanted {wanted}; it said {', then '.join(seen[-4:]) or 'nothing'}") from None
        if _ends(connection, got, stream, codes):
            return other
        if got.kind == GOAWAY:
            assert not connection.strict, f"wanted {wanted}, got {got}"
            other = f"{named(ERRORS, got.error)} in place of {wanted}"
        seen.append(str(got))


def _ends(connection: Connection, got: Frame, stream: int | None, codes: tuple[int, ...]) -> bool:
    if got.kind == GOAWAY:
        return got.error in codes
    if got.kind == RST_STREAM and stream is not None and got.stream == stream:
        assert got.error in codes, f"wanted {' or '.join(named(ERRORS, code) for code in codes)}, got {got}"
        return True
    if got.kind == HEADERS and stream is not None and got.stream == stream and got.flags & END_STREAM:
        return 400 <= int(dict(connection.decoder.decode(got.payload)).get(":status", 0)) < 500
    return False
