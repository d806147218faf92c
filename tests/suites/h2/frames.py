"""Frames that are wrong in themselves: sections 3.4 to 4.3 and 6."""

import struct

from cases import case, connection_error, stream_error
from wire import (
    ACK, COMPRESSION_ERROR, CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_BYTES,
    FRAME_SIZE_ERROR, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, PADDED, PING, PREFACE, PRIORITY,
    PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, Closed, Connection, Silent, frame,
    setting,
)

EIGHT = b"ringgate"


@case("3.4", bare=True)
def a_preface_is_answered_with_settings(c: Connection) -> None:
    c.raw(PREFACE + frame(SETTINGS))
    first = c.next()
    assert first.kind == SETTINGS and not first.flags & ACK, f"its first frame was {first}"


@case("3.4", bare=True)
def an_invalid_preface(c: Connection) -> None:
    c.raw(b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS))
    # A port that also speaks HTTP/1.1 may answer in that; the connection must end in any case.
    while True:
        try:
            if not c.socket.recv(1 << 16):
                return
        except TimeoutError:
            raise AssertionError("the connection stays open") from None
        except OSError:
            return


@case("3.4", bare=True, strict=True)
def a_preface_without_settings(c: Connection) -> str | None:
    c.raw(PREFACE + frame(PING, payload=EIGHT))
    return connection_error(c, PROTOCOL_ERROR)


@case("4.1")
def an_unknown_frame_is_ignored(c: Connection) -> None:
    c.send(0xBE, 0xFF, 0, b"unknown")
    c.send(0xBE, 0, 1, b"unknown")
    c.alive(1)


@case("4.1")
def undefined_flags_are_ignored(c: Connection) -> None:
    c.send(PING, 0x16, 0, EIGHT)
    got = c.until(lambda f: f.kind == PING)
    assert got.flags & ACK and got.payload == EIGHT, got


@case("4.1")
def the_reserved_bit_is_ignored(c: Connection) -> None:
    c.send(PING, 0, 0x8000_0000, EIGHT)
    assert c.until(lambda f: f.kind == PING).flags & ACK


@case("4.2")
def the_largest_frame_is_taken(c: Connection) -> None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(DATA, END_STREAM, 1, b"x" * FRAME_BYTES)
    status, _ = c.response(1)
    assert 200 <= status < 500, status


