"""Streamable HTTP of 2026-07-28: one request, one answer, and headers that must say what the body says.

basic/transports/streamable-http and basic/index (error codes) of 2026-07-28.
"""

import base64

from exchange import ABLE_KEY, LEGACY, MODERN, SELF_KEY, VERSION_KEY, Door, Reply, error, text_of
from http_sessions import good

REQUEST, METHOD, PARAMS = -32600, -32601, -32602
MISMATCH, CAPABILITY, VERSION = -32020, -32021, -32022
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
TEXT = {"name": "test_simple_text", "arguments": {}}


def coded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def called(reply: Reply) -> str:
    good(reply, 200)
    return text_of(next(m for m in reply.messages() if "method" not in m))


def mismatch(reply: Reply) -> None:
    error(reply, 400, MISMATCH)


# Headers and body

def a_server_tells_what_it_is(door: Door) -> None:
    found = good(door.modern("server/discover", ident="d"), 200).answer("d")["result"]
    assert found["supportedVersions"] == [MODERN] and found["resultType"] == "complete", found
    assert found["ttlMs"] >= 0 and found["cacheScope"] in ("public", "private"), found


def the_version_header_must_be_there(door: Door) -> None:
    """Absent counts as a mismatch: the body says that the request is modern."""
    mismatch(door.modern("tools/list", mcp_protocol_version=None))


def the_version_header_must_match(door: Door) -> None:
    for version in (LEGACY, "2099-01-01", "junk"):
        mismatch(door.modern("tools/list", mcp_protocol_version=version))


def the_method_header_must_match(door: Door) -> None:
    """Its value is case-sensitive, and it may not be absent."""
    for method in ("tools/call", "Tools/List", "", None):
        mismatch(door.modern("tools/list", mcp_method=method))


def the_name_header_must_match(door: Door) -> None:
    for name in ("test_image_content", "Test_Simple_Text", "", None):
        mismatch(door.modern("tools/call", TEXT, mcp_name=name))
    mismatch(door.modern("resources/read", {"uri": "test://static-text"}, mcp_name="test://static-binary"))
    mismatch(door.modern("prompts/get", {"name": "test_simple_prompt"}, mcp_name=None))


def a_header_that_comes_twice_is_refused(door: Door) -> None:
    mismatch(door.modern("tools/list", mcp_method=["tools/list", "tools/list"]))
    mismatch(door.modern("tools/list", mcp_protocol_version=[MODERN, LEGACY]))
    mismatch(door.modern("tools/call", TEXT, mcp_name=["test_simple_text", "test_image_content"]))


def a_header_may_be_coded_in_base64(door: Door) -> None:
    assert called(door.modern("tools/call", TEXT, mcp_name=coded("test_simple_text")))


def a_header_that_cannot_be_decoded_is_refused(door: Door) -> None:
    for name in ("=?base64?!!!?=", "=?base64?dGVzdF9zaW1wbGVfdGV4dA?=", "=?base64?/w==?="):
        mismatch(door.modern("tools/call", TEXT, mcp_name=name))


def space_around_a_header_is_no_difference(door: Door) -> None:
    assert called(door.modern("tools/call", TEXT, mcp_name=" \ttest_simple_text\t "))


def an_arguments_header_must_match(door: Door) -> None:
    """`x-mcp-header` of the tool's schema: the argument is repeated in `Mcp-Param-Region`."""
    call = {"name": "test_x_mcp_header", "arguments": {"region": "eu"}}
    assert called(door.modern("tools/call", call, mcp_param_region="eu")) == "region eu"
    assert called(door.modern("tools/call", call, mcp_param_region=coded("eu"))) == "region eu"
    for region in ("us", "EU", "", None, coded("us")):
        mismatch(door.modern("tools/call", call, mcp_param_region=region))


def unknown_parameter_headers_are_let_pass(door: Door) -> None:
    assert called(door.modern("tools/call", TEXT, mcp_param_unknown="x"))


def a_mismatch_is_told_before_an_unknown_version(door: Door) -> None:
    mismatch(door.modern("tools/list", meta={VERSION_KEY: "2099-01-01"}))


