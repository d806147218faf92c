"""Three tools for all: `list_servers`, `get_server_tools` and `execute_tool`, lists that are kept, and the guard;
with real servers, keys and rules."""

import contextlib
import json
import sys
from collections.abc import Iterator

import access
from exchange import Door, Session, text_of
from lines import Lines
from stage import HERE, Gateway, Stage

QUICK = str(HERE / "servers" / "quick.py")
NAMES = ["list_servers", "get_server_tools", "execute_tool"]
# The gateway's own numbers are a legacy client's; 2026-07-28 leaves that band alone, and has two others for them.
DENIED, AWAY, NO_TOOL, NO_AGENT, LATE = -32000, -32001, -32002, -32003, -32004
PARAMS, INTERNAL = -32602, -32603


@contextlib.contextmanager
def gateway(binary: str, stage: Stage, upstreams: dict, config: str = "") -> Iterator[Gateway]:
    one = Gateway(binary, stage.dir / "gateway-tools", upstreams, http=True, config=config)
    try:
        one.wait_up()
        yield one
    except BaseException:
        one.stop()
        raise
    wrong = one.stop()
    assert wrong is None, wrong


def quick(*names: str) -> dict:
    return {name: {"command": sys.executable, "args": [QUICK]} for name in names}


TOOLS = '[gateway]\nexpose = "gateway-tools"\n'


def answers(door: Door, tool: str, arguments: dict) -> list[dict]:
    """What a modern and a legacy client are answered."""
    params = {"name": tool, "arguments": arguments}
    modern = door.modern("tools/call", params, ident=1).answer(1)
    return [modern, Session(door).ask("tools/call", params)]


def found(answer: dict) -> dict:
    result = answer["result"]
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"], result
    return result["structuredContent"]


def an_agent_finds_and_calls_a_tool_by_three_tools(binary: str, stage: Stage) -> None:
    with gateway(binary, stage, quick("one", "two"), TOOLS) as one:
        door = Door(one.http_port)
        listed = door.modern("tools/list", ident=1).answer(1)["result"]
        assert [tool["name"] for tool in listed["tools"]] == NAMES, listed
        for answer in answers(door, "list_servers", {}):
            assert [(it["name"], it["status"]) for it in found(answer)["servers"]] == [
                ("one", "ready"), ("two", "ready")], answer
        for answer in answers(door, "get_server_tools", {"server": "two", "pattern": "e*"}):
            assert [tool["name"] for tool in found(answer)["tools"]] == ["echo"], answer
        for answer in answers(door, "execute_tool", {"server": "two", "tool": "echo", "args": {"text": "x"}}):
            assert text_of(answer) == "x", answer
        with Lines(one.port) as lines:
            lines.initialize()
            assert text_of(lines.call("execute_tool", {"server": "one", "tool": "echo", "args": {"text": "y"}})) == "y"


def each_failure_has_its_code(binary: str, stage: Stage) -> None:
    with gateway(binary, stage, quick("one"), TOOLS) as one:
        door = Door(one.http_port)
        for call, codes, name in (
            ({"server": "one", "tool": "nothing"}, (PARAMS, NO_TOOL), "TOOL_NOT_FOUND"),
            ({"server": "none", "tool": "echo"}, (INTERNAL, AWAY), "SERVER_UNAVAILABLE"),
            ({"server": "one", "tool": "hang", "timeout_ms": 200}, (INTERNAL, LATE), "TIMEOUT"),
        ):
            for answer, code in zip(answers(door, "execute_tool", call), codes, strict=True):
                assert answer["error"]["code"] == code, answer
                data = answer["error"]["data"]
                assert (data["code"], data["server"]) == (name, call["server"]), data
        # It goes on.
        call = {"server": "one", "tool": "echo", "args": {"text": "x"}}
        assert all(text_of(answer) == "x" for answer in answers(door, "execute_tool", call))


