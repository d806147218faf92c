"""What the HTTP endpoint makes of requests, whatever the era: guards, statuses, and bytes that come oddly.

The rules are those of the specification's text; where it is silent, the stricter of what two reference
servers answer. Every scenario runs against the reference server behind the gateway; see `typescript.py`.
"""

import json
import socket

from exchange import BOTH, LEGACY, SELF, Door, Session, error

PARSE, REQUEST = -32700, -32600
# The default limit is 4 MiB.
TOO_MUCH = 5 << 20
HELLO = {"jsonrpc": "2.0", "id": 1, "method": "initialize",
         "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": SELF}}


def wants(door: Door, status: int, **headers: str | None) -> None:
    reply = door.post(HELLO, **headers)
    assert reply.status == status, f"status {reply.status}, wanted {status}: {reply.body[:200]!r}"


def an_unknown_method_is_405_with_allow(door: Door) -> None:
    """PUT and PATCH are told what there is."""
    for method in ("PUT", "PATCH"):
        reply = door.request(method, {"Content-Type": "application/json"}, b"{}")
        allowed = {word.strip() for word in (reply.header("allow") or "").split(",")}
        assert reply.status == 405 and "POST" in allowed, (reply.status, allowed)


def an_unknown_path_is_404(door: Door) -> None:
    reply = door.request("POST", {"Content-Type": "application/json", "Accept": BOTH}, b"{}", "/no/such/path")
    assert reply.status == 404, reply.status


def accept_must_list_both_types(door: Door) -> None:
    """A client MUST list application/json and text/event-stream; a wildcard is no list."""
    for accept in ("application/json", "text/event-stream", "text/html", "*/*", None):
        wants(door, 406, accept=accept)


def accept_is_read_as_a_list(door: Door) -> None:
    """Any order, parameters, more types than these."""
    for accept in ("text/event-stream, application/json", "application/json;q=0.9,text/event-stream;q=0.1",
                   "text/html, Application/JSON , TEXT/EVENT-STREAM, */*"):
        wants(door, 200, accept=accept)


def the_content_type_must_be_json(door: Door) -> None:
    for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "application/jsonx", None):
        wants(door, 415, content_type=kind)


def the_content_type_may_have_parameters(door: Door) -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        wants(door, 200, content_type=kind)


def a_strange_origin_is_403(door: Door) -> None:
    """Origin present and invalid: MUST 403, also for what looks like ours."""
    for origin in ("http://evil.example", "null", "http://localhost.evil.example", f"http://127.0.0.1.evil:{door.port}"):
        wants(door, 403, origin=origin)


def an_origin_on_this_machine_is_taken(door: Door) -> None:
    for origin in (f"http://127.0.0.1:{door.port}", f"http://localhost:{door.port}"):
        wants(door, 200, origin=origin)


def a_strange_host_is_421(door: Door) -> None:
    """A page whose name was made to lead here must not get in."""
    for host in ("evil.example", f"evil.example:{door.port}", "127.0.0.1.evil.example"):
        reply = door.post(HELLO, host=host)
        assert reply.status == 421, f"{host}: {reply.status}"


def a_name_of_this_machine_is_taken(door: Door) -> None:
    for host in (f"localhost:{door.port}", f"127.0.0.1:{door.port}"):
        wants(door, 200, host=host)


def guards_stand_before_every_endpoint(door: Door) -> None:
    """A strange Origin or Host gets nowhere, on no path and with no method."""
    for path in ("/mcp", "/sse", "/message", "/ws", "/tools"):
        assert door.request("GET", {"Accept": "*/*", "Origin": "http://evil.example"}, None, path).status == 403, path
        assert door.request("GET", {"Accept": "*/*", "Host": "evil.example"}, None, path).status == 421, path


def a_body_that_is_no_json_is_a_parse_error(door: Door) -> None:
    for body in (b"not json", b'{"jsonrpc":"2.0","id":1,"method":"ping"', b"", b'{"a":"\xff"}'):
        message = error(door.post(body), 400, PARSE)
        assert message.get("id") is None, message


def a_body_that_is_no_message_is_an_invalid_request(door: Door) -> None:
    for body in (b"42", b'"ping"', b"null", b"{}", b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
                 b'{"jsonrpc":"2.0","id":null,"method":"ping"}', b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
                 b'{"jsonrpc":"2.0","id":{},"method":"ping"}'):
        error(door.post(body), 400, REQUEST)


