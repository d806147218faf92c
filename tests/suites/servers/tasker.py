"""A server of the extension `io.modelcontextprotocol/tasks` (2026-07-28), with what the conformance suite expects of one.

    tasker.py                  over stdio
    tasker.py --http PORT      Streamable HTTP at /mcp (port 0: any; the address is printed)

No published server speaks the extension, so this one is made of the official Python SDK's primitives: the SDK has the
transports, the eras and the shapes of results that extensions bring; the life of a task is here.
"""

import argparse
import asyncio
import dataclasses
import datetime
import logging
import uuid
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp import MCPError, types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server

from eras import PINS
from everything import over_http, over_stdio

warnings.filterwarnings("ignore", module=r"mcp|__main__|everything")

EXTENSION = "io.modelcontextprotocol/tasks"
MISSING_CAPABILITY = -32021
TTL_MS = 600_000
POLL_MS = 200


class TaskParams(types.RequestParams):
    task_id: str
    input_responses: dict[str, Any] | None = None


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")


@dataclasses.dataclass
class Task:
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "working"
    created: str = dataclasses.field(default_factory=now)
    updated: str = dataclasses.field(default_factory=now)
    outcome: dict[str, Any] = dataclasses.field(default_factory=dict)
    asks: dict[str, tuple[dict, asyncio.Future]] = dataclasses.field(default_factory=dict)
    asked: int = 0
    work: asyncio.Task | None = None

    def shown(self, kind: str) -> dict[str, Any]:
        return {"resultType": kind, "taskId": self.id, "status": self.status, "createdAt": self.created,
                "lastUpdatedAt": self.updated, "ttlMs": TTL_MS, "pollIntervalMs": POLL_MS}

    def detailed(self) -> dict[str, Any]:
        asks = {"inputRequests": {key: ask for key, (ask, _) in self.asks.items()}} if self.asks else {}
        return {**self.shown("complete"), **self.outcome, **asks}

    def turn(self, status: str, **outcome: Any) -> None:
        if self.status in ("completed", "failed", "cancelled"):
            return
        self.status, self.outcome, self.updated = status, outcome, now()

    async def ask(self, message: str, field: str, kind: str) -> Any:
        """The client's answer to one form, whenever it comes."""
        self.asked += 1
        key = f"{field}-{self.asked}"
        schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
        question = {"method": "elicitation/create",
                    "params": {"mode": "form", "message": message, "requestedSchema": schema}}
        answer: asyncio.Future = asyncio.get_running_loop().create_future()
        self.asks[key] = question, answer
        self.turn("input_required")
        given = await answer
        if not self.asks:
            self.turn("working")
        return (given.get("content") or {}).get(field)


TASKS: dict[str, Task] = {}
Run = Callable[[Task | None, dict[str, Any]], Awaitable[str]]


class ToolError(Exception):
    pass


async def greet(_task: Task | None, args: dict[str, Any]) -> str:
    return f"Hello, {args.get('name', 'you')}!"


async def slow_compute(_task: Task | None, args: dict[str, Any]) -> str:
    await asyncio.sleep(float(args.get("seconds", 1)))
    return f"computed {args.get('label', 'it')}"


async def failing_job(_task: Task | None, _args: dict[str, Any]) -> str:
    await asyncio.sleep(1)
    raise ToolError("the job failed")


async def protocol_error_job(_task: Task | None, _args: dict[str, Any]) -> str:
    await asyncio.sleep(0.2)
    raise MCPError(types.INTERNAL_ERROR, "the job broke")


async def confirm_delete(task: Task | None, args: dict[str, Any]) -> str:
    confirmed = task is not None and await task.ask(f"Delete {args.get('filename')}?", "confirm", "boolean")
    return f"{'deleted' if confirmed else 'kept'} {args.get('filename')}"


async def multi_input(task: Task | None, _args: dict[str, Any]) -> str:
    if task is None:
        return "asked nobody"
    answers = await asyncio.gather(task.ask("Who?", "name", "string"), task.ask("Sure?", "confirm", "boolean"))
    return f"answers: {answers}"


async def named(_task: Task | None, args: dict[str, Any]) -> str:
    return f"Hello, {args['user_name']}!"


@dataclasses.dataclass
class Tool:
    run: Run
    properties: dict[str, str]
    support: str | None = "optional"


