"""A configuration that replaces the running one under load: all of it or nothing, and no request is lost."""

import json
import pathlib
import signal
import sys
import threading
import time

from access import RULES, house, tools
from exchange import Door, Session, error
from http_older import Socket
from lines import Lines, Steady, is_failure, text_of
from stage import HERE, Gateway, Stage, merged

QUICK = str(HERE / "servers" / "quick.py")
RELOADS = 20
SETTLED_S_MAX = 30.0
ENDS = ("the configuration is used", "the one before stays", "the configuration is the same")


def quick(*more: str) -> dict:
    return {"command": sys.executable, "args": [QUICK, *more]}


def ended(gateway: Gateway) -> int:
    """How many reloads have come to their end."""
    told = gateway.log.read_text(errors="replace")
    return sum(told.count(end) for end in ENDS)


def until(what: str, is_so, gateway: Gateway) -> None:
    deadline = time.monotonic() + SETTLED_S_MAX
    while not is_so():
        assert time.monotonic() < deadline, f"{what} within {SETTLED_S_MAX:.0f} s: {gateway.tail()}"
        time.sleep(0.01)


def reload(gateway: Gateway, upstreams: dict | None = None) -> str:
    """Has the gateway read its files again; what it says of them."""
    if upstreams is not None:
        gateway.mcp_json.write_text(json.dumps({"mcpServers": upstreams}, indent=2))
    before, told = ended(gateway), len(gateway.log.read_text(errors="replace"))
    gateway.process.send_signal(signal.SIGHUP)
    until("no end of the reload", lambda: ended(gateway) > before, gateway)
    return gateway.log.read_text(errors="replace")[told:]


def names(lines: Lines) -> list[str]:
    return sorted(tool["name"] for tool in lines.ask("tools/list")["result"]["tools"] if tool["name"].endswith("__echo"))


