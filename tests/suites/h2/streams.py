"""Good frames where they must not be, and messages that are malformed: sections 5 and 8."""

import struct

from cases import Skipped, case, connection_error, stream_error
from wire import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, PROTOCOL_ERROR,
    REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, Connection, setting,
)

CANCELLED = b"\0\0\0\x08"
# A limit above this is not worth reaching.
STREAMS_TRIED_MAX = 2_000


# Idle

@case("5.1")
def data_on_an_idle_stream(c: Connection) -> str | None:
    c.send(DATA, END_STREAM, 1, b"x")
    return connection_error(c, PROTOCOL_ERROR)


@case("5.1")
def a_reset_of_an_idle_stream(c: Connection) -> str | None:
    c.send(RST_STREAM, 0, 1, CANCELLED)
    return connection_error(c, PROTOCOL_ERROR)


@case("5.1")
def a_window_update_of_an_idle_stream(c: Connection) -> str | None:
    c.send(WINDOW_UPDATE, 0, 1, struct.pack(">I", 100))
    return connection_error(c, PROTOCOL_ERROR)


@case("5.1")
def a_continuation_on_an_idle_stream(c: Connection) -> str | None:
    c.send(CONTINUATION, END_HEADERS, 1, c.block(c.fields()))
    return connection_error(c, PROTOCOL_ERROR)


# Half closed: no window, so that the server cannot end its side before we speak again.

def _half_closed(c: Connection) -> None:
    c.send(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 0))
    c.until(lambda f: f.kind == SETTINGS)
    c.headers(1)


@case("5.1")
def data_after_the_end_of_a_stream(c: Connection) -> str | None:
    _half_closed(c)
    c.send(DATA, END_STREAM, 1, b"x")
    return stream_error(c, 1, STREAM_CLOSED)


@case("5.1")
def headers_after_the_end_of_a_stream(c: Connection) -> str | None:
    _half_closed(c)
    c.headers(1)
    return stream_error(c, 1, STREAM_CLOSED)


@case("5.1")
def a_continuation_after_the_end_of_a_stream(c: Connection) -> str | None:
    _half_closed(c)
    c.send(CONTINUATION, END_HEADERS, 1, c.block(c.fields()))
    return connection_error(c, STREAM_CLOSED, PROTOCOL_ERROR)


# Closed

def _reset(c: Connection) -> None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(RST_STREAM, 0, 1, CANCELLED)


@case("5.1")
def data_after_our_reset(c: Connection) -> str | None:
    _reset(c)
    c.send(DATA, END_STREAM, 1, b"x")
    return stream_error(c, 1, STREAM_CLOSED)


@case("5.1")
def headers_after_our_reset(c: Connection) -> str | None:
    _reset(c)
    c.headers(1)
    return stream_error(c, 1, STREAM_CLOSED)


@case("5.1")
def a_continuation_after_our_reset(c: Connection) -> str | None:
    _reset(c)
    c.send(CONTINUATION, END_HEADERS, 1, c.block(c.fields()))
    return connection_error(c, STREAM_CLOSED, PROTOCOL_ERROR)


@case("5.1")
def data_on_a_finished_stream(c: Connection) -> str | None:
    c.alive(1)
    c.send(DATA, END_STREAM, 1, b"x")
    return stream_error(c, 1, STREAM_CLOSED)


@case("5.1")
def headers_on_a_finished_stream(c: Connection) -> str | None:
    c.alive(1)
    c.headers(1)
    return connection_error(c, STREAM_CLOSED, PROTOCOL_ERROR)


@case("5.1.1")
def an_even_stream(c: Connection) -> str | None:
    c.headers(2)
    return connection_error(c, PROTOCOL_ERROR)


@case("5.1.1")
def a_stream_below_one_that_was_opened(c: Connection) -> str | None:
    c.headers(5)
    c.response(5)
    c.headers(3)
    return connection_error(c, PROTOCOL_ERROR, STREAM_CLOSED)


@case("5.1.2")
def more_streams_than_the_server_allows(c: Connection) -> str | None:
    most = c.settings.get(MAX_CONCURRENT_STREAMS)
    if most is None or most > STREAMS_TRIED_MAX:
        raise Skipped(f"the server allows {most or 'any number of'} streams")
    c.send(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 0))
    c.until(lambda f: f.kind == SETTINGS)
    for i in range(most + 1):
        c.headers(1 + 2 * i, c.fields("POST"), END_HEADERS)
    return stream_error(c, 1 + 2 * most, PROTOCOL_ERROR, REFUSED_STREAM)


# Messages

