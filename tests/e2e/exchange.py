"""HTTP requests said word by word: no SDK, so that a scenario decides which headers go and which do not.

A `Door` is the address of one MCP endpoint; each request has a connection of its own unless it is given one.
"""

import http.client
import itertools
import json
from collections.abc import Iterator

ANSWER_S_MAX = 20.0
LEGACY = "2025-11-25"
MODERN = "2026-07-28"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
ABLE_KEY = "io.modelcontextprotocol/clientCapabilities"
SELF_KEY = "io.modelcontextprotocol/clientInfo"
SELF = {"name": "e2e", "version": "1"}
BOTH = "application/json, text/event-stream"
# What the reference server's SDK answers otherwise than the rules say; the control leaves it out.
SDK_DIFFERS = {
    "http/accept-must-list-both-types", "http/the-content-type-must-be-json",
    "http/the-content-type-may-have-parameters", "http/guards-stand-before-every-endpoint",
    "http/a-body-that-is-no-message-is-an-invalid-request", "http/health-and-readiness-are-told",
    "http-legacy/a-second-initialize-is-refused", "http-legacy/another-session-cannot-resume-a-stream",
    "http-legacy/a-batch-is-taken-in-2025-03-26", "http-legacy/a-batch-of-notifications-is-202",
    "http-legacy/an-empty-batch-is-400", "http-legacy/an-initialize-in-a-batch-is-400",
    "http-legacy/a-batch-is-refused-since-2025-06-18", "http-modern/the-version-header-must-be-there",
    "http-modern/the-version-header-must-match",
}
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
Headers = dict[str, str | list[str] | None]


class Reply:
    """One response; a stream is read event by event."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self.connection, self.response = connection, response
        self.status = response.status
        self._body: bytes | None = None

    def header(self, name: str) -> str | None:
        return self.response.getheader(name)

    @property
    def streams(self) -> bool:
        return (self.header("content-type") or "").startswith("text/event-stream")

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = self.response.read()
        return self._body

    @property
    def json(self) -> object:
        return json.loads(self.body)

    def events(self) -> Iterator[dict[str, str]]:
        """The events of a stream, until it ends. A comment is none."""
        fields: dict[str, str] = {}
        while line := self.response.readline():
            text = line.decode().rstrip("\r\n")
            if text == "":
                if fields:
                    yield fields
                fields = {}
            elif not text.startswith(":"):
                name, _, value = text.partition(":")
                value = value.removeprefix(" ")
                fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value

    def messages(self) -> Iterator[dict]:
        """What JSON-RPC messages it carries, as one body or as events."""
        if not self.streams:
            yield from self.json if isinstance(self.json, list) else [self.json]
            return
        for event in self.events():
            if event.get("data"):
                yield json.loads(event["data"])

    def answer(self, ident: object) -> dict:
        """The response to a request; what comes before it stays unread of."""
        for message in self.messages():
            if message.get("id") == ident and "method" not in message:
                return message
        raise AssertionError(f"the reply (status {self.status}) ended without an answer to {ident!r}")

    def close(self) -> None:
        """Leaves, as a client does that has lost its interest or its network."""
        if self.connection.sock:
            self.connection.sock.close()
        self.connection.close()
        self.response.close()


class Door:
    def __init__(self, port: int, path: str = "/mcp") -> None:
        self.port, self.path = port, path
        self.ids = itertools.count(1)

    def request(self, method: str, headers: Headers, body: bytes | None = None, path: str | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S_MAX)
        connection.putrequest(method, path or self.path, skip_host=True, skip_accept_encoding=True)
        usual: Headers = {"Host": f"127.0.0.1:{self.port}"}
        if body is not None:
            usual["Content-Length"] = str(len(body))
        for name, value in {**usual, **headers}.items():
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    connection.putheader(name, one)
        connection.endheaders(body)
        return Reply(connection, connection.getresponse())

    def post(self, message: object, **headers: str | list[str] | None) -> Reply:
        """POSTs one message (or bytes as they are). `mcp_method="x"` sets Mcp-Method; None leaves one out."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        usual: Headers = {"Content-Type": "application/json", "Accept": BOTH}
        return self.request("POST", {**usual, **spelled(headers)}, body)

    def modern(self, method: str, params: dict | None = None, able: dict | None = None, meta: dict | None = None,
               ident: object = None, **headers: str | list[str] | None) -> Reply:
        """A good modern request, but for what is changed."""
        params = dict(params or {})
        params["_meta"] = {VERSION_KEY: MODERN, ABLE_KEY: able or {}, SELF_KEY: SELF, **(meta or {})}
        params["_meta"] = {key: value for key, value in params["_meta"].items() if value is not None}
        usual: Headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if method in NAMED and isinstance(params.get(NAMED[method]), str):
            usual["Mcp-Name"] = params[NAMED[method]]
        message = {"jsonrpc": "2.0", "id": next(self.ids) if ident is None else ident, "method": method,
                   "params": params}
        merged = {**{key.lower(): value for key, value in usual.items()},
                  **{key.lower(): value for key, value in spelled(headers).items()}}
        return self.post(message, **{key.replace("-", "_"): value for key, value in merged.items()})


