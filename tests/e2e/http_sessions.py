"""Streamable HTTP up to 2025-11-25: sessions, streams, resumption, batches.

basic/transports of 2025-11-25, and of 2025-03-26 for batches.
"""

import json

from exchange import LEGACY, MODERN, SELF, Door, Reply, Session, error, text_of

REQUEST, METHOD, PARAMS = -32600, -32601, -32602
ELICITS = {"elicitation": {"form": {}}}


def good(reply: Reply, status: int) -> Reply:
    assert reply.status == status, f"status {reply.status}, wanted {status}: {reply.body[:200]!r}"
    return reply


def hello(door: Door, version: str) -> Reply:
    return door.post({"jsonrpc": "2.0", "id": 1, "method": "initialize",
                      "params": {"protocolVersion": version, "capabilities": {}, "clientInfo": SELF}})


def ping(ident: object = 1) -> dict:
    return {"jsonrpc": "2.0", "id": ident, "method": "ping"}


# Sessions

def versions_are_negotiated(door: Door) -> None:
    """A known one is kept; any other, also the modern one, becomes the newest that has a handshake."""
    for asked, got in (("2024-11-05",) * 2, ("2025-03-26",) * 2, ("2025-06-18",) * 2, (LEGACY,) * 2,
                       (MODERN, LEGACY), ("1999-01-01", LEGACY), ("junk", LEGACY)):
        version = good(hello(door, asked), 200).answer(1)["result"]["protocolVersion"]
        assert version == got, f"{asked} became {version}"


def a_session_id_is_visible_ascii_and_its_own(door: Door) -> None:
    ids = [good(hello(door, LEGACY), 200).header("mcp-session-id") for _ in range(20)]
    assert all(ids) and len(set(ids)) == 20, ids
    assert all(0x21 <= ord(c) <= 0x7E for ident in ids for c in ident), ids


def no_session_is_400(door: Door) -> None:
    """Servers that require a session SHOULD answer 400 without one."""
    error(door.post(ping(), mcp_protocol_version=LEGACY), 400)
    error(door.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}), 400)
    good(door.request("GET", {"Accept": "text/event-stream", "MCP-Protocol-Version": LEGACY}), 400)
    good(door.request("DELETE", {"MCP-Protocol-Version": LEGACY}), 400)


def an_unknown_session_is_404(door: Door) -> None:
    """Whatever it looks like; also one that was altered in one character."""
    real = Session(door).id
    altered = real[:-1] + ("A" if real[-1] != "A" else "B")
    for ident in ("junk", altered, real + "x", "0" * len(real)):
        error(door.post(ping(), mcp_session_id=ident, mcp_protocol_version=LEGACY), 404)
        headers = {"Mcp-Session-Id": ident, "MCP-Protocol-Version": LEGACY}
        good(door.request("GET", {**headers, "Accept": "text/event-stream"}), 404)
        good(door.request("DELETE", headers), 404)


def a_deleted_session_is_404(door: Door) -> None:
    session = Session(door)
    assert 200 <= session.delete().status < 300
    error(session.post(ping()), 404)
    good(session.get(), 404)
    good(session.delete(), 404)


def deleting_a_session_ends_its_stream(door: Door) -> None:
    session = Session(door)
    stream = good(session.get(), 200)
    assert 200 <= session.delete().status < 300
    for _ in stream.events():
        pass


def a_second_initialize_is_refused(door: Door) -> None:
    session = Session(door)
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": SELF}
    error(session.begin("initialize", params)[1], 400, REQUEST)
    assert session.ask("ping")["result"] == {}


def an_unsupported_version_header_is_400(door: Door) -> None:
    session = Session(door)
    for version in ("1999-01-01", "junk"):
        error(session.post(ping(), mcp_protocol_version=version), 400)
    assert session.ask("ping")["result"] == {}


def without_a_version_header_the_negotiated_one_counts(door: Door) -> None:
    session = Session(door)
    assert good(session.post(ping(), mcp_protocol_version=None), 200).answer(1)["result"] == {}