@case("4.2")
def data_over_the_largest_frame(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(DATA, END_STREAM, 1, b"x" * (FRAME_BYTES + 1))
    return stream_error(c, 1, FRAME_SIZE_ERROR)


@case("4.2")
def headers_over_the_largest_frame(c: Connection) -> str | None:
    c.headers(1, [*c.fields(), *((f"x-{i}", "y" * 1_000) for i in range(20))])
    return connection_error(c, FRAME_SIZE_ERROR)


@case("4.3")
def a_header_block_that_cannot_be_decoded(c: Connection) -> str | None:
    c.send(HEADERS, END_STREAM | END_HEADERS, 1, b"\x40\x8f\xff")
    return connection_error(c, COMPRESSION_ERROR)


@case("4.3")
def another_frame_inside_a_header_block(c: Connection) -> str | None:
    c.headers(1, flags=END_STREAM)
    c.send(PRIORITY, 0, 1, b"\0\0\0\0\x10")
    return connection_error(c, PROTOCOL_ERROR)


@case("4.3")
def headers_of_another_stream_inside_a_header_block(c: Connection) -> str | None:
    c.headers(1, flags=END_STREAM)
    c.headers(3)
    return connection_error(c, PROTOCOL_ERROR)


@case("5.5")
def an_unknown_frame_inside_a_header_block(c: Connection) -> str | None:
    c.headers(1, flags=END_STREAM)
    c.send(0xBE, 0, 0, b"unknown")
    return connection_error(c, PROTOCOL_ERROR)


@case("6.1")
def data_on_stream_zero(c: Connection) -> str | None:
    c.send(DATA, END_STREAM, 0, b"x")
    return connection_error(c, PROTOCOL_ERROR)


@case("6.1")
def data_with_more_padding_than_payload(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(DATA, END_STREAM | PADDED, 1, b"\x06xxxxx")
    return connection_error(c, PROTOCOL_ERROR)


@case("6.1")
def padded_data_is_taken(c: Connection) -> None:
    c.headers(1, [*c.fields("POST"), ("content-length", "4")], END_HEADERS)
    c.send(DATA, END_STREAM | PADDED, 1, b"\x08test" + bytes(8))
    assert 200 <= c.response(1)[0] < 500


@case("6.2")
def headers_on_stream_zero(c: Connection) -> str | None:
    c.headers(0)
    return connection_error(c, PROTOCOL_ERROR)


@case("6.2")
def headers_with_more_padding_than_payload(c: Connection) -> str | None:
    block = c.block(c.fields())
    c.send(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, bytes([len(block) + 1]) + block)
    return connection_error(c, PROTOCOL_ERROR)


@case("6.2")
def padded_headers_with_a_priority_are_taken(c: Connection) -> None:
    payload = b"\x04" + b"\0\0\0\0\x10" + c.block(c.fields()) + bytes(4)
    c.send(HEADERS, END_STREAM | END_HEADERS | PADDED | 0x20, 1, payload)
    assert 200 <= c.response(1)[0] < 500


@case("6.3")
def a_priority_on_stream_zero(c: Connection) -> str | None:
    c.send(PRIORITY, 0, 0, b"\0\0\0\0\x10")
    return connection_error(c, PROTOCOL_ERROR)


@case("6.3")
def a_priority_of_a_wrong_length(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(PRIORITY, 0, 1, b"\0\0\0\0")
    return stream_error(c, 1, FRAME_SIZE_ERROR)


@case("6.4")
def a_reset_of_stream_zero(c: Connection) -> str | None:
    c.send(RST_STREAM, 0, 0, b"\0\0\0\x08")
    return connection_error(c, PROTOCOL_ERROR)


@case("6.4")
def a_reset_of_a_wrong_length(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(RST_STREAM, 0, 1, b"\0\0\x08")
    return connection_error(c, FRAME_SIZE_ERROR)


@case("6.5")
def an_acknowledgement_with_settings_in_it(c: Connection) -> str | None:
    c.send(SETTINGS, ACK, 0, setting(1, 100))
    return connection_error(c, FRAME_SIZE_ERROR)


@case("6.5")
def settings_on_a_stream(c: Connection) -> str | None:
    c.send(SETTINGS, 0, 1, setting(1, 100))
    return connection_error(c, PROTOCOL_ERROR)


@case("6.5")
def settings_of_a_wrong_length(c: Connection) -> str | None:
    c.send(SETTINGS, 0, 0, b"\0\x01\0")
    return connection_error(c, FRAME_SIZE_ERROR)


@case("6.5.2")
def push_neither_on_nor_off(c: Connection) -> str | None:
    c.send(SETTINGS, 0, 0, setting(ENABLE_PUSH, 2))
    return connection_error(c, PROTOCOL_ERROR)


@case("6.5.2")
def a_window_above_the_greatest(c: Connection) -> str | None:
    c.send(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 1 << 31))
    return connection_error(c, FLOW_CONTROL_ERROR)


@case("6.5.2")
def a_frame_size_below_the_least(c: Connection) -> str | None:
    c.send(SETTINGS, 0, 0, setting(MAX_FRAME_SIZE, FRAME_BYTES - 1))
    return connection_error(c, PROTOCOL_ERROR)


@case("6.5.2")
def a_frame_size_above_the_greatest(c: Connection) -> str | None:
    c.send(SETTINGS, 0, 0, setting(MAX_FRAME_SIZE, 1 << 24))
    return connection_error(c, PROTOCOL_ERROR)


@case("6.5.2")
def an_unknown_setting_is_ignored(c: Connection) -> None:
    c.send(SETTINGS, 0, 0, setting(0xBEEF, 1))
    c.alive(1)


@case("6.5.3")
def settings_are_acknowledged(c: Connection) -> None:
    for _ in range(3):
        c.send(SETTINGS, 0, 0, setting(1, 100))
        got = c.until(lambda f: f.kind == SETTINGS)
        assert got.flags & ACK and not got.payload, got


@case("6.5.3")
def values_are_taken_in_their_order(c: Connection) -> None:
    c.send(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 100) + setting(INITIAL_WINDOW_SIZE, 1))
    c.until(lambda f: f.kind == SETTINGS)
    c.headers(1)
    got = c.until(lambda f: f.kind == DATA)
    assert len(got.payload) == 1, got


@case("6.6")
def a_push_from_a_client(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02" + c.block(c.fields()))
    return connection_error(c, PROTOCOL_ERROR)


@case("6.7")
def a_ping_is_answered_with_its_bytes(c: Connection) -> None:
    c.send(PING, 0, 0, EIGHT)
    got = c.until(lambda f: f.kind == PING)
    assert got.flags & ACK and got.payload == EIGHT, got


@case("6.7")
def an_answer_to_a_ping_is_not_answered(c: Connection) -> None:
    c.send(PING, ACK, 0, b"unasked!")
    c.send(PING, 0, 0, EIGHT)
    assert c.until(lambda f: f.kind == PING).payload == EIGHT


@case("6.7")
def a_ping_on_a_stream(c: Connection) -> str | None:
    c.send(PING, 0, 1, EIGHT)
    return connection_error(c, PROTOCOL_ERROR)


@case("6.7")
def a_ping_of_a_wrong_length(c: Connection) -> str | None:
    c.send(PING, 0, 0, b"six by")
    return connection_error(c, FRAME_SIZE_ERROR)


@case("6.8")
def a_goaway_on_a_stream(c: Connection) -> str | None:
    c.send(GOAWAY, 0, 1, bytes(8))
    return connection_error(c, PROTOCOL_ERROR)


@case("6.9")
def a_window_update_of_nothing_on_the_connection(c: Connection) -> str | None:
    c.send(WINDOW_UPDATE, 0, 0, bytes(4))
    return connection_error(c, PROTOCOL_ERROR)


@case("6.9")
def a_window_update_of_nothing_on_a_stream(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(WINDOW_UPDATE, 0, 1, bytes(4))
    return stream_error(c, 1, PROTOCOL_ERROR)


@case("6.9")
def a_window_update_of_a_wrong_length(c: Connection) -> str | None:
    c.send(WINDOW_UPDATE, 0, 0, b"\0\0\x01")
    return connection_error(c, FRAME_SIZE_ERROR)


@case("6.9.1")
def data_stays_inside_the_window(c: Connection) -> None:
    c.send(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 1))
    c.until(lambda f: f.kind == SETTINGS)
    c.headers(1)
    got = c.until(lambda f: f.kind == DATA)
    assert len(got.payload) == 1, got
    try:
        more = c.next(0.2)
    except Silent:
        more = None
    assert more is None or more.kind != DATA, f"over its window: {more}"


@case("6.9.1")
def the_connections_window_above_the_greatest(c: Connection) -> str | None:
    for _ in range(2):
        c.send(WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1))
    return connection_error(c, FLOW_CONTROL_ERROR)


@case("6.9.1")
def a_streams_window_above_the_greatest(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    for _ in range(2):
        c.send(WINDOW_UPDATE, 0, 1, struct.pack(">I", (1 << 31) - 1))
    return stream_error(c, 1, FLOW_CONTROL_ERROR)


@case("6.9.2")
def a_changed_window_counts_for_open_streams(c: Connection) -> None:
    c.send(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 0))
    c.until(lambda f: f.kind == SETTINGS)
    c.headers(1)
    c.until(lambda f: f.kind == HEADERS)
    c.send(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 1))
    assert len(c.until(lambda f: f.kind == DATA).payload) == 1


@case("6.9.2")
def a_window_can_become_negative(c: Connection) -> None:
    c.send(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 3))
    c.until(lambda f: f.kind == SETTINGS)
    c.headers(1)
    assert len(c.until(lambda f: f.kind == DATA).payload) == 3
    c.send(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 2))
    c.send(WINDOW_UPDATE, 0, 1, struct.pack(">I", 2))
    assert len(c.until(lambda f: f.kind == DATA).payload) == 1