def spelled(headers: dict) -> Headers:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


class Session:
    """A legacy conversation: initialize and what follows it."""

    def __init__(self, door: Door, version: str = LEGACY, able: dict | None = None) -> None:
        self.door, self.version = door, version
        params = {"protocolVersion": version, "capabilities": able or {}, "clientInfo": SELF}
        reply = door.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        assert reply.status == 200, f"initialize: {reply.status} {reply.body[:200]!r}"
        self.greeting = reply.answer(0)["result"]
        self.id = reply.header("mcp-session-id")
        assert self.id, "initialize came without Mcp-Session-Id"
        done = self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert done.status == 202, f"initialized: {done.status} {done.body[:200]!r}"

    @property
    def headers(self) -> dict[str, str]:
        versioned = {} if self.version in ("2024-11-05", "2025-03-26") else {"mcp_protocol_version": self.version}
        return {"mcp_session_id": self.id, **versioned}

    def post(self, message: object, **headers: str | list[str] | None) -> Reply:
        return self.door.post(message, **{**self.headers, **headers})

    def begin(self, method: str, params: dict | None = None, **headers: str | None) -> tuple[int, Reply]:
        ident = next(self.door.ids)
        message = {"jsonrpc": "2.0", "id": ident, "method": method, **({} if params is None else {"params": params})}
        return ident, self.post(message, **headers)

    def ask(self, method: str, params: dict | None = None) -> dict:
        ident, reply = self.begin(method, params)
        assert reply.status == 200, f"{method}: {reply.status} {reply.body[:200]!r}"
        return reply.answer(ident)

    def call(self, tool: str, arguments: dict | None = None, **meta: object) -> tuple[int, Reply]:
        params = {"name": tool, "arguments": arguments or {}, **({"_meta": meta} if meta else {})}
        return self.begin("tools/call", params)

    def get(self, **headers: str | None) -> Reply:
        return self.door.request("GET", {"Accept": "text/event-stream", **spelled({**self.headers, **headers})})

    def delete(self) -> Reply:
        return self.door.request("DELETE", spelled(self.headers))


def error(reply: Reply, status: int, *codes: int) -> dict:
    """Wants an HTTP status and a JSON-RPC error in the body; returns the message."""
    said = reply.body[:300]
    assert reply.status == status, f"status {reply.status}, wanted {status}: {said!r}"
    message = json.loads(said) if len(said) < 300 else reply.json
    assert isinstance(message, dict) and "error" in message, f"no error but {said!r}"
    assert not codes or message["error"]["code"] in codes, f"{message['error']}, wanted {codes}"
    assert message["error"]["message"], "an error without words"
    return message


def text_of(answer: dict) -> str:
    assert "result" in answer and not answer["result"].get("isError"), answer
    return "".join(part.get("text", "") for part in answer["result"]["content"])