def a_body_over_the_limit_is_413(door: Door) -> None:
    """Told from its length alone: not a byte of it needs to be read."""
    with socket.create_connection(("127.0.0.1", door.port), 20) as plain:
        plain.sendall((f"POST {door.path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nAccept: {BOTH}\r\n"
                       f"Content-Type: application/json\r\nContent-Length: {TOO_MUCH}\r\n\r\n").encode())
        assert plain.recv(1 << 16).split(b" ")[1] == b"413"


def a_chunked_body_over_the_limit_is_413(door: Door) -> None:
    """Its length is known only when it is too late; the connection ends."""
    with socket.create_connection(("127.0.0.1", door.port), 20) as plain:
        plain.sendall((f"POST {door.path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nAccept: {BOTH}\r\n"
                       "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(TOO_MUCH // 0x10000):
                plain.sendall(chunk)
        except OSError:
            pass  # it answered and closed while we were still sending
        assert plain.recv(1 << 16).split(b" ")[1] == b"413"


def raw(door: Door, head: str, body: bytes) -> bytes:
    return f"POST {door.path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\nAccept: {BOTH}\r\n{head}\r\n\r\n".encode() + body


def a_chunked_body_is_taken(door: Door) -> None:
    body = json.dumps(HELLO).encode()
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (body[:7], body[7:]))
    with socket.create_connection(("127.0.0.1", door.port), 20) as plain:
        plain.sendall(raw(door, "Content-Type: application/json\r\nTransfer-Encoding: chunked", chunks + b"0\r\n\r\n"))
        assert plain.recv(1 << 16).split(b" ")[1] == b"200"


def a_request_that_comes_byte_by_byte_is_taken(door: Door) -> None:
    body = json.dumps(HELLO).encode()
    request = raw(door, f"Content-Type: application/json\r\nContent-Length: {len(body)}", body)
    with socket.create_connection(("127.0.0.1", door.port), 20) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            plain.sendall(bytes([byte]))
        assert plain.recv(1 << 16).split(b" ")[1] == b"200"


def a_client_that_waits_for_100_is_told_to_go_on(door: Door) -> None:
    body = json.dumps(HELLO).encode()
    head = f"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {len(body)}"
    with socket.create_connection(("127.0.0.1", door.port), 20) as plain:
        plain.sendall(raw(door, head, b""))
        assert plain.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        plain.sendall(body)
        assert plain.recv(1 << 16).split(b" ")[1] == b"200"


def pipelined_requests_are_answered_in_order(door: Door) -> None:
    """Ten in one write on one connection; their answers come in the order of the requests."""
    session = Session(door)
    requests = []
    for i in range(10):
        body = json.dumps({"jsonrpc": "2.0", "id": f"p{i}", "method": "ping"}).encode()
        requests.append(raw(door, f"Content-Type: application/json\r\nMcp-Session-Id: {session.id}\r\n"
                                  f"MCP-Protocol-Version: {LEGACY}\r\nContent-Length: {len(body)}", body))
    with socket.create_connection(("127.0.0.1", door.port), 20) as plain:
        plain.sendall(b"".join(requests))
        seen = b""
        while seen.count(b'"result"') < 10:
            data = plain.recv(1 << 16)
            assert data, f"closed after {seen.count(b'HTTP/1.1 200')} answers"
            seen += data
    at = [seen.index(f'"p{i}"'.encode()) for i in range(10)]
    assert at == sorted(at), at


def health_and_readiness_are_told(door: Door) -> None:
    for path in ("/health", "/ready"):
        assert door.request("GET", {}, None, path).status == 200, path


ALL = {f"http/{check.__name__.replace('_', '-')}": check for check in (
    an_unknown_method_is_405_with_allow, an_unknown_path_is_404, accept_must_list_both_types,
    accept_is_read_as_a_list, the_content_type_must_be_json, the_content_type_may_have_parameters,
    a_strange_origin_is_403, an_origin_on_this_machine_is_taken, a_strange_host_is_421,
    a_name_of_this_machine_is_taken, guards_stand_before_every_endpoint, a_body_that_is_no_json_is_a_parse_error,
    a_body_that_is_no_message_is_an_invalid_request, a_body_over_the_limit_is_413,
    a_chunked_body_over_the_limit_is_413, a_chunked_body_is_taken, a_request_that_comes_byte_by_byte_is_taken,
    a_client_that_waits_for_100_is_told_to_go_on, pipelined_requests_are_answered_in_order,
    health_and_readiness_are_told,
)}
