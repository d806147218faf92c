"""What the gateway makes of bytes: plain sockets, no SDK, and two small servers behind it.

Bad input gets a clear error with the right code, the connection goes on, and a neighbour with calls
under way never notices. What cannot be parsed is answered with `"id":null`, as legacy clients expect.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator

from lines import MODERN, VERSION, Closed, Lines, Steady, text_of
from stage import HERE, Gateway, Stage

QUICK = str(HERE / "servers" / "quick.py")
PARSE, REQUEST, METHOD, PARAMS, VERSIONS = -32700, -32600, -32601, -32602, -32022
# More than any sane limit for one line; the gateway must stop reading long before.
FLOOD_BYTES = 96 << 20


@contextlib.contextmanager
def served(binary: str, stage: Stage) -> Iterator[int]:
    """A gateway with two small upstreams; it must end cleanly after whatever it was told."""
    gateway = Gateway(binary, stage.dir / "wire", {
        name: {"command": sys.executable, "args": [QUICK, name]} for name in ("one", "two")})
    try:
        gateway.wait_ready()
        yield gateway.port
    except BaseException:
        gateway.stop()
        raise
    wrong = gateway.stop()
    assert wrong is None, wrong


def nested(depth: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"deep":' + b"[" * depth + b"]" * depth + b"}}"


def call(params: str, ident: int = 5) -> bytes:
    return f'{{"jsonrpc":"2.0","id":{ident},"method":"tools/call","params":{params}}}'.encode()


def asks(method: str, params: str = "") -> bytes:
    return f'{{"jsonrpc":"2.0","id":5,"method":"{method}"{params}}}'.encode()


# name: (line, codes of which one must come, ids of which one must come)
BAD: dict[str, tuple[bytes, set[int], list]] = {
    "not-json": (b"not json", {PARSE}, [None]),
    "json-cut-short": (b'{"jsonrpc":"2.0","id":5,"method":"ping"', {PARSE}, [None]),
    "json-and-more": (b'{"jsonrpc":"2.0","id":5,"method":"ping"} true', {PARSE}, [None]),
    "single-quotes": (b"{'jsonrpc':'2.0','id':5,'method':'ping'}", {PARSE}, [None]),
    "a-trailing-comma": (b'{"jsonrpc":"2.0","id":5,"method":"ping",}', {PARSE}, [None]),
    "a-number": (b"42", {REQUEST}, [None]),
    "a-string": (b'"ping"', {REQUEST}, [None]),
    "null": (b"null", {REQUEST}, [None]),
    "an-empty-object": (b"{}", {REQUEST}, [None]),
    "no-version": (b'{"id":5,"method":"ping"}', {REQUEST}, [None, 5]),
    "version-1.0": (b'{"jsonrpc":"1.0","id":5,"method":"ping"}', {REQUEST}, [None, 5]),
    "version-as-a-number": (b'{"jsonrpc":2.0,"id":5,"method":"ping"}', {REQUEST}, [None, 5]),
    "no-method": (b'{"jsonrpc":"2.0","id":5}', {REQUEST}, [None, 5]),
    "method-as-a-number": (b'{"jsonrpc":"2.0","id":5,"method":1}', {REQUEST}, [None, 5]),
    "params-as-a-string": (asks("ping", ',"params":"x"'), {REQUEST, PARAMS}, [None, 5]),
    "an-unknown-method": (asks("no/such/method"), {METHOD}, [5]),
    "an-unknown-method-with-a-string-id":
        (b'{"jsonrpc":"2.0","id":"\\u00e9\\n","method":"no/such/method"}', {METHOD}, ["é\n"]),
    "tools-call-without-params": (asks("tools/call"), {PARAMS}, [5]),
    "tools-call-with-an-array": (call("[]"), {PARAMS, REQUEST}, [5, None]),
    "tools-call-without-a-name": (call('{"arguments":{}}'), {PARAMS}, [5]),
    "tools-call-with-a-number-as-name": (call('{"name":1,"arguments":{}}'), {PARAMS}, [5]),
    "tools-call-with-arguments-as-an-array": (call('{"name":"one__echo","arguments":[]}'), {PARAMS}, [5]),
    "tools-call-of-an-unknown-tool": (call('{"name":"nobody__echo","arguments":{}}'), {PARAMS}, [5]),
    "resources-read-without-a-uri": (asks("resources/read", ',"params":{}'), {PARAMS}, [5]),
    "prompts-get-without-a-name": (asks("prompts/get", ',"params":{}'), {PARAMS}, [5]),
    "completion-without-a-ref": (asks("completion/complete", ',"params":{}'), {PARAMS}, [5]),
    "an-unknown-log-level": (asks("logging/setLevel", ',"params":{"level":"shouting"}'), {PARAMS}, [5]),
    "invalid-utf-8": (b'{"jsonrpc":"2.0","id":5,"method":"p\xff\xfeg"}', {PARSE}, [None]),
    "overlong-utf-8": (b'{"jsonrpc":"2.0","id":5,"method":"\xc0\xaf"}', {PARSE}, [None]),
    "surrogates-in-utf-8": (b'{"jsonrpc":"2.0","id":5,"method":"\xed\xa0\x80"}', {PARSE}, [None]),
    "a-nul": (b"\x00", {PARSE}, [None]),
    "a-nul-in-a-string": (b'{"jsonrpc":"2.0","id":5,"method":"pi\x00ng"}', {PARSE}, [None]),
    "a-nul-after-the-message": (b'{"jsonrpc":"2.0","id":5,"method":"ping"}\x00', {PARSE}, [None]),
    "a-lone-surrogate": (b'{"jsonrpc":"2.0","id":5,"method":"\\ud800"}', {PARSE, REQUEST, METHOD}, [None, 5]),
    "a-lone-surrogate-as-id": (b'{"jsonrpc":"2.0","id":"\\udc00","method":"ping"}', {PARSE, REQUEST}, [None]),
    "ten-thousand-brackets": (nested(10_000), {PARSE, REQUEST, PARAMS}, [None, 5]),
    "a-million-brackets": (b"[" * 1_000_000, {PARSE, REQUEST}, [None]),
    "the-id-twice": (b'{"jsonrpc":"2.0","id":5,"id":6,"method":"ping"}', {PARSE, REQUEST}, [None, 5, 6]),
    "the-method-twice":
        (b'{"jsonrpc":"2.0","id":5,"method":"ping","method":"tools/list"}', {PARSE, REQUEST}, [None, 5]),
    "the-method-twice-by-an-escape":
        (b'{"jsonrpc":"2.0","id":5,"method":"ping","\\u006dethod":"tools/list"}', {PARSE, REQUEST}, [None, 5]),
    "a-null-id": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', {REQUEST}, [None]),
    "a-fractional-id": (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', {REQUEST}, [None, 1.5]),
    "an-infinite-id": (b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}', {REQUEST, PARSE}, [None]),
    "an-object-as-id": (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', {REQUEST}, [None]),
    "true-as-id": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', {REQUEST}, [None]),
    "an-array-outside-of-2025-03-26": (b'[{"jsonrpc":"2.0","id":5,"method":"ping"}]', {REQUEST}, [None]),
    "an-empty-array": (b"[]", {REQUEST}, [None]),
}


def bad_input(line: bytes, codes: set[int], ids: list, binary: str, stage: Stage) -> None:
    with served(binary, stage) as port:
        beside = Steady(port, "two__echo", {"text": "beside"}, "beside")
        beside.start()
        with Lines(port) as lines:
            lines.initialize()
            lines.line(line)
            answer = lines.answer()
            assert isinstance(answer, dict) and "error" in answer, f"no error but {json.dumps(answer)[:200]}"
            assert answer["error"]["code"] in codes, f"{answer['error']}, wanted {sorted(codes)}"
            assert answer["error"]["message"], "an error without words"
            assert "id" in answer and answer["id"] in ids, f"id {answer.get('id', 'absent')!r}, wanted one of {ids}"
            lines.alive()
            assert text_of(lines.call("one__echo", {"text": "goes on"})) == "goes on"
        beside.finish()


def a_line_over_the_limit(binary: str, stage: Stage) -> str:
    """An error that names the limit, then the end of the connection, and of no other."""
    with served(binary, stage) as port:
        beside = Steady(port, "two__echo", {"text": "beside"}, "beside")
        beside.start()
        with Lines(port) as lines:
            lines.initialize()
            sent = 0
            # The error may come while we still send; then the gateway closes and sending fails.
            with contextlib.suppress(OSError):
                lines.raw(b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"x":"')
                while sent < FLOOD_BYTES:
                    lines.raw(b"x" * (1 << 20))
                    sent += 1 << 20
            assert sent < FLOOD_BYTES, f"it took {FLOOD_BYTES >> 20} MiB without a word"
            answer = lines.answer()
            words = answer["error"]["message"] + json.dumps(answer["error"].get("data", ""))
            assert answer["id"] is None and answer["error"]["code"] in (REQUEST, PARSE), answer
            assert any(c.isdigit() for c in words) and ("limit" in words or "max" in words), answer
            try:
                more = lines.next()
            except (Closed, ConnectionResetError):
                more = None
            assert more is None, f"it did not close but said {more}"
        beside.finish()
        return f"said after about {sent >> 20} MiB: {answer['error']['message']}"


def bytes_that_come_one_by_one(binary: str, stage: Stage) -> None:
    """A message in as many packets as it has bytes."""
    with served(binary, stage) as port, Lines(port) as lines:
        lines.initialize()
        for byte in '{"jsonrpc":"2.0","id":"ö\\u00f6","method":"ping"}\n'.encode():
            lines.raw(bytes([byte]))
        assert lines.answer() == {"jsonrpc": "2.0", "id": "öö", "result": {}}


def a_thousand_lines_in_one_write(binary: str, stage: Stage) -> None:
    """Each is answered once."""
    with served(binary, stage) as port, Lines(port) as lines:
        lines.initialize()
        lines.raw(b"".join(call(f'{{"name":"one__echo","arguments":{{"text":"{i}"}}}}', i) + b"\n"
                           for i in range(1000, 2000)))
        answers = [lines.answer() for _ in range(1000)]
        assert {a["id"]: text_of(a) for a in answers} == {i: str(i) for i in range(1000, 2000)}


def line_ends_and_blank_lines(binary: str, stage: Stage) -> None:
    """CR LF ends a line too, spaces around a message do no harm, and an empty line is nothing."""
    with served(binary, stage) as port, Lines(port) as lines:
        lines.initialize()
        lines.raw(b'\n\r\n  {"jsonrpc":"2.0","id":5,"method":"ping"} \t\r\n\n')
        assert lines.answer() == {"jsonrpc": "2.0", "id": 5, "result": {}}
        lines.alive()


def a_connection_that_ends_in_the_middle_of_a_line(binary: str, stage: Stage) -> None:
    """Many clients leave half a message behind; a neighbour goes on."""
    with served(binary, stage) as port:
        beside = Steady(port, "two__echo", {"text": "beside"}, "beside")
        beside.start()
        for _ in range(100):
            with Lines(port) as lines:
                lines.raw(b'{"jsonrpc":"2.0","id":1,"method":"initi')
        beside.finish()


def clients_that_leave_with_calls_under_way(binary: str, stage: Stage) -> None:
    """Their answers go nowhere, and the next client with the same ids gets its own."""
    with served(binary, stage) as port:
        for i in range(50):
            with Lines(port) as lines:
                lines.initialize()
                for _ in range(10):
                    lines.begin("tools/call", {"name": "one__hang", "arguments": {}})
                assert text_of(lines.call("one__echo", {"text": f"{i}"})) == f"{i}"


def ids_come_back_as_they_were(binary: str, stage: Stage) -> None:
    """Integers of any size that JSON can spell, and strings, through an upstream."""
    params = {"name": "one__echo", "arguments": {"text": "x"}}
    with served(binary, stage) as port, Lines(port) as lines:
        lines.initialize()
        for ident in (0, -1, 9007199254740993, -9223372036854775808, 9223372036854775807, "", "0", "a\"b\\c\n🦀"):
            lines.send({"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params})
            answer = lines.answer()
            assert answer["id"] == ident and type(answer["id"]) is type(ident), f"{ident!r} became {answer['id']!r}"
            assert text_of(answer) == "x"


def a_huge_id(binary: str, stage: Stage) -> None:
    """More than sixty-four bits: kept to the digit, or refused; never another number."""
    with served(binary, stage) as port, Lines(port) as lines:
        lines.initialize()
        lines.line('{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"}')
        answer = lines.answer()
        kept = answer.get("result") == {} and answer["id"] == 123456789012345678901234567890
        assert kept or answer["error"]["code"] == REQUEST and answer["id"] in (
            None, 123456789012345678901234567890), answer
        lines.alive()


def what_nobody_waits_for_is_ignored(binary: str, stage: Stage) -> None:
    """Unknown notifications, answers to nothing, a cancellation of nothing."""
    with served(binary, stage) as port, Lines(port) as lines:
        lines.initialize()
        lines.send({"jsonrpc": "2.0", "method": "notifications/no/such"})
        lines.send({"jsonrpc": "2.0", "id": 99, "result": {}})
        lines.send({"jsonrpc": "2.0", "id": "x", "error": {"code": 1, "message": "no"}})
        lines.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 12345}})
        lines.send({"jsonrpc": "2.0", "method": "notifications/progress",
                    "params": {"progressToken": "none", "progress": 1}})
        lines.alive()
        others = [m for m in lines.seen[1:] if isinstance(m, dict) and "error" in m]
        assert not others, others


def batches_in_a_session_of_2025_03_26(binary: str, stage: Stage) -> None:
    """An array is answered with an array; notifications alone with nothing; a bad member with its error."""
    with served(binary, stage) as port, Lines(port) as lines:
        lines.initialize("2025-03-26")
        echo = {"name": "one__echo", "arguments": {"text": "in a batch"}}
        lines.send([{"jsonrpc": "2.0", "id": 71, "method": "ping"},
                    {"jsonrpc": "2.0", "method": "notifications/no/such"},
                    {"jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": echo},
                    {"jsonrpc": "2.0", "id": 73, "method": "no/such"},
                    {"jsonrpc": "2.0", "id": 74}])
        batch = lines.answer()
        assert isinstance(batch, list) and len(batch) == 4, batch
        by_id = {answer["id"]: answer for answer in batch}
        assert by_id[71]["result"] == {} and text_of(by_id["b"]) == "in a batch", batch
        assert by_id[73]["error"]["code"] == METHOD, batch
        bad = by_id.get(74) or by_id.get(None)
        assert bad and bad["error"]["code"] == REQUEST, batch
        lines.send([{"jsonrpc": "2.0", "method": "notifications/no/such"}])
        lines.alive()
        lines.line("[]")
        empty = lines.answer()
        assert isinstance(empty, dict) and empty["error"]["code"] == REQUEST and empty["id"] is None, empty
        lines.alive()


def versions_are_negotiated(binary: str, stage: Stage) -> None:
    """A known version is kept; an unknown one, and the modern one, become the newest of the handshake."""
    with served(binary, stage) as port:
        for asked, got in (("2024-11-05",) * 2, ("2025-03-26",) * 2, ("2025-06-18",) * 2, (VERSION,) * 2,
                           ("1999-01-01", VERSION), ("2026-07-28", VERSION)):
            with Lines(port) as lines:
                answer = lines.ask("initialize", {"protocolVersion": asked, "capabilities": {},
                                                  "clientInfo": {"name": "e2e", "version": "1"}})
                assert answer["result"]["protocolVersion"] == got, f"{asked}: {answer}"


def modern_requests_say_who_they_are(binary: str, stage: Stage) -> None:
    """The envelope is checked; discover, lists and calls carry what the revision demands."""
    with served(binary, stage) as port, Lines(port) as lines:
        found = lines.ask("server/discover", {"_meta": MODERN})["result"]
        assert found["supportedVersions"] == ["2026-07-28"] and found["resultType"] == "complete", found
        listed = lines.ask("tools/list", {"_meta": MODERN})["result"]
        for result in (found, listed):
            assert result["ttlMs"] >= 0 and result["cacheScope"] in ("public", "private"), result
        result = lines.ask("tools/call", {"name": "one__echo", "arguments": {"text": "m"}, "_meta": MODERN})
        assert result["result"]["resultType"] == "complete" and text_of(result) == "m", result
        missing = {key: value for key, value in MODERN.items() if not key.endswith("clientCapabilities")}
        assert lines.ask("tools/list", {"_meta": missing})["error"]["code"] == PARAMS
        strange = {**MODERN, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
        error = lines.ask("tools/list", {"_meta": strange})["error"]
        assert error["code"] == VERSIONS and error["data"]["requested"] == "2099-01-01", error
        assert "2026-07-28" in error["data"]["supported"], error
        for method in ("ping", "no/such", "resources/subscribe", "logging/setLevel"):
            error = lines.ask(method, {"_meta": MODERN, "uri": "x://y", "level": "info"})["error"]
            assert error["code"] == METHOD, f"{method}: {error}"


def a_request_state_is_bound_to_its_call(binary: str, stage: Stage) -> None:
    """A held call is resumed by its own retry only: not by an altered state, not for another call, not twice."""
    ups = stage.upstreams()
    able = {**MODERN, "io.modelcontextprotocol/clientCapabilities": {"sampling": {}, "elicitation": {"form": {}}}}
    gateway = Gateway(binary, stage.dir / "state", {name: ups[name] for name in ("everything", "asker")})
    accept = {"action": "accept", "content": {"name": "Eve"}}
    try:
        gateway.wait_ready()
        with Lines(gateway.port) as lines:
            for tool, other in (("everything__trigger-elicitation-request", "everything__get-tiny-image"),
                                ("asker__greet", "asker__paint")):
                call = {"name": tool, "arguments": {}, "_meta": able}
                held = lines.ask("tools/call", call)["result"]
                assert held["resultType"] == "input_required", held
                state, [key] = held["requestState"], held["inputRequests"]
                retry = {**call, "inputResponses": {key: accept}, "requestState": state}
                middle = len(state) // 2
                altered = state[:middle] + ("A" if state[middle] != "A" else "B") + state[middle + 1:]
                for wrong in ({**retry, "requestState": altered}, {**retry, "name": other}):
                    answer = lines.ask("tools/call", wrong)
                    assert "error" in answer, f"{tool}: {json.dumps(answer)[:300]}"
                good = lines.ask("tools/call", retry)
                assert "Eve" in text_of(good), good
                if tool.startswith("everything"):
                    assert "error" in lines.ask("tools/call", retry), "a held call was resumed twice"
    finally:
        gateway.stop()


def a_thousand_connections(binary: str, stage: Stage) -> str:
    """All are open at once, and each is served."""
    with served(binary, stage) as port, contextlib.ExitStack() as stack:
        began = time.monotonic()
        clients = [stack.enter_context(Lines(port)) for _ in range(1000)]
        for lines in clients:
            lines.begin("initialize", {"protocolVersion": VERSION, "capabilities": {},
                                       "clientInfo": {"name": "e2e", "version": "1"}})
        for lines in clients:
            assert lines.answer()["result"]["protocolVersion"] == VERSION
            lines.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        waiting = [lines.begin("tools/call", {"name": "one__echo", "arguments": {"text": f"{i}"}})
                   for i, lines in enumerate(clients)]
        for i, (lines, ident) in enumerate(zip(clients, waiting, strict=True)):
            answer = lines.answer()
            assert answer["id"] == ident and text_of(answer) == f"{i}", answer
        return f"{(time.monotonic() - began) * 1000:.0f} ms in all"


def row(name: str):
    line, codes, ids = BAD[name]
    return lambda binary, stage: bad_input(line, codes, ids, binary, stage)


ALL = {f"wire/bad-{name}": row(name) for name in BAD}
ALL |= {f"wire/{check.__name__.replace('_', '-')}": check for check in (
    a_line_over_the_limit,
    bytes_that_come_one_by_one,
    a_thousand_lines_in_one_write,
    line_ends_and_blank_lines,
    a_connection_that_ends_in_the_middle_of_a_line,
    clients_that_leave_with_calls_under_way,
    ids_come_back_as_they_were,
    a_huge_id,
    what_nobody_waits_for_is_ignored,
    batches_in_a_session_of_2025_03_26,
    versions_are_negotiated,
    modern_requests_say_who_they_are,
    a_request_state_is_bound_to_its_call,
    a_thousand_connections,
)}
