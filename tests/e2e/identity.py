"""Tokens over HTTP: a real authorization server issues them, the gateway fetches its keys; which are taken,
what those are told that are not, and that a client's token goes to no server."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator

from access import QUICK, Keyed, Witness, serving
from exchange import Door, Reply, Session, error, text_of
from stage import HERE, Gateway, Stage, cache, client_python
from typescript import node

RULES = {
    "agents": {
        "reader": {"allow": {"servers": ["one"], "tools": {"one": ["ec*"]}}},
        "admin": {"allow": {"servers": ["*"]}},
    },
    "defaults": {"deny_on_missing_agent": True},
}
SOON_S_MAX = 15.0
CALL = {"name": "one__echo", "arguments": {"text": "x"}}


class Authority:
    """An authorization server; see clients/authority.mjs."""

    def __init__(self) -> None:
        modules = cache() / "authority" / "node_modules"
        self.process = subprocess.Popen(
            [node(), str(HERE / "clients" / "authority.mjs"), str(modules)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.strip(), "the authorization server did not start: run scripts/setup"
        self.port = int(line)
        self.issuer = f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: str, headers: dict[str, str]) -> dict:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON_S_MAX)
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200, answer
        return answer

    def control(self, what: str, **told: object) -> dict:
        return self.ask(f"/test/{what}", json.dumps(told), {"Content-Type": "application/json"})

    def token(self, resource: str, client: str = "cli", scope: str = "mcp:use") -> str:
        """What a client gets that asks for itself (RFC 6749 section 4.4, RFC 8707)."""
        form = (f"grant_type=client_credentials&client_id={client}&client_secret=secret-of-{client}"
                f"&resource={resource}&scope={scope}")
        answer = self.ask("/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
        return answer["access_token"]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class House:
    """A gateway that takes an authority's tokens, in front of a server."""

    def __init__(self, binary: str, stage: Stage, authority: Authority, more: str, resource: str,
                 upstreams: dict) -> None:
        folder = stage.dir / "identity"
        folder.mkdir(exist_ok=True)
        (folder / "rules.json").write_text(json.dumps(RULES))
        (folder / "audit.log").unlink(missing_ok=True)
        made = subprocess.run([binary, "keys", "new", "admin"], check=True, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        self.key, line = made.stdout.splitlines()
        (folder / "keys.toml").write_text(line)
        self.resource, self.authority, self.known = resource, authority, []
        more = more.replace("ISSUER", authority.issuer)
        self.audit = folder / "audit.log"
        config = (
            '[policy]\nfile = "rules.json"\n[audit]\nto = "audit.log"\n[auth]\nkeys = "keys.toml"\n'
            f'[auth.jwt]\nissuer = "{authority.issuer}"\naudience = "{self.resource}"\nleeway = "0s"\n'
            f'jwks_url = "{authority.issuer}/jwks"\nrefetch_min = "1s"\nscopes = "mcp:use"\n'
            f'agents = {{ cli = "reader", boss = "admin" }}\n{more}\n')
        servers = {name: {"command": sys.executable, "args": [QUICK]} for name in ("one", "two")}
        self.gateway = Gateway(binary, folder, {**servers, **upstreams}, http=True, config=config)

    def door(self, token: str | None) -> Keyed:
        return Keyed(self.gateway.http_port, token)

    def call(self, token: str | None, ident: int = 1) -> Reply:
        return self.door(token).modern("tools/call", CALL, ident=ident)

    def token(self, **asked: str) -> str:
        return self.authority.token(self.resource, **asked)

    def soon(self, token: str, *statuses: int) -> Reply:
        """Until one of these is the answer: keys are fetched in their own time."""
        deadline = time.monotonic() + SOON_S_MAX
        while True:
            reply = self.call(token)
            if reply.status in statuses:
                return reply
            assert time.monotonic() < deadline, f"still {reply.status}: {self.gateway.tail()}"
            time.sleep(0.05)

    def signed(self, header: dict | None = None, **claims: object) -> str:
        """A token of the authority's that it would not issue itself."""
        usual = {"iss": self.authority.issuer, "aud": self.resource, "sub": "someone", "client_id": "cli",
                 "exp": int(time.time()) + 600, "scope": "mcp:use"}
        claims = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        kid = json.loads(keys_of(self.authority))["keys"][0]["kid"]
        told = {"header": {"alg": "RS256", "kid": kid, "typ": "at+jwt", **(header or {})}, "claims": claims}
        return self.authority.control("sign", **told)["token"]


def keys_of(authority: Authority) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", authority.port, timeout=SOON_S_MAX)
    connection.request("GET", "/jwks")
    return connection.getresponse().read()


@contextlib.contextmanager
def house(binary: str, stage: Stage, more: str = "", is_down: bool = False,
          resource: str = "https://gateway.example/mcp", **upstreams: dict) -> Iterator[House]:
    authority = Authority()
    one = None
    try:
        # Before it is down, and before there is a gateway that would fetch keys meanwhile.
        early = authority.token(resource) if is_down else None
        authority.control("down", down=is_down)
        one = House(binary, stage, authority, more, resource, upstreams)
        one.early = early
        one.gateway.wait_ready()
        yield one
    except BaseException:
        if one:
            one.gateway.stop()
        raise
    finally:
        authority.stop()
    wrong = one.gateway.stop()
    assert wrong is None, wrong


def a_token_of_the_issuer_opens_and_acts_as_its_clients_agent(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one:
        token = one.token()
        assert text_of(one.soon(token, 200).answer(1)) == "x"
        door = one.door(token)
        seen = [tool["name"] for tool in door.modern("tools/list", ident=2).answer(2)["result"]["tools"]]
        assert seen == ["one__echo"], seen
        hang = door.modern("tools/call", {"name": "one__hang", "arguments": {}}, ident=3).answer(3)
        assert hang["error"]["data"]["code"] == "DENIED_BY_POLICY", hang
        # A session over HTTP, and an API key beside tokens.
        session = Session(door)
        ident, reply = session.begin("tools/call", CALL)
        assert text_of(reply.answer(ident)) == "x"
        assert text_of(one.call(one.key).answer(1)) == "x"
        # Another client's token is another agent's: it has no rules, and the session is not its.
        other = one.token(client="other")
        assert one.call(other).answer(1)["error"]["data"]["code"] == "INVALID_AGENT_ID"
        message = {"jsonrpc": "2.0", "id": 9, "method": "ping"}
        error(one.door(other).post(message, **session.headers), 404)
        # A new token of the same subject is as good: tokens change while sessions go on.
        again = one.token()
        assert again != token
        assert one.door(again).post(message, **session.headers).answer(9)["result"] == {}
    lines = [json.loads(line) for line in one.audit.read_text().splitlines()]
    first = lines[0]
    assert first["principal"] == "cli" and first["issuer"] == one.authority.issuer, first
    assert first["agent"] == "reader" and first["verdict"] == "allow", first
    assert [line["principal"] for line in lines if "issuer" not in line] == ["admin"], lines


def what_is_wrong_with_a_token_is_told_to_the_log_alone(binary: str, stage: Stage) -> None:
    metadata = "https://gateway.example/.well-known/oauth-protected-resource/mcp"
    with house(binary, stage) as one:
        one.soon(one.signed(), 200)
        now = int(time.time())
        parts = one.signed().split(".")
        other = one.signed(sub="another").split(".")
        wrong = {
            "expired": one.signed(exp=now - 5),
            "not yet": one.signed(nbf=now + 100),
            "wrong audience": one.signed(aud="https://elsewhere.example/mcp"),
            "no audience": one.signed(aud=None),
            "wrong issuer": one.signed(iss="http://127.0.0.1:1"),
            "no subject": one.signed(sub=None),
            "no expiry": one.signed(exp=None),
            "alg none": one.signed({"alg": "none"}),
            "HMAC with the public key": one.signed({"alg": "HS256"}),
            "another payload": ".".join([parts[0], other[1], parts[2]]),
            "no signature": ".".join([*parts[:2], ""]),
            "an ID token": one.signed({"typ": "logout+jwt"}),
            "no token at all": "x",
            "half of one": parts[0],
        }
        for what, token in wrong.items():
            reply = one.call(token)
            error(reply, 401)
            challenge = reply.header("www-authenticate")
            assert challenge == f'Bearer resource_metadata="{metadata}", error="invalid_token", scope="mcp:use"', \
                f"{what}: {challenge}"
            assert len(reply.body) < 300 and what.encode() not in reply.body, reply.body
        bare = one.call(None)
        error(bare, 401)
        assert bare.header("www-authenticate") == f'Bearer resource_metadata="{metadata}", scope="mcp:use"', \
            bare.header("www-authenticate")
        for token in (one.signed(scope="mcp:other"), one.signed(scope=None), one.token(scope="mcp:other")):
            reply = one.call(token)
            error(reply, 403)
            challenge = reply.header("www-authenticate")
            assert challenge == (f'Bearer resource_metadata="{metadata}", error="insufficient_scope", '
                                 'scope="mcp:use"'), challenge
        assert one.call(one.token()).status == 200
        told = one.gateway.log.read_text()
        assert "reason=" in told, "the log does not say why"
        assert not any(token in told for token in wrong.values() if len(token) > 20), "a token is in the log"


def where_tokens_come_from_is_told_to_anybody(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one:
        door = Door(one.gateway.http_port)
        for path in ("", "/mcp", "/sse"):
            reply = door.request("GET", {}, path=f"/.well-known/oauth-protected-resource{path}")
            assert reply.status == 200 and reply.header("content-type") == "application/json", reply.status
            document = json.loads(reply.body)
            assert document["resource"] == f"https://gateway.example{path}", document
            assert document["authorization_servers"] == [one.authority.issuer], document
            assert document["scopes_supported"] == ["mcp:use"], document
        page = {"Origin": "https://evil.example"}
        assert door.request("GET", page, path="/.well-known/oauth-protected-resource").status == 403
        assert door.request("POST", {}, b"{}", path="/.well-known/oauth-protected-resource").status == 401
        assert door.request("GET", {}, path="/.well-known/openid-configuration").status == 401


def keys_are_rotated_without_a_restart(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one:
        old = one.token()
        one.soon(old, 200)
        # A new key beside the old one: whoever has a token of either is served, the new one as soon as the keys
        # were fetched anew, and is told to wait until then.
        for alg in ("ES256", "EdDSA", "PS256"):
            one.authority.control("rotate", keep=True, alg=alg)
            new = one.token()
            first = one.call(new)
            assert first.status in (200, 503), first.status
            if first.status == 503:
                assert first.header("retry-after") == "1", first.header("retry-after")
            assert one.soon(new, 200).status == 200, alg
            assert one.call(old).status == 200, "the old key is still there"
        # The old keys are withdrawn, and what they have signed is worth nothing any more.
        one.authority.control("rotate", keep=False, alg="RS256")
        one.soon(one.token(), 200)
        error(one.soon(old, 401), 401)


def strangers_do_not_make_the_gateway_ask_for_keys(binary: str, stage: Stage) -> None:
    with house(binary, stage) as one:
        one.soon(one.token(), 200)
        good = one.signed()
        before, begun = one.authority.control("asked")["asked"], time.monotonic()
        for number in range(300):
            reply = one.call(one.authority.control("sign", header={"alg": "RS256", "kid": f"guess-{number}"}, claims={
                "iss": one.authority.issuer, "aud": one.resource, "sub": "x", "exp": int(time.time()) + 600})["token"])
            assert reply.status in (401, 503), reply.status
        asked, took = one.authority.control("asked")["asked"] - before, time.monotonic() - begun
        # Once an interval, which is a second here; and one that had begun before.
        assert asked <= took + 2, f"{asked} fetches in {took:.1f} s"
        assert one.call(good).status == 200


def while_keys_cannot_be_fetched_the_last_ones_are_good(binary: str, stage: Stage) -> None:
    with house(binary, stage, more='refresh = "1s"', is_down=True) as one:
        token = one.early
        # Nothing was fetched yet: whether it is good is not known, and is not said.
        reply = one.call(token)
        error(reply, 503)
        assert reply.header("retry-after") == "1" and reply.header("www-authenticate") is None
        assert one.call(one.key).status == 200, "a key needs nobody"
        one.authority.control("down", down=False)
        one.soon(token, 200)
        one.authority.control("down", down=True)
        asked = one.authority.control("asked")["asked"]
        deadline = time.monotonic() + SOON_S_MAX
        while one.authority.control("asked")["asked"] < asked + 2:
            assert time.monotonic() < deadline, "nothing is fetched any more"
            assert one.call(token).status == 200
            time.sleep(0.05)
        assert "the last ones stay good" in one.gateway.log.read_text()


def a_token_never_goes_to_a_server(binary: str, stage: Stage) -> None:
    with serving(Witness) as url:
        Witness.heard.clear()
        with house(binary, stage, witness={"url": url, "headers": {"X-Own": "operator"}}) as one:
            token = one.signed(client_id="boss")
            one.soon(token, 200)
            door, params = one.door(token), {"name": "witness__see", "arguments": {}}
            assert text_of(door.modern("tools/call", params, ident=1).answer(1)) == "seen"
            session = Session(door)
            ident, reply = session.begin("tools/call", params)
            assert text_of(reply.answer(ident)) == "seen"
        assert "x-own" in {name.lower() for name, _ in Witness.heard}, Witness.heard
        leaked = [name for name, value in Witness.heard if token in value or name.lower() == "authorization"]
        assert not leaked, f"the client's token went upstream in {leaked}"


class Guarded(Witness):
    """The same behind a token; it takes each for so many requests, then never again."""

    lasts = 10**9
    taken: dict[str, int] = {}
    refusals = 0

    def do_POST(self) -> None:
        token = self.headers["Authorization"] or ""
        used = Guarded.taken.get(token, 0)
        if not token.startswith("Bearer ") or used >= Guarded.lasts:
            self.rfile.read(int(self.headers["Content-Length"]))
            Guarded.refusals += 1
            return self.say(401, b"")
        Guarded.taken[token] = used + 1
        super().do_POST()


def a_server_is_asked_with_a_token_that_is_granted_to_the_gateway(binary: str, stage: Stage) -> None:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(Guarded))
        authority = Authority()
        stack.callback(authority.stop)
        Guarded.taken.clear()
        Guarded.lasts, Guarded.refusals = 10**9, 0
        folder = stage.dir / "granted"
        folder.mkdir(exist_ok=True)
        (folder / "secret").write_text("secret-of-gateway\n")
        config = (f'[upstreams.guarded]\nurl = "{url}"\nera = "legacy"\n'
                  f'[upstreams.guarded.oauth]\ntoken_url = "{authority.issuer}/token"\nclient_id = "gateway"\n'
                  'client_secret_file = "secret"\nscopes = "mcp:use"\nresource = "https://guarded.example/mcp"\n')
        gateway = Gateway(binary, folder, {}, http=True, config=config)
        stack.callback(gateway.stop)
        gateway.wait_ready()
        door, params = Door(gateway.http_port), {"name": "see", "arguments": {}}

        def call() -> str:
            return text_of(door.modern("tools/call", params, ident=1).answer(1))

        assert call() == "seen"
        [token] = Guarded.taken
        claims = json.loads(base64.urlsafe_b64decode(token.removeprefix("Bearer ").split(".")[1] + "=="))
        assert (claims["client_id"], claims["aud"], claims["scope"]) == (
            "gateway", "https://guarded.example/mcp", "mcp:use"), claims
        # Refused once, the request is sent again with a new token, and its client hears nothing of it.
        Guarded.lasts = Guarded.taken[token]
        assert call() == "seen"
        assert len(Guarded.taken) == 2 and Guarded.refusals >= 1, (Guarded.taken.values(), Guarded.refusals)
        log = gateway.log.read_text()
        assert "secret-of-gateway" not in log and not any(token[10:] in log for token in Guarded.taken), "in the log"
        wrong = gateway.stop()
        assert wrong is None, wrong


class Callers(Witness):
    """A server behind tokens that tells its caller whose it has, and keeps a session for each."""

    asked: list[tuple[str, str, str]] = []
    sessions: dict[str, str] = {}
    refuses: set[str] = set()

    def claims(self) -> dict:
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        part = token.split(".")[1] if token.count(".") == 2 else ""
        return json.loads(base64.urlsafe_b64decode(part + "==")) if part else {}

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        claims, session = self.claims(), self.headers["Mcp-Session-Id"]
        Callers.asked.append((message["method"], claims.get("sub", ""), self.headers["Authorization"] or ""))
        if claims.get("aud") != "https://callers.example/mcp" or claims.get("jti") in Callers.refuses:
            return self.say(401, b"")
        if session is not None and Callers.sessions[session] != claims["sub"]:
            return self.say(403, b"")
        if "id" not in message:
            return self.say(202, b"")
        who = claims["sub"]
        results = {
            "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                           "serverInfo": {"name": "callers", "version": "1"}},
            "tools/list": {"tools": [{"name": f"of-{who}", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": f"{who} {claims['jti']}"}]},
        }
        result = results.get(message["method"])
        outcome = {"error": {"code": -32601, "message": "no such method"}} if result is None else {"result": result}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], **outcome}).encode()
        if message["method"] != "initialize":
            return self.say(200, body)
        ident = f"s{len(Callers.sessions)}"
        Callers.sessions[ident] = who
        self.send_response(200)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))),
                            ("Mcp-Session-Id", ident)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def on_behalf(binary: str, stage: Stage, more: str = "") -> Iterator[House]:
    """A gateway that asks such a server on behalf of its callers."""
    Callers.asked, Callers.sessions, Callers.refuses = [], {}, set()
    secret = stage.dir / "identity" / "secret"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("secret-of-gateway\n")
    with serving(Callers) as url:
        oauth = (f'[upstreams.callers]\nurl = "{url}"\n[upstreams.callers.oauth]\ngrant = "token-exchange"\n'
                 'token_url = "ISSUER/token"\nclient_id = "gateway"\nclient_secret_file = "secret"\n'
                 'audience = "callers"\nresource = "https://callers.example/mcp"\nscopes = "mcp:use"\n')
        with house(binary, stage, more=f"{more}\n{oauth}") as one:
            one.soon(one.signed(client_id="boss"), 200)
            yield one
            log = one.gateway.log.read_text() + one.audit.read_text()
            shown = {token.removeprefix("Bearer ") for _, _, token in Callers.asked}
            assert not any(token and token[-40:] in log for token in shown | set(one.known)), "a token in the log"
            leaked = [method for method, _, token in Callers.asked if token.removeprefix("Bearer ") in one.known]
            assert not leaked, f"a client's own token went upstream in {leaked}"