@case("6.10")
def a_block_in_many_parts_is_taken(c: Connection) -> None:
    block = c.block(c.fields())
    c.send(HEADERS, END_STREAM, 1, block[:5])
    c.send(CONTINUATION, 0, 1, block[5:9])
    c.send(CONTINUATION, END_HEADERS, 1, block[9:])
    assert 200 <= c.response(1)[0] < 500


@case("6.10")
def a_continuation_after_the_end_of_a_block(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(CONTINUATION, END_HEADERS, 1, c.block([("x-more", "y")]))
    return connection_error(c, PROTOCOL_ERROR, STREAM_CLOSED)


@case("6.10")
def a_continuation_on_stream_zero(c: Connection) -> str | None:
    c.headers(1, flags=END_STREAM)
    c.send(CONTINUATION, END_HEADERS, 0, c.block([("x-more", "y")]))
    return connection_error(c, PROTOCOL_ERROR)


@case("6.10")
def a_continuation_after_data(c: Connection) -> str | None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(DATA, 0, 1, b"test")
    c.send(CONTINUATION, END_HEADERS, 1, c.block([("x-more", "y")]))
    return connection_error(c, PROTOCOL_ERROR)


@case("7")
def an_unknown_error_code_is_no_error(c: Connection) -> None:
    c.headers(1, c.fields("POST"), END_HEADERS)
    c.send(RST_STREAM, 0, 1, b"\0\0\0\xff")
    c.alive(3)


@case("5.4.1")
def the_connection_is_closed_after_its_error(c: Connection) -> None:
    c.send(PING, 0, 0, b"six by")
    try:
        while True:
            c.next()
    except Closed:
        return
    except Silent:
        raise AssertionError("the connection stays open") from None
