"""The Python SDK mcp 1.30, legacy only: `ClientSession` over stdio, Streamable HTTP, SSE and WebSocket."""

import contextlib
import pathlib
import warnings
from collections.abc import AsyncIterator
from typing import TextIO

import anyio
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import BaseModel

from clients.heard import Heard
from peer import HEAR_S_MAX, Answers, Json, Peer, Refused, Watch, Where


def dump(model: BaseModel) -> Json:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def refusal(refused: Refused) -> types.ErrorData:
    return types.ErrorData(code=refused.code, message=refused.message)


@contextlib.contextmanager
def refusals():
    try:
        yield
    except McpError as error:
        raise Refused(error.error.code, error.error.message, error.error.data) from error


class Sdk130(Peer):
    era = "legacy"
    session: ClientSession
    greeting: Json

    async def _elicit(self, _context, params):
        answer = self.answer("elicitation/create", dump(params))
        return refusal(answer) if isinstance(answer, Refused) else types.ElicitResult.model_validate(answer)

    async def _sample(self, _context, params):
        answer = self.answer("sampling/createMessage", dump(params))
        return refusal(answer) if isinstance(answer, Refused) else types.CreateMessageResult.model_validate(answer)

    async def _roots(self, _context):
        return types.ListRootsResult.model_validate(self.answer("roots/list", {}))

    async def _message(self, message) -> None:
        if isinstance(message, types.ServerNotification):
            plain = dump(message)
            self.note(plain["method"], plain.get("params", {}))
        elif isinstance(message, Exception):
            self.fault(message)

    async def hello(self) -> Json:
        return self.greeting

    async def page(self, what: str, cursor: str | None) -> Json:
        listers = {"tools": self.session.list_tools, "prompts": self.session.list_prompts,
                   "resources": self.session.list_resources,
                   "resourceTemplates": self.session.list_resource_templates}
        with refusals():
            return dump(await listers[what](params=types.PaginatedRequestParams(cursor=cursor)))

    async def call(self, name: str, arguments: Json, progress: list | None = None, log: str | None = None) -> Json:
        async def step(done: float, total: float | None, message: str | None) -> None:
            if progress is not None:
                progress.append((done, total, message))

        with refusals():
            return dump(await self.session.call_tool(
                name, arguments, progress_callback=None if progress is None else step))

    async def abandon(self, name: str, arguments: Json) -> None:
        started = anyio.Event()
        # This SDK tells the server nothing when its caller gives up, so we send the notification that it
        # should. The id is that of the request that it sends next.
        request_id = self.session._request_id

        async def step(*_: object) -> None:
            started.set()

        async with anyio.create_task_group() as group:
            async def run() -> None:
                await self.session.call_tool(name, arguments, progress_callback=step)

            group.start_soon(run)
            with anyio.fail_after(HEAR_S_MAX):
                await started.wait()
            group.cancel_scope.cancel()
        params = types.CancelledNotificationParams(requestId=request_id, reason="no longer wanted")
        cancelled = types.CancelledNotification(method="notifications/cancelled", params=params)
        await self.session.send_notification(types.ClientNotification(cancelled))

    async def read(self, uri: str) -> Json:
        with refusals():
            return dump(await self.session.read_resource(uri))

    async def prompt(self, name: str, arguments: dict[str, str] | None = None) -> Json:
        with refusals():
            return dump(await self.session.get_prompt(name, arguments))

    async def complete(self, ref: Json, name: str, value: str, context: dict[str, str] | None = None) -> list[str]:
        kind = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
        with refusals():
            result = await self.session.complete(
                kind.model_validate(ref), {"name": name, "value": value}, context)
        return result.completion.values

    async def set_level(self, level: str) -> None:
        with refusals():
            await self.session.set_logging_level(level)

    async def ping(self) -> None:
        await self.session.send_ping()

    async def roots_changed(self) -> None:
        await self.session.send_roots_list_changed()

    @contextlib.asynccontextmanager
    async def watching(self, uris: list[str], tools: bool = False, resources: bool = False) -> AsyncIterator[Watch]:
        watch = Heard(self, tools, resources)
        for uri in uris:
            with refusals():
                await self.session.subscribe_resource(uri)
        yield watch
        for uri in uris:
            with refusals():
                await self.session.unsubscribe_resource(uri)


def reached(where: Where, errors: TextIO):
    """The transport that leads there; it yields the two streams, and perhaps more."""
    if not isinstance(where, str):
        return stdio_client(StdioServerParameters(command=where[0], args=where[1:]), errlog=errors)
    if where.startswith("ws"):
        # Deprecated in this SDK and gone from the next, but people use it.
        with warnings.catch_warnings(action="ignore"):
            from mcp.client.websocket import websocket_client

            return websocket_client(where)
    return sse_client(where) if where.endswith("/sse") else streamable_http_client(where)


@contextlib.asynccontextmanager
async def connect(_kind: str, where: Where, answers: Answers | None, log: pathlib.Path) -> AsyncIterator[Peer]:
    peer = Sdk130(answers)
    able = {} if answers is None else {
        "sampling_callback": peer._sample, "elicitation_callback": peer._elicit, "list_roots_callback": peer._roots}
    failure: Exception | None = None
    finished = False
    with log.open("a") as errors:
        try:
            async with reached(where, errors) as (reads, writes, *_):
                async with ClientSession(reads, writes, message_handler=peer._message, **able) as session:
                    peer.session = session
                    peer.greeting = dump(await session.initialize())
                    try:
                        yield peer
                    except Exception as error:
                        # Told below: what the closing raises would hide it.
                        failure = error
                    finished = True
        except* anyio.BrokenResourceError:
            # This SDK's reader stumbles over a line that comes while it is closing. Any server that
            # speaks on its own sends such lines; the scenario is over by then.
            if not finished:
                raise
    if failure:
        raise failure
