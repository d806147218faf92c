"""What a scenario holds: views of the upstreams, behind the gateway or (as the control) without it.

In gateway mode all views share one client of the gateway, and names carry their upstream's prefix. In direct mode each view is its own client of the upstream's process and names are bare. So
a scenario is written once, and running it directly proves that what it expects is the truth about
the upstream rather than about the gateway.
"""

import contextlib
import dataclasses
import importlib
import pathlib
import uuid
from collections.abc import AsyncIterator

from peer import Answers, Json, Peer, Refused, Watch, Where

UPSTREAMS = ["everything", "filesystem", "time", "git", "asker"]
SAMPLED = {"role": "assistant", "content": {"type": "text", "text": "sampled words"},
           "model": "e2e-model", "stopReason": "endTurn"}


@dataclasses.dataclass
class Setting:
    """Where a worker finds things; comes from the runner."""

    kind: str
    binary: str | None
    port: int | None
    http_port: int | None
    upstreams: dict[str, dict]
    files: pathlib.Path
    repo: pathlib.Path
    taps: pathlib.Path
    log: pathlib.Path

    @property
    def direct(self) -> bool:
        return self.port is None

    def where(self, name: str) -> Where:
        """Where this kind of client finds an upstream (directly) or the gateway."""
        if self.direct:
            entry = self.upstreams[name]
            return entry["url"] if "url" in entry else [entry["command"], *entry["args"]]
        over = transport(self.kind)
        if over == "stdio":
            return [self.binary, "connect", f"tcp://127.0.0.1:{self.port}"]
        scheme, path = {"http": ("http", "mcp"), "sse": ("http", "sse"), "ws": ("ws", "ws")}[over]
        return f"{scheme}://127.0.0.1:{self.http_port}/{path}"


def transport(kind: str) -> str:
    """A kind is an SDK in a mode, and what it travels on: `modern-2.3-http`; stdio if nothing is said."""
    return next((over for over in ("http", "sse", "ws") if kind.endswith(f"-{over}")), "stdio")


def accepting(params: Json) -> Json | Refused:
    """An elicitation's usual answer: accept, with what the two asking servers ask for."""
    if params.get("mode") == "url":
        return {"action": "accept"}
    wanted = params["requestedSchema"]["properties"]
    known = {"name": "Ann", "colour": "red", "integer": 7}
    return {"action": "accept", "content": {key: known[key] for key in known if key in wanted}}


class View:
    """One upstream, as one client sees it."""

    def __init__(self, name: str, peer: Peer, direct: bool) -> None:
        self.name, self.peer = name, peer
        self.prefix = "" if direct else f"{name}__"
        self.scheme = "" if direct else f"{name}+"

    def uri(self, uri: str) -> str:
        return self.scheme + uri

    async def items(self, what: str) -> list[Json]:
        """This upstream's share of a list, with bare names and URIs."""
        key = {"resources": "uri", "resourceTemplates": "uriTemplate"}.get(what, "name")
        prefix = self.scheme if key.startswith("uri") else self.prefix
        return [{**item, key: item[key].removeprefix(prefix)}
                for item in await self.peer.all(what) if item[key].startswith(prefix)]

    async def call(self, tool: str, arguments: Json | None = None, **how: object) -> Json:
        return await self.peer.call(self.prefix + tool, arguments or {}, **how)

    async def text(self, tool: str, arguments: Json | None = None, **how: object) -> str:
        """Calls, wants success, and returns the text of all its content."""
        result = await self.call(tool, arguments, **how)
        words = "\n".join(part.get("text", "") for part in result["content"])
        assert not result.get("isError"), f"{tool} failed: {words}"
        return words

    async def abandon(self, tool: str, arguments: Json) -> None:
        await self.peer.abandon(self.prefix + tool, arguments)

    async def read(self, uri: str) -> Json:
        return await self.peer.read(self.uri(uri))

    async def prompt(self, name: str, arguments: dict[str, str] | None = None) -> Json:
        return await self.peer.prompt(self.prefix + name, arguments)

    async def complete_prompt(self, name: str, *rest: object) -> list[str]:
        return await self.peer.complete({"type": "ref/prompt", "name": self.prefix + name}, *rest)

    async def complete_uri(self, template: str, *rest: object) -> list[str]:
        return await self.peer.complete({"type": "ref/resource", "uri": self.uri(template)}, *rest)

    def watching(self, *uris: str, **kinds: bool) -> contextlib.AbstractAsyncContextManager[Watch]:
        return self.peer.watching([self.uri(uri) for uri in uris], **kinds)


class World:
    """One client (or, directly, one client an upstream) and what it answers."""

    def __init__(self, setting: Setting, answers: Answers | None) -> None:
        self.setting, self.answers = setting, answers
        self.unique = uuid.uuid4().hex[:8]
        self._stack = contextlib.AsyncExitStack()
        self.peers: dict[str, Peer] = {}

    async def __aenter__(self) -> "World":
        await self._stack.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> bool | None:
        return await self._stack.__aexit__(*failure)

    async def peer(self, name: str = "gateway") -> Peer:
        name = name if self.setting.direct else "gateway"
        if name not in self.peers:
            sdk = "clients.sdk_1_30" if "1.30" in self.setting.kind else "clients.sdk_2_3"
            connect = importlib.import_module(sdk).connect
            self.peers[name] = await self._stack.enter_async_context(
                connect(self.setting.kind, self.setting.where(name), self.answers, self.setting.log))
        return self.peers[name]

    async def up(self, name: str) -> View:
        return View(name, await self.peer(name), self.setting.direct)

    def another(self, answers: Answers | None) -> "World":
        """A second client beside this one."""
        return World(self.setting, answers)


def answers(setting: Setting, **changed: object) -> Answers:
    """The usual answers of a client that can do everything."""
    usual: dict = {"elicit": accepting, "sample": lambda _: SAMPLED,
                   # server-filesystem serves the client's roots in place of its own folder, so ours is the same.
                   "roots": [{"uri": setting.files.as_uri(), "name": "e2e root"}]}
    return Answers(**{**usual, **changed})


@contextlib.asynccontextmanager
async def opened(setting: Setting) -> AsyncIterator[World]:
    async with World(setting, answers(setting)) as world:
        yield world