def rules_hold_inside_of_execute_tool(binary: str, stage: Stage) -> None:
    log = stage.dir / "access" / "audit.log"
    log.unlink(missing_ok=True)
    with access.house(binary, stage, extra=TOOLS) as one:
        reader = one.door("reader")
        for answer in answers(reader, "list_servers", {"agent_id": "reader"}):
            assert [it["name"] for it in found(answer)["servers"]] == ["one"], answer
        for answer in answers(reader, "get_server_tools", {"server": "one"}):
            assert [tool["name"] for tool in found(answer)["tools"]] == ["echo"], answer
        for call, codes in (
            ({"server": "one", "tool": "echo"}, (None, None)),
            ({"server": "one", "tool": "hang"}, (PARAMS, DENIED)),
            ({"server": "two", "tool": "echo"}, (PARAMS, DENIED)),
            ({"server": "two", "tool": "echo", "agent_id": "admin"}, (PARAMS, NO_AGENT)),
        ):
            got = answers(reader, "execute_tool", call)
            assert tuple(answer.get("error", {}).get("code") for answer in got) == codes, got
        got = answers(one.door("stranger"), "execute_tool", {"server": "one", "tool": "echo"})
        assert [answer["error"]["code"] for answer in got] == [PARAMS, NO_AGENT], got
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [(it["principal"], it["upstream"], it["tool"], it["verdict"]) for it in lines]
    expected = [("reader", "one", "echo", "allow"), ("reader", "one", "hang", "deny"),
                ("reader", "two", "echo", "deny"), ("stranger", "one", "echo", "deny")]
    assert told == [it for it in expected for _ in range(2)], told


class Counter(access.Witness):
    """The same, and it counts how often its tools are asked for."""

    lists = 0

    def hear(self, message: dict) -> None:
        Counter.lists += message["method"] == "tools/list"


def a_server_is_asked_once_for_what_many_want_to_know(binary: str, stage: Stage) -> None:
    with access.serving(Counter) as url:
        counted = {"counter": {"url": url}, **quick("one")}
        shards = "[shards]\ncount = 1\n"
        with gateway(binary, stage, counted, shards) as one:
            door = Door(one.http_port)
            before = Counter.lists
            for _ in range(20):
                listed = door.modern("tools/list", ident=1).answer(1)["result"]
                assert "counter__see" in [tool["name"] for tool in listed["tools"]], listed
                assert 0 < listed["ttlMs"] <= 60_000 and listed["cacheScope"] == "private", listed
            # Once for them all; and the gateway asks on its own account, for headers.
            assert Counter.lists - before <= 2, Counter.lists - before
        with gateway(binary, stage, counted, shards + '[limits]\nlist_ttl = 0\n') as one:
            door = Door(one.http_port)
            before = Counter.lists
            for _ in range(20):
                assert door.modern("tools/list", ident=1).answer(1)["result"]["ttlMs"] == 0
            assert Counter.lists - before >= 20, Counter.lists - before


def what_looks_like_an_attack_is_refused_and_never_repeated(binary: str, stage: Stage) -> None:
    log = stage.dir / "gateway-tools" / "audit.log"
    log.unlink(missing_ok=True)
    guard = '[audit]\nto = "audit.log"\n[guard]\nmode = "deny"\nlog = { two = ["echo"] }\noff = { three = ["*"] }\n'
    attack = "' OR '1'='1"
    with gateway(binary, stage, quick("one", "two", "three"), guard) as one:
        door = Door(one.http_port)
        for server, is_let in (("one", False), ("two", True), ("three", True)):
            for answer in answers(door, f"{server}__echo", {"text": attack}):
                if is_let:
                    assert text_of(answer) == attack, answer
                    continue
                data = answer["error"]["data"]
                assert data["code"] == "DENIED_BY_POLICY", answer
                assert (data["pattern"], data["argument"]) == ("sql_injection", "/text"), data
                assert attack not in json.dumps(answer), answer
        prose = "It's either this or that: SELECT, UNION and ../README.md."
        assert all(text_of(it) == prose for it in answers(door, "one__echo", {"text": prose}))
    text = log.read_text()
    assert attack not in text, "the log repeats the attack"
    told = [(it["upstream"], it["verdict"], it.get("guard", {}).get("pattern"))
            for it in map(json.loads, text.splitlines())]
    expected = [("one", "deny", "sql_injection"), ("two", "allow", "sql_injection"), ("three", "allow", None),
                ("one", "allow", None)]
    assert told == [it for it in expected for _ in range(2)], told


ALL = {f"tools/{check.__name__.replace('_', '-')}": check for check in (
    an_agent_finds_and_calls_a_tool_by_three_tools,
    each_failure_has_its_code,
    rules_hold_inside_of_execute_tool,
    a_server_is_asked_once_for_what_many_want_to_know,
    what_looks_like_an_attack_is_refused_and_never_repeated,
)}