def of(one: House, who: str, **claims: object) -> Keyed:
    """Somebody's door."""
    token = one.signed(sub=who, client_id="boss", **claims)
    one.known.append(token)
    return one.door(token)


def told(door: Keyed, ident: int = 1) -> str:
    return text_of(door.modern("tools/call", {"name": "callers__who", "arguments": {}}, ident=ident).answer(ident))


def each_caller_is_asked_for_with_a_token_of_its_own(binary: str, stage: Stage) -> None:
    with on_behalf(binary, stage) as one:
        assert not Callers.asked, f"asked before there was anybody: {Callers.asked}"
        assert not one.authority.control("exchange")["exchanged"]
        alice, bob = of(one, "alice"), of(one, "bob")
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            doors = [(who, one.door(door.key)) for _ in range(20) for who, door in (("alice", alice), ("bob", bob))]
            for who, answer in pool.map(lambda it: (it[0], told(it[1])), doors):
                assert answer.split()[0] == who, (who, answer)
        asked = one.authority.control("exchange")["exchanged"]
        assert sorted(it["sub"] for it in asked) == ["alice", "bob"], f"{len(asked)} exchanges"
        assert all(it["audience"] == "callers" and it["type"].endswith(":access_token") for it in asked), asked
        # Lists and sessions are each caller's own.
        for who, door in (("alice", alice), ("bob", bob), ("alice", alice)):
            names = [tool["name"] for tool in door.modern("tools/list", {}, ident=3).answer(3)["result"]["tools"]]
            assert f"callers__of-{who}" in names and sum("__of-" in name for name in names) == 1, names
            session = Session(door)
            ident, reply = session.begin("tools/call", {"name": "callers__who", "arguments": {}})
            assert text_of(reply.answer(ident)).split()[0] == who
        assert len(one.authority.control("exchange")["exchanged"]) == 2, "what was had is kept"
        assert {who for _, who, _ in Callers.asked} == {"alice", "bob"}, "somebody else asked"
        # Who has no token to exchange is told so, and is served all else.
        keyed = one.door(one.key)
        fault = keyed.modern("tools/call", {"name": "callers__who", "arguments": {}}, ident=4).answer(4)["error"]
        assert "access token of the issuer of auth.jwt" in fault["message"], fault
        assert fault["data"]["code"] == "CALLER_REFUSED", fault
        assert text_of(keyed.modern("tools/call", CALL, ident=5).answer(5)) == "x"
        names = [tool["name"] for tool in keyed.modern("tools/list", {}, ident=6).answer(6)["result"]["tools"]]
        assert "one__echo" in names and not any("callers" in name for name in names), names