def notifications_and_responses_are_202(door: Door) -> None:
    """Accepted, with no body."""
    session = Session(door)
    for message in ({"jsonrpc": "2.0", "method": "notifications/no/such"},
                    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 12345}}):
        assert good(session.post(message), 202).body == b""


def errors_inside_the_protocol_are_200(door: Door) -> None:
    """An unknown method and an unknown tool are answered in band, with the request's id."""
    session = Session(door)
    for method, params, code in (("no/such", {}, METHOD), ("tools/call", {"name": "no_such_tool"}, PARAMS),
                                 ("tools/call", {}, PARAMS)):
        ident, reply = session.begin(method, params)
        message = good(reply, 200).answer(ident)
        assert message["error"]["code"] == code, message


def ids_come_back_as_they_were(door: Door) -> None:
    session = Session(door)
    for ident in (0, -1, 9007199254740993, "", "0", 'a"b\\c\n🦀'):
        got = good(session.post(ping(ident)), 200).answer(ident)["id"]
        assert got == ident and type(got) is type(ident), f"{ident!r} became {got!r}"


def one_session_lives_on_many_connections(door: Door) -> None:
    """Every request above had its own; here forty at once."""
    session = Session(door)
    begun = [session.begin("tools/call", {"name": "test_simple_text", "arguments": {}}) for _ in range(40)]
    for ident, reply in begun:
        assert "simple text" in text_of(good(reply, 200).answer(ident))


# Streams

def a_get_without_event_stream_is_refused(door: Door) -> None:
    session = Session(door)
    for accept in ("application/json", "text/html"):
        assert session.get(accept=accept).status in (405, 406), accept


def a_get_opens_a_stream(door: Door) -> None:
    """With the headers that keep proxies from holding it back."""
    stream = good(Session(door).get(), 200)
    assert stream.streams, stream.header("content-type")
    assert "no-cache" in (stream.header("cache-control") or "") or "no-store" in stream.header("cache-control")
    assert stream.header("x-accel-buffering") == "no"
    stream.close()


def a_second_get_is_409(door: Door) -> None:
    """One stream of a session at a time; when it was left, another may be opened."""
    session = Session(door)
    first = good(session.get(), 200)
    good(session.get(), 409)
    first.close()
    while (again := session.get()).status == 409:
        assert session.ask("ping")["result"] == {}  # until the server has seen that we left
    good(again, 200).close()


def news_come_on_the_get_stream(door: Door) -> None:
    session = Session(door)
    stream = good(session.get(), 200)
    _, reply = session.call("test_trigger_tool_change")
    assert not [m for m in good(reply, 200).messages() if m.get("method") == "notifications/tools/list_changed"]
    assert next(m for m in stream.messages() if m["method"] == "notifications/tools/list_changed")
    stream.close()


def progress_comes_on_the_stream_of_its_request(door: Door) -> None:
    """Before the answer, which is the last; and on no other stream."""
    session = Session(door)
    ident, reply = session.call("test_tool_with_progress", progressToken="mine")
    told = list(good(reply, 200).messages())
    assert told[-1]["id"] == ident and "result" in told[-1], told[-1]
    steps = [m["params"] for m in told if m.get("method") == "notifications/progress"]
    assert [step["progress"] for step in steps] == [0, 50, 100], steps
    assert all(step["progressToken"] == "mine" for step in steps), steps


def a_question_comes_on_the_stream_and_its_answer_is_posted(door: Door) -> None:
    """The reply is a message of its own, 202, and the tool goes on."""
    session = Session(door, able=ELICITS)
    ident, reply = session.call("test_elicitation", {"message": "Who?"})
    stream = good(reply, 200).messages()
    asks = next(m for m in stream if m.get("method") == "elicitation/create")
    result = {"action": "accept", "content": {"username": "Ann", "email": "ann@example.com"}}
    good(session.post({"jsonrpc": "2.0", "id": asks["id"], "result": result}), 202)
    answer = next(m for m in stream if m.get("id") == ident)
    assert '"username": "Ann"' in text_of(answer), answer


