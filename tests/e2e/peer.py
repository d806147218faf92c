"""A client as a scenario sees it, whichever SDK and era is behind it.

Results are plain JSON objects in the wire's own spelling. `clients/` holds one adapter an SDK.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio

Json = dict[str, Any]
HEAR_S_MAX = 20.0
# Where a server is: a command that speaks over stdio, or a URL.
Where = list[str] | str


class Refused(Exception):
    """A JSON-RPC error, from the server or from the client's own refusal."""

    def __init__(self, code: int, message: str, data: Any) -> None:
        super().__init__(f"{code} {message}")
        self.code, self.message, self.data = code, message, data


@dataclasses.dataclass
class Answers:
    """What the client answers when it is asked. A refusal is `Refused`."""

    elicit: Callable[[Json], Json | Refused]
    sample: Callable[[Json], Json | Refused]
    roots: list[Json]


class Peer:
    """One connected client. Adapters fill in everything that raises NotImplementedError."""

    era: str  # "legacy" or "modern", as negotiated

    def __init__(self, answers: Answers | None) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Json]] = []
        self.heard: list[tuple[str, Json]] = []
        self.faults: list[Exception] = []
        self._news = anyio.Event()

    def fault(self, error: Exception) -> None:
        """An adapter's SDK met a line that is no message, or one that it cannot place."""
        # A call that this side gave up may still be answered: the cancellation was on its way.
        if "unknown request ID" not in str(error):
            self.faults.append(error)

    def note(self, method: str, params: Json) -> None:
        """An adapter reports a notification."""
        self.heard.append((method, params))
        self._news.set()
        self._news = anyio.Event()

    async def hears(self, method: str, where: Callable[[Json], bool] = lambda _: True, since: int = 0) -> Json:
        """Waits for a notification and returns its params."""
        with anyio.fail_after(HEAR_S_MAX):
            while True:
                for name, params in self.heard[since:]:
                    if name == method and where(params):
                        return params
                await self._news.wait()

    # What an adapter provides.

    async def hello(self) -> Json:
        """What the server said of itself: `capabilities`, `instructions`, `serverInfo`."""
        raise NotImplementedError

    async def page(self, what: str, cursor: str | None) -> Json:
        """One page of `tools`, `prompts`, `resources` or `resourceTemplates`."""
        raise NotImplementedError

    async def call(self, name: str, arguments: Json, progress: list | None = None, log: str | None = None) -> Json:
        raise NotImplementedError

    async def abandon(self, name: str, arguments: Json) -> None:
        """Calls a tool and cancels the call at its first progress."""
        raise NotImplementedError

    async def read(self, uri: str) -> Json:
        raise NotImplementedError

    async def prompt(self, name: str, arguments: dict[str, str] | None = None) -> Json:
        raise NotImplementedError

    async def complete(self, ref: Json, name: str, value: str, context: dict[str, str] | None = None) -> list[str]:
        raise NotImplementedError

    async def set_level(self, level: str) -> None:
        """`logging/setLevel`; legacy only."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Legacy only."""
        raise NotImplementedError

    async def roots_changed(self) -> None:
        """Legacy only."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def watching(self, uris: list[str], tools: bool = False, resources: bool = False) -> AsyncIterator["Watch"]:
        """Subscribes; the era decides how."""
        raise NotImplementedError
        yield

    # What is the same for all.

    async def all(self, what: str) -> list[Json]:
        """Every page of a list."""
        items, cursor = [], None
        while True:
            page = await self.page(what, cursor)
            items += page[what]
            cursor = page.get("nextCursor")
            if cursor is None:
                return items

    def answer(self, method: str, params: Json) -> Json | Refused:
        """An adapter was asked something."""
        assert self.answers is not None, "a client without callbacks was asked"
        self.asked.append((method, params))
        if method == "elicitation/create":
            return self.answers.elicit(params)
        if method == "sampling/createMessage":
            return self.answers.sample(params)
        return {"roots": self.answers.roots}


class Watch:
    """News of a subscription, as (kind, uri): `updated`, `tools` or `resources`."""

    async def next(self) -> tuple[str, str | None]:
        raise NotImplementedError