def an_exchanged_token_is_renewed_before_it_ends_and_when_it_is_refused(binary: str, stage: Stage) -> None:
    with on_behalf(binary, stage) as one:
        one.authority.control("exchange", lasts=600)
        alice = of(one, "alice")
        first = told(alice)
        assert told(alice) == first, "it is kept"
        # Refused by its server, it is had anew once, and the caller hears nothing of it; the second time it is too
        # soon, and said so.
        deadline = time.monotonic() + SOON_S_MAX
        Callers.refuses.add(first.split()[1])
        while True:
            reply = alice.modern("tools/call", {"name": "callers__who", "arguments": {}}, ident=1).answer(1)
            if "result" in reply:
                break
            assert "refuses the token that was exchanged" in reply["error"]["message"], reply
            assert time.monotonic() < deadline, reply
            time.sleep(0.2)
        second = text_of(reply)
        assert second.split()[0] == "alice" and second != first, second
        assert len(one.authority.control("exchange")["exchanged"]) == 2
        # One that lasts shortly is asked for again when its time is over, and not for each call.
        one.authority.control("exchange", lasts=2)
        bob, seen, begun = of(one, "bob"), [], time.monotonic()
        while time.monotonic() < begun + 5:
            seen.append(told(bob))
            time.sleep(0.05)
        assert 2 <= len(set(seen)) <= 4, f"{len(set(seen))} tokens in 5 s"
        # It is never good for longer than what it was exchanged for.
        one.authority.control("exchange", lasts=600)
        carol = of(one, "carol", exp=int(time.time()) + 2)
        assert told(carol).split()[0] == "carol"
        deadline = time.monotonic() + SOON_S_MAX
        while carol.modern("tools/call", {"name": "callers__who", "arguments": {}}, ident=1).status != 401:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def whom_a_token_is_refused_for_is_told_and_asks_no_storm(binary: str, stage: Stage) -> None:
    with on_behalf(binary, stage) as one:
        one.authority.control("exchange", refused={"mallory": "invalid_target", "trudy": "invalid_grant"})
        call = {"name": "callers__who", "arguments": {}}
        for who, error_, remedy in (("mallory", "invalid_target", "may not be used"), ("trudy", "invalid_grant", "new")):
            door = of(one, who)
            for ident in range(1, 40):
                fault = door.modern("tools/call", call, ident=ident).answer(ident)["error"]
                assert error_ in fault["message"] and remedy in fault["message"], fault
                assert fault["data"]["code"] == "CALLER_REFUSED" and "ey" not in fault["message"], fault
        asked = [it["sub"] for it in one.authority.control("exchange")["exchanged"]]
        assert asked.count("mallory") <= 2 and asked.count("trudy") <= 2, f"a storm: {len(asked)}"
        assert not Callers.asked, "the server has heard of neither"
        # Others are served, and that an endpoint is away is no refusal.
        assert told(of(one, "alice")).split()[0] == "alice"
        dave = of(one, "dave")
        one.authority.control("down", down=True)
        fault = dave.modern("tools/call", call, ident=1).answer(1)["error"]
        assert "just now" in fault["message"], fault
        one.authority.control("down", down=False)
        deadline = time.monotonic() + SOON_S_MAX
        while "result" not in dave.modern("tools/call", call, ident=1).answer(1):
            assert time.monotonic() < deadline, one.gateway.tail()
            time.sleep(0.1)
        log = one.gateway.log.read_text()
        assert "a caller's token was not exchanged" in log and "invalid_target" in log, log[-2000:]