TOOLS = {
    "greet": Tool(greet, {"name": "string"}, None),
    "slow_compute": Tool(slow_compute, {"seconds": "number", "label": "string"}),
    "failing_job": Tool(failing_job, {}, "required"),
    "protocol_error_job": Tool(protocol_error_job, {}),
    "confirm_delete": Tool(confirm_delete, {"filename": "string"}),
    "multi_input": Tool(multi_input, {}),
    "test_tool_with_task": Tool(named, {}, "required"),
}


def takes_tasks(ctx: ServerRequestContext) -> bool:
    declared = ctx.session.client_capabilities
    return EXTENSION in ((declared and declared.extensions) or {})


def need_tasks(ctx: ServerRequestContext) -> None:
    if not takes_tasks(ctx):
        raise MCPError(MISSING_CAPABILITY, "the client did not declare the extension of tasks",
                       {"requiredCapabilities": {"extensions": {EXTENSION: {}}}})


def text_result(text: str, is_error: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": is_error}


async def work(tool: Tool, task: Task, args: dict[str, Any]) -> None:
    try:
        task.turn("completed", result=text_result(await tool.run(task, args)))
    except ToolError as error:
        task.turn("completed", result=text_result(str(error), True))
    except MCPError as error:
        task.turn("failed", error={"code": error.error.code, "message": error.error.message})
    except asyncio.CancelledError:
        task.turn("cancelled")
    finally:
        task.asks.clear()


async def list_tools(_ctx: ServerRequestContext, _params: object) -> types.ListToolsResult:
    def schema(tool: Tool) -> dict[str, Any]:
        return {"type": "object", "properties": {name: {"type": kind} for name, kind in tool.properties.items()}}

    return types.ListToolsResult(tools=[
        types.Tool(name=name, input_schema=schema(tool)) for name, tool in TOOLS.items()])


async def call_tool(ctx: ServerRequestContext, params: types.CallToolRequestParams) -> Any:
    tool = TOOLS.get(params.name)
    if tool is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
    args = dict(params.arguments or {})
    if tool.support == "required":
        need_tasks(ctx)
    if params.name == "test_tool_with_task":
        given = (params.input_responses or {}).get("user_name")
        if given is None:
            asks = {"user_name": types.ElicitRequest(params=types.ElicitRequestFormParams(
                message="Who are you?",
                requested_schema={"type": "object", "properties": {"name": {"type": "string"}}}))}
            return types.InputRequiredResult(input_requests=asks)
        content = given.get("content") if isinstance(given, dict) else given.content
        args["user_name"] = (content or {}).get("name", "nobody")
    if tool.support is None or not takes_tasks(ctx):
        try:
            return types.CallToolResult(content=[types.TextContent(type="text", text=await tool.run(None, args))])
        except ToolError as error:
            return types.CallToolResult(content=[types.TextContent(type="text", text=str(error))], is_error=True)
    task = Task()
    TASKS[task.id] = task
    task.work = asyncio.get_running_loop().create_task(work(tool, task, args))
    return task.shown("task")


def found(ctx: ServerRequestContext, params: TaskParams) -> Task:
    need_tasks(ctx)
    if params.task_id not in TASKS:
        raise MCPError(types.INVALID_PARAMS, "there is no such task")
    return TASKS[params.task_id]


async def get_task(ctx: ServerRequestContext, params: TaskParams) -> dict[str, Any]:
    return found(ctx, params).detailed()


async def update_task(ctx: ServerRequestContext, params: TaskParams) -> dict[str, Any]:
    task = found(ctx, params)
    for key, answer in (params.input_responses or {}).items():
        if key in task.asks:
            task.asks.pop(key)[1].set_result(answer)
    return {"resultType": "complete"}


async def cancel_task(ctx: ServerRequestContext, params: TaskParams) -> dict[str, Any]:
    task = found(ctx, params)
    if task.work is not None:
        task.work.cancel()
    return {"resultType": "complete"}


def built() -> Server:
    server = Server("tasker", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    server.extensions[EXTENSION] = {}
    for method, handler in (("tasks/get", get_task), ("tasks/update", update_task), ("tasks/cancel", cancel_task)):
        server.add_request_handler(method, TaskParams, handler)
    middleware, _ = PINS["modern"]
    server.middleware.extend(middleware)
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--http", type=int, metavar="PORT", help="Streamable HTTP instead of stdio")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    server = built()
    if options.http is not None:
        _, layer = PINS["modern"]
        anyio.run(over_http, layer(server.streamable_http_app()), options.http, "/mcp")
    else:
        anyio.run(over_stdio, server, "modern")


if __name__ == "__main__":
    main()