def another_session_cannot_answer_a_question(door: Door) -> None:
    mine, other = Session(door, able=ELICITS), Session(door, able=ELICITS)
    ident, reply = mine.call("test_elicitation", {"message": "Who?"})
    stream = good(reply, 200).messages()
    asks = next(m for m in stream if m.get("method") == "elicitation/create")
    wrong = {"action": "accept", "content": {"username": "Eve", "email": "eve@example.com"}}
    assert other.post({"jsonrpc": "2.0", "id": asks["id"], "result": wrong}).status in (202, 400)
    mine.post({"jsonrpc": "2.0", "id": asks["id"], "result": {"action": "decline"}})
    assert "action=decline" in text_of(next(m for m in stream if m.get("id") == ident))


def a_call_is_cancelled_by_a_posted_notification(door: Door) -> None:
    session = Session(door)
    before = lingered(session)
    ident, reply = session.call("test_lingering", progressToken=1)
    stream = good(reply, 200).messages()
    next(m for m in stream if m.get("method") == "notifications/progress")
    params = {"requestId": ident, "reason": "enough"}
    good(session.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}), 202)
    until_lingered(session, before + 1)


def lingered(session: Session) -> int:
    return int(text_of(session.ask("tools/call", {"name": "test_cancelled_count", "arguments": {}})))


def until_lingered(session: Session, wanted: int) -> None:
    for _ in range(2_000):
        if (now := lingered(session)) >= wanted:
            assert now == wanted, f"{now} calls were cancelled, not {wanted}"
            return
    raise AssertionError("the server never heard of the cancellation")


# Resumption

def chatty(door: Door, version: str = LEGACY) -> Session:
    """A session that wants every log line. Without a word of it, how much is sent is the server's choice."""
    session = Session(door, version)
    assert session.ask("logging/setLevel", {"level": "debug"})["result"] == {}
    return session


def events_of(reply: Reply, wanted: int) -> list[dict]:
    got = []
    for event in reply.events():
        got.append(event)
        if len(got) == wanted:
            break
    return got


def a_stream_begins_with_an_event_to_resume_after(door: Door) -> None:
    """2025-11-25: SHOULD prime with an id and empty data. An older client cannot read that: none for it."""
    for version in (LEGACY, "2025-06-18", "2025-03-26"):
        _, reply = chatty(door, version).call("test_tool_with_logging")
        first = events_of(good(reply, 200), 1)[0]
        primed = first.get("data", "") == "" and bool(first.get("id"))
        assert primed == (version == LEGACY), f"{version}: {first}"
        reply.close()


def an_events_id_is_unique_in_the_session(door: Door) -> None:
    session, ids = chatty(door), []
    for _ in range(3):
        _, reply = session.call("test_tool_with_logging")
        ids += [event["id"] for event in good(reply, 200).events() if "id" in event]
    assert ids and len(set(ids)) == len(ids), ids


def a_broken_stream_is_resumed_where_it_broke(door: Door) -> None:
    """Leaving is no cancellation: GET with Last-Event-ID brings the rest, each event once and in order."""
    for read_first in (1, 2, 3):
        session = chatty(door)
        ident, reply = session.call("test_tool_with_logging")
        before = events_of(good(reply, 200), read_first)
        reply.close()
        resumed = good(session.get(last_event_id=before[-1]["id"]), 200)
        after = []
        for event in resumed.events():
            if event.get("data"):
                after.append(event)
                if json.loads(event["data"]).get("id") == ident:
                    break
        resumed.close()
        told = [json.loads(event["data"]) for event in before + after if event.get("data")]
        words = [m["params"]["data"] for m in told if m.get("method") == "notifications/message"]
        assert words == [f"Tool execution {word}" for word in ("started", "processing", "completed")], words
        assert "logging" in text_of(told[-1]), told[-1]