def an_unknown_version_is_told_which_there_are(door: Door) -> None:
    reply = door.modern("tools/list", meta={VERSION_KEY: "2099-01-01"}, mcp_protocol_version="2099-01-01", ident=7)
    message = error(reply, 400, VERSION)
    assert message["id"] == 7 and message["error"]["data"] == {
        "supported": [MODERN], "requested": "2099-01-01"}, message


def the_envelope_must_be_whole(door: Door) -> None:
    """Version and capabilities are required; who the client is, is not."""
    for meta in ({VERSION_KEY: None}, {ABLE_KEY: None}, {VERSION_KEY: None, ABLE_KEY: None, SELF_KEY: None}):
        message = error(door.modern("tools/list", meta=meta, ident="e"), 400, PARAMS)
        assert message["id"] == "e", message
    for meta in ({ABLE_KEY: "x"}, {ABLE_KEY: []}):
        error(door.modern("tools/list", meta=meta), 400, PARAMS)
    good(door.modern("tools/list", meta={SELF_KEY: None}), 200)


# Methods and messages

def a_method_that_is_not_there_is_404(door: Door) -> None:
    """Those that were removed, too; with the request's id."""
    for method in ("no/such", "initialize", "ping", "logging/setLevel", "resources/subscribe",
                   "resources/unsubscribe", "tasks/list"):
        message = error(door.modern(method, ident="m"), 404, METHOD)
        assert message["id"] == "m", message


def an_undeclared_capability_is_told(door: Door) -> None:
    reply = door.modern("tools/call", {"name": "test_missing_capability", "arguments": {}}, ident=3)
    message = error(reply, 400, CAPABILITY)
    assert message["id"] == 3 and message["error"]["data"]["requiredCapabilities"] == {"sampling": {}}, message


def an_array_is_refused(door: Door) -> None:
    meta = {VERSION_KEY: MODERN, ABLE_KEY: {}}
    one = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    for body in ([one], [one, one], []):
        error(door.post(body, mcp_protocol_version=MODERN, mcp_method="tools/list"), 400, REQUEST)


def a_response_is_refused(door: Door) -> None:
    """Nobody asked: questions travel inside of results."""
    for body in ({"jsonrpc": "2.0", "id": 1, "result": {}},
                 {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}}):
        error(door.post(body, mcp_protocol_version=MODERN), 400, REQUEST)


def a_notification_is_202(door: Door) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/no/such", "params": {"_meta": {VERSION_KEY: MODERN}}}
    reply = door.post(note, mcp_protocol_version=MODERN, mcp_method="notifications/no/such")
    assert good(reply, 202).body == b""


def accept_must_list_both_types(door: Door) -> None:
    for accept in ("application/json", "text/event-stream", None):
        good(door.modern("tools/list", accept=accept), 406)


def get_and_delete_are_405(door: Door) -> None:
    for method in ("GET", "DELETE"):
        reply = door.request(method, {"Accept": "text/event-stream", "MCP-Protocol-Version": MODERN})
        assert reply.status == 405 and "POST" in (reply.header("allow") or ""), (reply.status, reply.header("allow"))


def there_is_no_session(door: Door) -> None:
    """A session's header is neither given nor looked at."""
    reply = door.modern("tools/list", mcp_session_id="junk", last_event_id="junk")
    assert good(reply, 200).header("mcp-session-id") is None


def ids_come_back_as_they_were(door: Door) -> None:
    for ident in (0, -1, 9007199254740993, "", "0", 'a"b\\c\n🦀'):
        got = good(door.modern("tools/list", ident=ident), 200).answer(ident)["id"]
        assert got == ident and type(got) is type(ident), f"{ident!r} became {got!r}"


def what_is_not_there_is_an_invalid_parameter(door: Door) -> None:
    """-32602 for tool, prompt and resource; the resource's URI in `data`. The status is not specified."""
    for method, params in (("tools/call", {"name": "no_such"}), ("prompts/get", {"name": "no_such"}),
                           ("resources/read", {"uri": "test://no-such"})):
        message = door.modern(method, params, ident=1).answer(1)
        assert message["error"]["code"] == PARAMS, message
        if method == "resources/read":
            assert message["error"]["data"]["uri"] == "test://no-such", message


# Streams