def the_official_client_finds_its_way_by_itself(binary: str, stage: Stage) -> None:
    # What it is told to ask a token for must be what it asks: the gateway's own address.
    with house(binary, stage, resource="http://127.0.0.1:HTTP_PORT/mcp") as one:
        ran = subprocess.run(
            [client_python("auto-2.3"), "-W", "ignore", "-B", str(HERE / "clients" / "authorized.py"),
             one.gateway.url, one.authority.issuer, "cli", "secret-of-cli", "one__echo", '{"text": "by itself"}'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        assert ran.returncode == 0 and ran.stdout.strip() == "by itself", ran.stdout + ran.stderr[-800:]


ALL = {f"identity/{check.__name__.replace('_', '-')}": check for check in (
    a_token_of_the_issuer_opens_and_acts_as_its_clients_agent,
    what_is_wrong_with_a_token_is_told_to_the_log_alone,
    where_tokens_come_from_is_told_to_anybody,
    keys_are_rotated_without_a_restart,
    strangers_do_not_make_the_gateway_ask_for_keys,
    while_keys_cannot_be_fetched_the_last_ones_are_good,
    a_token_never_goes_to_a_server,
    a_server_is_asked_with_a_token_that_is_granted_to_the_gateway,
    each_caller_is_asked_for_with_a_token_of_its_own,
    an_exchanged_token_is_renewed_before_it_ends_and_when_it_is_refused,
    whom_a_token_is_refused_for_is_told_and_asks_no_storm,
    the_official_client_finds_its_way_by_itself,
)}