def a_finished_stream_can_be_read_again(door: Door) -> None:
    """From its first event on, and nothing of another stream comes with it."""
    session = chatty(door)
    _, other = session.call("test_tool_with_progress", progressToken="other")
    good(other, 200).body  # noqa: B018  (read to its end)
    ident, reply = session.call("test_tool_with_logging")
    whole = list(good(reply, 200).events())
    resumed = good(session.get(last_event_id=whole[0]["id"]), 200)
    again = []
    for event in resumed.events():
        if event.get("data"):
            again.append(event)
            if json.loads(event["data"]).get("id") == ident:
                break
    resumed.close()
    rest = [event for event in whole[1:] if event.get("data")]
    assert [e["data"] for e in again] == [e["data"] for e in rest], (again, rest)


def another_session_cannot_resume_a_stream(door: Door) -> None:
    session, other = chatty(door), Session(door)
    _, reply = session.call("test_tool_with_logging")
    first = events_of(good(reply, 200), 1)[0]
    reply.close()
    stolen = other.get(last_event_id=first["id"])
    if stolen.status == 200:
        # A stream of its own is no harm, as long as nothing of the first comes on it.
        other.call("test_trigger_tool_change")
        told = next(stolen.messages())
        assert told["method"] == "notifications/tools/list_changed", told
    stolen.close()


# Batches

def a_batch_is_taken_in_2025_03_26(door: Door) -> None:
    session = Session(door, "2025-03-26")
    reply = session.post([ping("a"), {"jsonrpc": "2.0", "method": "notifications/no/such"},
                          {"jsonrpc": "2.0", "id": "b", "method": "no/such"}])
    told = list(good(reply, 200).messages())
    flat = [one for m in told for one in (m if isinstance(m, list) else [m])]
    by_id = {m["id"]: m for m in flat}
    assert set(by_id) == {"a", "b"} and by_id["a"]["result"] == {} and by_id["b"]["error"]["code"] == METHOD, flat


def a_batch_of_notifications_is_202(door: Door) -> None:
    session = Session(door, "2025-03-26")
    assert good(session.post([{"jsonrpc": "2.0", "method": "notifications/no/such"}]), 202).body == b""


def an_empty_batch_is_400(door: Door) -> None:
    for version in ("2025-03-26", LEGACY):
        error(Session(door, version).post([]), 400, REQUEST)


def an_initialize_in_a_batch_is_400(door: Door) -> None:
    """It MUST NOT be in one."""
    params = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": SELF}
    error(door.post([{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}]), 400, REQUEST)


def a_batch_is_refused_since_2025_06_18(door: Door) -> None:
    for version in ("2025-06-18", LEGACY):
        error(Session(door, version).post([ping()]), 400, REQUEST)


ALL = {f"http-legacy/{check.__name__.replace('_', '-')}": check for check in (
    versions_are_negotiated, a_session_id_is_visible_ascii_and_its_own, no_session_is_400,
    an_unknown_session_is_404, a_deleted_session_is_404, deleting_a_session_ends_its_stream,
    a_second_initialize_is_refused, an_unsupported_version_header_is_400,
    without_a_version_header_the_negotiated_one_counts, notifications_and_responses_are_202,
    errors_inside_the_protocol_are_200, ids_come_back_as_they_were, one_session_lives_on_many_connections,
    a_get_without_event_stream_is_refused, a_get_opens_a_stream, a_second_get_is_409, news_come_on_the_get_stream,
    progress_comes_on_the_stream_of_its_request, a_question_comes_on_the_stream_and_its_answer_is_posted,
    another_session_cannot_answer_a_question, a_call_is_cancelled_by_a_posted_notification,
    a_stream_begins_with_an_event_to_resume_after, an_events_id_is_unique_in_the_session,
    a_broken_stream_is_resumed_where_it_broke, a_finished_stream_can_be_read_again,
    another_session_cannot_resume_a_stream, a_batch_is_taken_in_2025_03_26, a_batch_of_notifications_is_202,
    an_empty_batch_is_400, an_initialize_in_a_batch_is_400, a_batch_is_refused_since_2025_06_18,
)}