@case("8.1")
def trailers_that_do_not_end_the_stream(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(DATA, 0, 1, b"test")
    c.headers(1, [("x-trailer", "y")], END_HEADERS)
    return stream_error(c, 1, PROTOCOL_ERROR)


@case("8.1")
def trailers_are_taken(c: Connection) -> None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(DATA, 0, 1, b"test")
    c.headers(1, [("x-trailer", "y")])
    assert 200 <= c.response(1)[0] < 500


def _malformed(section: str, name: str, fields) -> None:
    """A request whose fields alone make it malformed, section 8.1.1."""

    def run(c: Connection) -> str | None:
        c.headers(1, fields(c))
        return stream_error(c, 1, PROTOCOL_ERROR)

    run.__name__ = name
    case(section)(run)


for _section, _name, _fields in (
    ("8.2", "a-name-in-upper-case", lambda c: [*c.fields(), ("X-Upper", "y")]),
    ("8.2.1", "a-name-with-a-space", lambda c: [*c.fields(), ("x y", "z")]),
    ("8.2.1", "a-name-with-a-colon", lambda c: [*c.fields(), ("x:y", "z")]),
    ("8.2.1", "an-empty-name", lambda c: [*c.fields(), ("", "z")]),
    ("8.2.1", "a-name-with-a-nul", lambda c: [*c.fields(), ("x\0y", "z")]),
    ("8.2.1", "a-value-with-a-nul", lambda c: [*c.fields(), ("x-y", "a\0b")]),
    ("8.2.1", "a-value-with-a-line-feed", lambda c: [*c.fields(), ("x-y", "a\nb")]),
    ("8.2.1", "a-value-with-a-carriage-return", lambda c: [*c.fields(), ("x-y", "a\rb")]),
    ("8.2.2", "a-connection-field", lambda c: [*c.fields(), ("connection", "keep-alive")]),
    ("8.2.2", "a-transfer-encoding", lambda c: [*c.fields(), ("transfer-encoding", "chunked")]),
    ("8.2.2", "te-other-than-trailers", lambda c: [*c.fields(), ("te", "trailers, deflate")]),
    ("8.3", "an-unknown-pseudo-field", lambda c: [*c.fields(), (":unknown", "y")]),
    ("8.3", "a-pseudo-field-of-responses", lambda c: [*c.fields(), (":status", "200")]),
    ("8.3", "a-pseudo-field-after-the-others", lambda c: [*c.fields(_path=None), ("x-y", "z"), (":path", "/")]),
    ("8.3.1", "an-empty-path", lambda c: c.fields(_path="")),
    ("8.3.1", "no-method", lambda c: c.fields(_method=None)),
    ("8.3.1", "no-scheme", lambda c: c.fields(_scheme=None)),
    ("8.3.1", "no-path", lambda c: c.fields(_path=None)),
    ("8.3.1", "the-method-twice", lambda c: [(":method", "GET"), *c.fields()]),
    ("8.3.1", "the-scheme-twice", lambda c: [(":scheme", "http"), *c.fields()]),
    ("8.3.1", "the-path-twice", lambda c: [(":path", "/"), *c.fields()]),
    ("8.1.1", "a-length-without-a-body", lambda c: [*c.fields("POST"), ("content-length", "1")]),
):
    _malformed(_section, _name, _fields)


@case("8.3")
def a_pseudo_field_in_trailers(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(DATA, 0, 1, b"test")
    c.headers(1, [("x-trailer", "y"), (":method", "POST")])
    return stream_error(c, 1, PROTOCOL_ERROR)


@case("8.1.1")
def a_body_longer_than_its_length(c: Connection) -> str | None:
    c.headers(1, [*c.fields("POST"), ("content-length", "1")], END_HEADERS)
    c.send(DATA, END_STREAM, 1, b"test")
    return stream_error(c, 1, PROTOCOL_ERROR)


@case("8.1.1")
def a_body_in_parts_longer_than_its_length(c: Connection) -> str | None:
    c.headers(1, [*c.fields("POST"), ("content-length", "5")], END_HEADERS)
    c.send(DATA, 0, 1, b"test")
    c.send(DATA, END_STREAM, 1, b"test")
    return stream_error(c, 1, PROTOCOL_ERROR)


@case("8.1.1")
def a_body_shorter_than_its_length(c: Connection) -> str | None:
    c.headers(1, [*c.fields("POST"), ("content-length", "9")], END_HEADERS)
    c.send(DATA, END_STREAM, 1, b"test")
    return stream_error(c, 1, PROTOCOL_ERROR)


@case("8.1")
def a_get_is_answered(c: Connection) -> None:
    c.headers(1)
    status, _ = c.response(1)
    assert 200 <= status < 500, status


@case("8.1")
def a_post_with_a_body_is_answered(c: Connection) -> None:
    c.headers(1, [*c.fields("POST"), ("content-length", "4")], END_HEADERS)
    c.send(DATA, END_STREAM, 1, b"test")
    assert 200 <= c.response(1)[0] < 500


@case("8.1")
def a_head_is_answered_without_a_body(c: Connection) -> None:
    c.headers(1, c.fields("HEAD"))
    status, body = c.response(1)
    assert 200 <= status < 500 and body == b"", (status, body)


@case("5.1")
def many_requests_at_once_are_all_answered(c: Connection) -> None:
    many = min(50, c.settings.get(MAX_CONCURRENT_STREAMS, 50))
    for i in range(many):
        c.headers(1 + 2 * i)
    open_streams = {1 + 2 * i for i in range(many)}
    while open_streams:
        got = c.next()
        if got.kind == HEADERS:
            c.decoder.decode(got.payload)
        if got.kind in (HEADERS, DATA) and got.flags & END_STREAM:
            open_streams.discard(got.stream)
