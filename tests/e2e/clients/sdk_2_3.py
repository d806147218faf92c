"""The Python SDK mcp 2.3: `Client` over stdio, Streamable HTTP and SSE, in its legacy, auto and modern modes."""

import contextlib
import pathlib
import warnings
from collections.abc import AsyncIterator

import anyio
from mcp import MCPError, StdioServerParameters, types
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated, Subscription, ToolsListChanged
from pydantic import BaseModel

from clients.heard import Heard
from peer import HEAR_S_MAX, Answers, Json, Peer, Refused, Watch, Where

# The legacy half of the SDK says of itself that it is deprecated; that is what we test.
warnings.filterwarnings("ignore", module=r"mcp|clients")

MODES = {"legacy-2.3": "legacy", "auto-2.3": "auto", "modern-2.3": "2026-07-28"}
MODERN = "2026-07-28"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"


def dump(model: BaseModel) -> Json:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def refusal(refused: Refused) -> types.ErrorData:
    return types.ErrorData(code=refused.code, message=refused.message)


@contextlib.contextmanager
def refusals():
    try:
        yield
    except MCPError as error:
        raise Refused(error.error.code, error.error.message, error.error.data) from error


class Sdk23(Peer):
    client: Client

    @property
    def era(self) -> str:
        return "modern" if self.client.protocol_version == MODERN else "legacy"

    async def _elicit(self, _context, params):
        answer = self.answer("elicitation/create", dump(params))
        return refusal(answer) if isinstance(answer, Refused) else types.ElicitResult.model_validate(answer)

    async def _sample(self, _context, params):
        answer = self.answer("sampling/createMessage", dump(params))
        return refusal(answer) if isinstance(answer, Refused) else types.CreateMessageResult.model_validate(answer)

    async def _roots(self, _context):
        return types.ListRootsResult.model_validate(self.answer("roots/list", {}))

    async def _message(self, message) -> None:
        if isinstance(message, Exception):
            self.fault(message)
            return
        plain = dump(message)
        self.note(plain["method"], plain.get("params", {}))

    async def hello(self) -> Json:
        if self.era == "modern":
            with refusals():
                # A pinned client never asked, and would show us an answer that it made up.
                return await self.client.session.send_discover(MODERN)
        return dump(self.client.session.initialize_result)

    async def page(self, what: str, cursor: str | None) -> Json:
        listers = {"tools": self.client.list_tools, "prompts": self.client.list_prompts,
                   "resources": self.client.list_resources,
                   "resourceTemplates": self.client.list_resource_templates}
        with refusals():
            return dump(await listers[what](cursor=cursor))

    async def call(self, name: str, arguments: Json, progress: list | None = None, log: str | None = None) -> Json:
        async def step(done: float, total: float | None, message: str | None) -> None:
            if progress is not None:
                progress.append((done, total, message))

        with refusals():
            return dump(await self.client.call_tool(
                name, arguments, progress_callback=None if progress is None else step,
                meta=None if log is None else {LOG_LEVEL: log}))

    async def abandon(self, name: str, arguments: Json) -> None:
        started = anyio.Event()

        async def step(*_: object) -> None:
            started.set()

        async with anyio.create_task_group() as group:
            async def run() -> None:
                await self.client.call_tool(name, arguments, progress_callback=step)

            group.start_soon(run)
            with anyio.fail_after(HEAR_S_MAX):
                await started.wait()
            group.cancel_scope.cancel()

    async def read(self, uri: str) -> Json:
        with refusals():
            return dump(await self.client.read_resource(uri))

    async def prompt(self, name: str, arguments: dict[str, str] | None = None) -> Json:
        with refusals():
            return dump(await self.client.get_prompt(name, arguments))

    async def complete(self, ref: Json, name: str, value: str, context: dict[str, str] | None = None) -> list[str]:
        kind = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
        with refusals():
            result = await self.client.complete(
                kind.model_validate(ref), {"name": name, "value": value}, context)
        return result.completion.values

    async def set_level(self, level: str) -> None:
        with refusals():
            await self.client.set_logging_level(level)

    async def ping(self) -> None:
        await self.client.send_ping()

    async def roots_changed(self) -> None:
        await self.client.send_roots_list_changed()

    @contextlib.asynccontextmanager
    async def watching(self, uris: list[str], tools: bool = False, resources: bool = False) -> AsyncIterator[Watch]:
        if self.era == "modern":
            with refusals():
                async with self.client.listen(resource_subscriptions=uris, tools_list_changed=tools,
                                              resources_list_changed=resources) as subscription:
                    yield Listening(subscription)
            return
        watch = Heard(self, tools, resources)
        for uri in uris:
            with refusals():
                await self.client.subscribe_resource(uri)
        yield watch
        for uri in uris:
            with refusals():
                await self.client.unsubscribe_resource(uri)


class Listening(Watch):
    """Modern news come on the listen stream, which the SDK finds by the subscription's id."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription

    async def next(self) -> tuple[str, str | None]:
        with anyio.fail_after(HEAR_S_MAX):
            event = await anext(self.subscription)
        if isinstance(event, ResourceUpdated):
            return "updated", str(event.uri)
        kinds = {ToolsListChanged: "tools", ResourcesListChanged: "resources"}
        return kinds[type(event)], None


@contextlib.asynccontextmanager
async def connect(kind: str, where: Where, answers: Answers | None, log: pathlib.Path) -> AsyncIterator[Peer]:
    peer = Sdk23(answers)
    able = {} if answers is None else {
        "sampling_callback": peer._sample, "elicitation_callback": peer._elicit, "list_roots_callback": peer._roots}
    with log.open("a") as errors:
        if not isinstance(where, str):
            there = stdio_client(StdioServerParameters(command=where[0], args=where[1:]), errlog=errors)
        else:
            # A URL alone is Streamable HTTP to this SDK.
            there = sse_client(where) if where.endswith("/sse") else where
        mode = next(mode for name, mode in MODES.items() if kind.startswith(name))
        async with Client(there, mode=mode, message_handler=peer._message, **able) as client:
            peer.client = client
            yield peer
