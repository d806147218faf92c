"""Who may what: keys over HTTP, agents of listeners, and rules; with real keys, a rules file and real servers."""

import contextlib
import http.client
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from exchange import Door, Reply, Session, error, text_of
from lines import Lines
from stage import HERE, Gateway, Stage

QUICK = str(HERE / "servers" / "quick.py")
RULES = {
    "agents": {
        "reader": {"allow": {"servers": ["one"], "tools": {"one": ["ec*"]}}},
        "admin": {"allow": {"servers": ["*"]}, "deny": {"tools": {"*": ["die", "half"]}}},
    },
    "defaults": {"deny_on_missing_agent": True},
}
# The gateway's own numbers for legacy clients, and what 2026-07-28 has for them.
DENIED, TOO_FAST = -32000, -32005
PARAMS, INTERNAL = -32602, -32603


class Keyed(Door):
    """A door to which every request brings a key."""

    def __init__(self, port: int, key: str | None) -> None:
        super().__init__(port)
        self.key = key

    def request(self, method: str, headers: dict, body: bytes | None = None, path: str | None = None) -> Reply:
        shown = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        return super().request(method, {**shown, **headers}, body, path)


class House:
    """A gateway with keys and rules in front of two servers."""

    def __init__(self, binary: str, stage: Stage, rates: str = "", extra: str = "", **more: dict) -> None:
        folder = stage.dir / "access"
        folder.mkdir(exist_ok=True)
        self.keys, lines = {}, []
        for agent in ("reader", "reader", "admin", "stranger"):
            made = subprocess.run([binary, "keys", "new", agent], check=True, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
            key, line = made.stdout.splitlines()
            self.keys.setdefault(agent, []).append(key)
            lines.append(line)
        readers = [line.partition("[")[2].rstrip("]") for line in lines[:2]]
        (folder / "keys.toml").write_text("\n".join([f"reader = [{', '.join(readers)}]", *lines[2:]]))
        (folder / "rules.json").write_text(json.dumps(RULES))
        upstreams = {name: {"command": sys.executable, "args": [QUICK]} for name in ("one", "two")}
        self.gateway = Gateway(binary, folder, {**upstreams, **more}, http=True, config=(
            '[tcp]\nagent = "reader"\n[auth]\nkeys = "keys.toml"\n[policy]\nfile = "rules.json"\n'
            '[audit]\nto = "audit.log"\n' + (f"[rates]\n{rates}\n" if rates else "") + extra))

    def door(self, agent: str | None, number: int = 0) -> Keyed:
        return Keyed(self.gateway.http_port, self.keys[agent][number] if agent else None)


@contextlib.contextmanager
def house(binary: str, stage: Stage, rates: str = "", extra: str = "", **more: dict) -> Iterator[House]:
    one = House(binary, stage, rates, extra, **more)
    try:
        one.gateway.wait_ready()
        yield one
    except BaseException:
        one.gateway.stop()
        raise
    wrong = one.gateway.stop()
    assert wrong is None, wrong


def tools(door: Door) -> list[str]:
    reply = door.modern("tools/list", ident=1)
    return [tool["name"] for tool in reply.answer(1)["result"]["tools"]]


def without_a_good_key_only_health_is_told(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one:
        for key in (None, "rgk_x", one.keys["admin"][0][:-1] + "~", ""):
            door = Keyed(one.gateway.http_port, key)
            for method, path in (("GET", "/tools"), ("GET", "/metrics"), ("GET", "/sse"), ("GET", "/ws"),
                                 ("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/nothing")):
                reply = door.request(method, {}, b"{}" if method == "POST" else None, path)
                assert reply.status == 401, f"{method} {path} with {key!r}: {reply.status}"
                assert reply.header("www-authenticate") == "Bearer", reply.header("www-authenticate")
                error(reply, 401)
            assert door.request("GET", {}, path="/health").status == 200
        told = one.gateway.log.read_text()
        assert "without a good key" in told, "the log does not say why"
        assert not any(key in told for keys in one.keys.values() for key in keys), "a key is in the log"


def each_agent_sees_and_calls_what_it_may(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one:
        reader, admin = one.door("reader"), one.door("admin")
        for _ in range(3):  # nothing of one agent's list is kept for the other
            assert tools(reader) == ["one__echo"], tools(reader)
            seen = tools(admin)
            assert "one__hang" in seen and "two__echo" in seen and "one__die" not in seen, seen
        for door, tool, allowed in ((reader, "one__echo", True), (reader, "two__echo", False),
                                    (reader, "one__hang", False), (admin, "two__echo", True),
                                    (admin, "two__die", False), (reader, "one__nothing", False)):
            params = {"name": tool, "arguments": {"text": "x"}}
            modern = door.modern("tools/call", params, ident=1).answer(1)
            session = Session(door)
            ident, reply = session.begin("tools/call", params)
            for answer, code in ((modern, PARAMS), (reply.answer(ident), DENIED)):
                if allowed:
                    assert text_of(answer) == "x", answer
                    continue
                assert answer["error"]["code"] == code, answer
                data = answer["error"]["data"]
                server, _, name = tool.partition("__")
                assert (data["code"], data["server"], data["tool"]) == ("DENIED_BY_POLICY", server, name), data
                assert data["agent"] in ("reader", "admin") and data["rule"].startswith("agents."), data
        stranger = one.door("stranger")
        assert tools(stranger) == []
        answer = stranger.modern("tools/call", {"name": "one__echo", "arguments": {}}, ident=1).answer(1)
        assert (answer["error"]["code"], answer["error"]["data"]["code"]) == (PARAMS, "INVALID_AGENT_ID"), answer
        # All is as it was for who may: nobody's call has reached what it may not use.
        assert text_of(admin.modern("tools/call", {"name": "one__echo", "arguments": {"text": "y"}}, ident=2).answer(2)) == "y"


def a_session_belongs_to_its_agent(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one:
        session = Session(one.door("reader"))
        message = {"jsonrpc": "2.0", "id": 9, "method": "ping"}
        for agent in ("admin", "stranger"):
            error(one.door(agent).post(message, **session.headers), 404)
            assert one.door(agent).request("DELETE", {"Mcp-Session-Id": session.id}).status == 404
        error(one.door(None).post(message, **session.headers), 401)
        # Another key of the same agent's is as good: keys change while sessions go on.
        assert one.door("reader", 1).post(message, **session.headers).answer(9)["result"] == {}


def a_listener_acts_for_its_agent(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one, Lines(one.gateway.port) as lines:
        lines.initialize()
        seen = [tool["name"] for tool in lines.ask("tools/list")["result"]["tools"]]
        assert seen == ["one__echo"], seen
        assert lines.call("two__echo", {"text": "x"})["error"]["code"] == DENIED
        assert text_of(lines.call("one__echo", {"text": "x"})) == "x"


def each_use_is_in_the_audit_log(binary: str, stage: Stage) -> None:
    log = stage.dir / "access" / "audit.log"
    log.unlink(missing_ok=True)  # another scenario's
    with house(binary, stage) as one:
        reader = one.door("reader")
        for tool in ("one__echo", "two__echo"):
            reader.modern("tools/call", {"name": tool, "arguments": {"text": "x"}}, ident=1).answer(1)
    # All that was decided is written before the gateway has ended.
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["upstream"], line["tool"], line["verdict"]) for line in lines] == [
        ("one", "echo", "allow"), ("two", "echo", "deny")], lines
    first, second = lines
    assert first["rule"] == "agents.reader.allow.tools.one: ec*" and first["duration_us"] > 0, first
    assert second["rule"].startswith("agents.reader.allow.servers"), second
    for line in lines:
        assert line["principal"] == line["agent"] == "reader" and line["transport"] == "http", line
        assert line["method"] == "tools/call" and line["time"].endswith("Z"), line


def who_is_too_fast_is_told_when_to_come_back(binary: str, stage: Stage) -> None:
    with house(binary, stage, rates="calls = 20\nconnections = 0\nviolations = 0") as one:
        door, params = one.door("admin"), {"name": "one__echo", "arguments": {"text": "x"}}
        begun, replies = time.monotonic(), []
        while time.monotonic() - begun < 3 or len(replies) < 100:
            replies.append(door.modern("tools/call", params, ident=1))
        took = time.monotonic() - begun
        let = [reply for reply in replies if reply.status == 200]
        refused = [reply for reply in replies if reply.status != 200]
        assert refused, f"{len(replies)} calls in {took:.1f} s were all let through"
        for reply in refused:
            message = error(reply, 429, INTERNAL)
            assert reply.header("retry-after") == "1", reply.header("retry-after")
            assert message["error"]["data"]["limit"] == "calls", message
        # A full budget, and what comes in the meantime; two shards may each be one call ahead.
        assert len(let) <= 20 + 20 * took + 2, f"{len(let)} of {len(replies)} in {took:.1f} s"
        with Lines(one.gateway.port) as lines:
            lines.initialize()
            answers = [lines.call("one__echo", {"text": "x"}) for _ in range(60)]
        over = [answer["error"] for answer in answers if "error" in answer]
        assert all(it["code"] == TOO_FAST and it["data"]["retryAfterMs"] > 0 for it in over), over


def connected(port: int) -> str:
    """What becomes of a connection that asks for /health: its status line, or that it was closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        try:
            one.sendall(f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            return one.recv(4096).decode().partition("\r\n")[0]
        except ConnectionError:
            return "closed"


def who_connects_or_asks_too_often_is_shut_out(binary: str, stage: Stage) -> None:
    with house(binary, stage, rates="calls = 5\nconnections = 10\nviolations = 50\nblock = \"2s\"") as one:
        port = one.gateway.http_port
        with Lines(one.gateway.port) as lines:
            lines.initialize()
            begun, let = time.monotonic(), 0
            for _ in range(40):
                let += connected(port) == "HTTP/1.1 200 OK"
            took = time.monotonic() - begun
            # A full budget, what comes in the meantime, and what each other shard uses on credit before it hears
            # of them; the readiness of the gateway was asked for as well.
            assert 6 <= let <= 20 + 10 * took, f"{let} of 40 in {took:.1f} s"
            # The connection that is there goes on, until its calls are refused too often.
            answered = 0
            with contextlib.suppress(Exception):
                while answered < 200:
                    lines.call("one__echo", {"text": "x"})
                    answered += 1
            assert answered < 200, "200 calls were answered, most of them too many"
        assert connected(port) != "HTTP/1.1 200 OK", "it is still let in"
        deadline = time.monotonic() + 10
        while connected(port) != "HTTP/1.1 200 OK":
            assert time.monotonic() < deadline, "it is shut out for ever"
            time.sleep(0.1)
        assert "an address is shut out" in one.gateway.log.read_text()
    with house(binary, stage, rates='connections = 1\nviolations = 1\ntrusted = "127.0.0.0/8"') as one:
        assert all(connected(one.gateway.http_port) == "HTTP/1.1 200 OK" for _ in range(50)), "a balancer's address"


class Witness(http.server.BaseHTTPRequestHandler):
    """A small legacy server over HTTP that remembers every header it was sent."""

    protocol_version = "HTTP/1.1"
    heard: list[tuple[str, str]] = []

    def do_POST(self) -> None:
        Witness.heard += self.headers.items()
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.hear(message)
        results = {
            "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                           "serverInfo": {"name": "witness", "version": "1"}},
            "tools/list": {"tools": [{"name": "see", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": "seen"}]},
        }
        if "id" not in message:
            return self.say(202, b"")
        result = results.get(message["method"])
        outcome = {"error": {"code": -32601, "message": "no such method"}} if result is None else {"result": result}
        self.say(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], **outcome}).encode())

    def do_GET(self) -> None:
        Witness.heard += self.headers.items()
        self.say(405, b"")

    do_DELETE = do_GET

    def hear(self, message: dict) -> None:
        """What came, before it is answered."""

    def say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(server: type[Witness]) -> Iterator[str]:
    """A server in this process, and its URL."""
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/mcp"
    finally:
        running.shutdown()
        running.server_close()


def a_key_never_goes_to_a_server(binary: str, stage: Stage) -> None:
    with serving(Witness) as url:
        Witness.heard.clear()
        with house(binary, stage, witness={"url": url, "headers": {"X-Own": "operator"}}) as one:
            door = one.door("admin")
            params = {"name": "witness__see", "arguments": {}}
            assert text_of(door.modern("tools/call", params, ident=1).answer(1)) == "seen"
            session = Session(door)
            ident, reply = session.begin("tools/call", params)
            assert text_of(reply.answer(ident)) == "seen"
        names = {name.lower() for name, _ in Witness.heard}
        assert "x-own" in names, names
        assert "authorization" not in names, "the client's Authorization went upstream"
        leaked = [name for name, value in Witness.heard if "rgk_" in value]
        assert not leaked, f"a key went upstream in {leaked}"


def a_listener_takes_as_many_connections_as_it_may(binary: str, stage: Stage) -> None:
    limits = "[tcp]\nmax_connections = 2\n[http]\nmax_connections = 3\nmetrics = true\n"
    with house(binary, stage, extra=limits) as one, contextlib.ExitStack() as opened:
        key = {"Authorization": f"Bearer {one.keys['admin'][0]}"}

        def connected() -> http.client.HTTPConnection:
            connection = http.client.HTTPConnection("127.0.0.1", one.gateway.http_port, timeout=10)
            opened.callback(connection.close)
            return connection

        def asked(connection: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, str]:
            connection.request("GET", "/metrics", headers=key)
            response = connection.getresponse()
            return response, response.read().decode()

        def counted(what: str) -> int:
            text = asked(first)[1]
            return sum(int(count) for count in re.findall(rf"^ringgate_{what}\{{[^}}]*\}} (\d+)$", text, re.MULTILINE))

        first = connected()
        # Those that came to see whether it listens may not have gone yet.
        deadline = time.monotonic() + 10
        while counted("http_connections") > 1 or counted("tcp_connections") > 0:
            assert time.monotonic() < deadline, asked(first)[1]
        assert [asked(connected())[0].status for _ in range(2)] == [200, 200]
        response, _ = asked(connected())
        assert (response.status, response.getheader("retry-after")) == (503, "1"), response.status
        lines = [opened.enter_context(Lines(one.gateway.port)) for _ in range(2)]
        for each in lines:
            each.initialize()
        try:
            with Lines(one.gateway.port) as beyond:
                beyond.initialize()
            raise AssertionError("one more than there may be is served")
        except ConnectionError:
            pass  # it is reset
        for each in lines:
            each.alive()
        assert (counted("http_turned_away_total"), counted("tcp_turned_away_total")) == (1, 1), asked(first)[1]


ALL = {f"access/{check.__name__.replace('_', '-')}": check for check in (
    without_a_good_key_only_health_is_told,
    each_agent_sees_and_calls_what_it_may,
    a_session_belongs_to_its_agent,
    a_listener_acts_for_its_agent,
    each_use_is_in_the_audit_log,
    who_is_too_fast_is_told_when_to_come_back,
    who_connects_or_asks_too_often_is_shut_out,
    a_key_never_goes_to_a_server,
    a_listener_takes_as_many_connections_as_it_may,
)}