def a_stream_has_no_ids(door: Door) -> None:
    """Nothing can be resumed; the answer is the last event."""
    params = {"name": "test_tool_with_progress", "arguments": {}}
    reply = good(door.modern("tools/call", params, meta={"progressToken": "t"}, ident=5), 200)
    assert reply.streams, reply.header("content-type")
    assert reply.header("x-accel-buffering") == "no"
    events = list(reply.events())
    assert len(events) == 4 and not any("id" in event for event in events), events
    assert '"result"' in events[-1]["data"], events[-1]


def leaving_is_cancelling(door: Door) -> None:
    before = int(called(door.modern("tools/call", {"name": "test_cancelled_count", "arguments": {}})))
    params = {"name": "test_lingering", "arguments": {}}
    reply = good(door.modern("tools/call", params, meta={"progressToken": 1}), 200)
    assert next(reply.messages())["method"] == "notifications/progress"
    reply.close()
    for _ in range(2_000):
        now = int(called(door.modern("tools/call", {"name": "test_cancelled_count", "arguments": {}})))
        if now > before:
            assert now == before + 1, f"{now - before} calls were cancelled"
            return
    raise AssertionError("the server never heard that its client left")


def listen(door: Door, ident: object, **wanted: object) -> tuple[Reply, object]:
    reply = good(door.modern("subscriptions/listen", {"notifications": wanted}, ident=ident), 200)
    messages = reply.messages()
    first = next(messages)
    assert first["method"] == "notifications/subscriptions/acknowledged", first
    got = first["params"]["_meta"][SUBSCRIPTION]
    assert got == ident and type(got) is type(ident), f"{ident!r} became {got!r}"
    assert first["params"]["notifications"] == wanted, first
    return reply, messages


def a_listener_is_acknowledged_and_told(door: Door) -> None:
    """First the acknowledgement; every message carries the request's id, in its own type."""
    for ident in (41, "listen"):
        reply, messages = listen(door, ident, toolsListChanged=True)
        called(door.modern("tools/call", {"name": "test_trigger_tool_change", "arguments": {}}))
        told = next(messages)
        assert told["method"] == "notifications/tools/list_changed", told
        assert told["params"]["_meta"][SUBSCRIPTION] == ident, told
        reply.close()


def a_listener_is_told_only_what_it_asked_for(door: Door) -> None:
    uri = "test://watched-resource"
    reply, messages = listen(door, 1, resourceSubscriptions=[uri])
    called(door.modern("tools/call", {"name": "test_trigger_tool_change", "arguments": {}}))
    for other in ("test://static-text", uri):
        params = {"name": "test_trigger_resource_update", "arguments": {"uri": other}}
        called(door.modern("tools/call", params))
    told = next(messages)
    assert told["method"] == "notifications/resources/updated" and told["params"]["uri"] == uri, told
    reply.close()


def listeners_do_not_disturb_each_other(door: Door) -> None:
    first, of_first = listen(door, "same", toolsListChanged=True)
    second, of_second = listen(door, "same", toolsListChanged=True)
    first.close()
    called(door.modern("tools/call", {"name": "test_trigger_tool_change", "arguments": {}}))
    assert next(of_second)["method"] == "notifications/tools/list_changed"
    second.close()


ALL = {f"http-modern/{check.__name__.replace('_', '-')}": check for check in (
    a_server_tells_what_it_is, the_version_header_must_be_there, the_version_header_must_match,
    the_method_header_must_match, the_name_header_must_match, a_header_that_comes_twice_is_refused,
    a_header_may_be_coded_in_base64, a_header_that_cannot_be_decoded_is_refused,
    space_around_a_header_is_no_difference, an_arguments_header_must_match, unknown_parameter_headers_are_let_pass,
    a_mismatch_is_told_before_an_unknown_version, an_unknown_version_is_told_which_there_are,
    the_envelope_must_be_whole, a_method_that_is_not_there_is_404, an_undeclared_capability_is_told,
    an_array_is_refused, a_response_is_refused, a_notification_is_202, accept_must_list_both_types,
    get_and_delete_are_405, there_is_no_session, ids_come_back_as_they_were,
    what_is_not_there_is_an_invalid_parameter, a_stream_has_no_ids, leaving_is_cancelling,
    a_listener_is_acknowledged_and_told, a_listener_is_told_only_what_it_asked_for,
    listeners_do_not_disturb_each_other,
)}