class Modern(threading.Thread):
    """Calls one tool over HTTP without pause; what was not answered as it should be."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.door, self.wrong, self.done, self.is_ending = Door(port), [], 0, False

    def run(self) -> None:
        while not self.is_ending:
            try:
                params = {"name": "one__echo", "arguments": {"text": "modern"}}
                assert text_of(self.door.modern("tools/call", params, ident=1).answer(1)) == "modern"
                self.done += 1
            except Exception as error:  # whatever it is, somebody's request was lost
                self.wrong.append(f"{type(error).__name__}: {error}")
                return

    def finish(self) -> None:
        self.is_ending = True
        self.join(SETTLED_S_MAX)
        assert not self.wrong, f"over HTTP: {self.wrong}"
        assert self.done, "no call was made over HTTP"


def under_load_no_request_is_lost(binary: str, stage: Stage) -> str:
    """Upstreams come, go and change twenty times, while one that stays is called all the time."""
    stays = {"one": quick()}
    gateway = Gateway(binary, stage.dir / "reload", {**stays, "two": quick()}, http=True)
    try:
        gateway.wait_up()
        callers = [Steady(gateway.port, "one__echo", {"text": "steady"}, "steady") for _ in range(4)]
        callers.append(Modern(gateway.http_port))
        for caller in callers:
            caller.start()
        with Lines(gateway.port) as lines:
            lines.initialize()
            for number in range(RELOADS):
                others = {"two": quick("--number", str(number))} if number % 2 else {"three": quick()}
                reload(gateway, {**stays, **others})
                came = next(iter(others))
                assert names(lines) == sorted(["one__echo", f"{came}__echo"]), names(lines)
                assert text_of(lines.call(f"{came}__echo", {"text": "new"})) == "new"
                gone = lines.call("three__echo" if number % 2 else "two__echo", {"text": "x"})
                assert gone["error"]["code"] == -32602, gone
            changed = [m for m in lines.seen if m.get("method") == "notifications/tools/list_changed"]
            assert changed, "the client was not told that the list has changed"
        for caller in callers:
            caller.finish()
        # Of all the servers that came and went, those that are used are left.
        until("servers are left", lambda: len(gateway.children("quick.py")) == 2, gateway)
        return f"{sum(caller.done for caller in callers)} calls"
    finally:
        wrong = gateway.stop()
        assert wrong is None, wrong


def a_call_of_a_server_that_is_removed_is_answered(binary: str, stage: Stage) -> None:
    ups = stage.upstreams()
    _, _, *command = ups["everything"]["args"]
    everything = {"command": command[0], "args": command[1:]}
    gateway = Gateway(binary, stage.dir / "reload", {"everything": everything, "one": quick()})
    try:
        gateway.wait_ready()
        with Lines(gateway.port) as lines:
            lines.initialize()
            text_of(lines.call("everything__echo", {"message": "before"}))
            long = {"name": "everything__trigger-long-running-operation", "arguments": {"duration": 2, "steps": 2}}
            begun = lines.begin("tools/call", long)
            text_of(lines.call("everything__echo", {"message": "on the way"}))
            # Two servers are left, so that names stay what they are.
            told = reload(gateway, {"one": quick(), "two": quick()})
            assert "upstreams.everything: removed" in told and "upstreams.two: added" in told, told
            assert is_failure(lines.call("everything__echo", {"message": "after"}))
            while not any(m.get("id") == begun and "method" not in m for m in lines.seen):
                lines.next()
            answer = next(m for m in lines.seen if m.get("id") == begun and "method" not in m)
            assert "completed" in text_of(answer), answer
        until("the server is left", lambda: not gateway.children("server-everything"), gateway)
    finally:
        wrong = gateway.stop()
        assert wrong is None, wrong


def what_is_wrong_changes_nothing(binary: str, stage: Stage) -> None:
    gateway = Gateway(binary, stage.dir / "reload", {"one": quick(), "two": quick()})
    try:
        gateway.wait_ready()
        right = gateway.config.read_text()
        with Lines(gateway.port) as lines:
            lines.initialize()
            for wrong, expected in (
                ("[limits]\nreqest = \"1s\"\n", ("limits.reqest", "request")),
                ("[limits]\nrequest = \"soon\"\n", ("limits.request",)),
                ("[upstreams.bad]\ncommand = 7\n", ("upstreams.bad.command",)),
                ("= nonsense", ("ringgate.toml:",)),
                ("[gateway]\nseparator = \"--\"\n", ("gateway.separator", "restart")),
                ("[shards]\nring_entries = 256\n", ("shards", "restart")),
            ):
                # Upstreams change too; they must not, with the rest wrong.
                gateway.config.write_text(merged(right, wrong) if wrong.startswith("[") else right + wrong)
                told = reload(gateway, {"one": quick(), "three": quick()})
                assert "the one before stays" in told, told
                assert all(word in told for word in expected), f"{expected} not in {told}"
                assert names(lines) == ["one__echo", "two__echo"], names(lines)
            gateway.config.write_text(right)
            assert "upstreams.three: added" in reload(gateway)
            assert names(lines) == ["one__echo", "three__echo"], names(lines)
            assert "the configuration is the same" in reload(gateway)
    finally:
        wrong = gateway.stop()
        assert wrong is None, wrong


def rules_and_keys_change_while_sessions_go_on(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one:
        folder: pathlib.Path = one.gateway.config.parent
        reader, other = one.door("reader"), one.door("reader", 1)
        stays, goes = (Socket(door, Authorization=f"Bearer {key}")
                       for door, key in zip((reader, other), one.keys["reader"], strict=False))
        assert (stays.status, goes.status) == (101, 101), (stays.headers, goes.headers)
        with Lines(one.gateway.port) as lines, stays, goes:
            lines.initialize()
            assert tools(reader) == names(lines) == ["one__echo"]
            rules = json.loads(json.dumps(RULES))
            rules["agents"]["reader"]["allow"] = {"servers": ["two"], "tools": {"two": ["ec*"]}}
            (folder / "rules.json").write_text(json.dumps(rules))
            kept = [line for line in (folder / "keys.toml").read_text().splitlines() if not line.startswith("reader")]
            first = (folder / "keys.toml").read_text().splitlines()[0].partition("[")[2].partition(",")[0]
            (folder / "keys.toml").write_text("\n".join([f"reader = [{first}]", *kept]))
            told = reload(one.gateway)
            assert "policy: changed" in told and "auth.keys: changed" in told, told
            assert tools(reader) == names(lines) == ["two__echo"]
            assert lines.call("one__echo", {"text": "x"})["error"]["code"] == -32000
            assert text_of(lines.call("two__echo", {"text": "x"})) == "x"
            assert any(m.get("method") == "notifications/tools/list_changed" for m in lines.seen)
            closed = goes.closed_with()
            assert closed == 1008, f"{closed}: what was opened with a key that is gone goes on"
            stays.hello()
        assert other.request("GET", {}, path="/tools").status == 401, "a key that was taken away opens"
    written = [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]
    assert [(line["upstream"], line["verdict"]) for line in written][-2:] == [("one", "deny"), ("two", "allow")], written
    assert written[-1]["rule"] == "agents.reader.allow.tools.two: ec*", written[-1]


def event_streams_end_with_the_key_that_opened_them(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one:
        keys: pathlib.Path = one.gateway.config.parent / "keys.toml"
        kept, lost = one.door("reader"), one.door("reader", 1)
        sessions = {door: Session(door) for door in (kept, lost)}
        streams = {door: (session.get(), door.request("GET", {"Accept": "text/event-stream"}, path="/sse"))
                   for door, session in sessions.items()}
        assert all(stream.status == 200 for both in streams.values() for stream in both)
        rest = [line for line in keys.read_text().splitlines() if not line.startswith("reader")]
        first = keys.read_text().splitlines()[0].partition("[")[2].partition(",")[0]
        keys.write_text("\n".join([f"reader = [{first}]", *rest]))
        told = reload(one.gateway)
        assert "auth.keys: changed" in told, told
        for stream in streams[lost]:
            # To its end in good order: a chunk that is cut off is an exception.
            list(stream.events())
        ping = {"jsonrpc": "2.0", "id": 9, "method": "ping"}
        error(sessions[lost].post(ping), 401)
        assert sessions[lost].get().status == 401, "a stream is resumed with a key that is gone"
        # The session is its agent's: another key of his goes on with it, and what the other key opened goes on as well.
        assert kept.post(ping, **sessions[lost].headers).status == 200
        assert "result" in sessions[kept].ask("ping")
        events = streams[kept][1].events()
        assert next(events)["event"] == "endpoint"
        rules = json.loads(json.dumps(RULES))
        rules["agents"]["reader"]["allow"] = {"servers": ["two"]}
        (keys.parent / "rules.json").write_text(json.dumps(rules))
        reload(one.gateway)
        changed = next(streams[kept][0].messages())
        assert changed["method"] == "notifications/tools/list_changed", changed


def files_are_watched_where_that_is_asked_for(binary: str, stage: Stage) -> None:
    gateway = Gateway(binary, stage.dir / "reload", {"one": quick(), "two": quick()}, more=("--watch",))
    try:
        gateway.wait_ready()
        with Lines(gateway.port) as lines:
            lines.initialize()
            assert names(lines) == ["one__echo", "two__echo"]
            # As editors do it: another file takes the name.
            draft = gateway.mcp_json.with_suffix(".new")
            draft.write_text(json.dumps({"mcpServers": {"one": quick(), "three": quick()}}))
            draft.rename(gateway.mcp_json)
            until("the file is not seen", lambda: ended(gateway) > 0, gateway)
            assert names(lines) == ["one__echo", "three__echo"]
    finally:
        wrong = gateway.stop()
        assert wrong is None, wrong


ALL = {f"reload/{check.__name__.replace('_', '-')}": check for check in (
    under_load_no_request_is_lost,
    a_call_of_a_server_that_is_removed_is_answered,
    what_is_wrong_changes_nothing,
    rules_and_keys_change_while_sessions_go_on,
    event_streams_end_with_the_key_that_opened_them,
    files_are_watched_where_that_is_asked_for,
)}
