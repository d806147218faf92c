"""Tasks of the extension of 2026-07-28 by the Python SDK mcp 2.3, at upstreams of both eras: `tasks_2_3.py WHERE…`.

The SDK has a place for such an extension and none of its own: what a client of it does with a task is here.
"""

import sys
from typing import Any, Literal

import anyio
from mcp import MCPError, StdioServerParameters, types
from mcp.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.stdio import stdio_client
from pydantic import ConfigDict

MODERN = "2026-07-28"
EXTENSION = "io.modelcontextprotocol/tasks"
RESEARCH = "everything__simulate-research-query"
asked: list[str] = []
made: list[str] = []
seen: list[str] = []


class Open(types.Result):
    model_config = ConfigDict(extra="allow", populate_by_name=True, alias_generator=None)


class Made(types.Result):
    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class TaskParams(types.RequestParams):
    task_id: str
    input_responses: dict[str, Any] | None = None


class TaskRequest(types.Request[TaskParams, str]):
    method: str
    params: TaskParams
    # What the SDK says in the header Mcp-Name.
    name_param = "taskId"


async def about(session, method: str, task_id: str, **more: Any) -> dict[str, Any]:
    request = TaskRequest(method=method, params=TaskParams(task_id=task_id, **more))
    return (await session.send_request(request, Open)).model_dump(by_alias=True)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    asked.append(question["params"]["message"])
    fields = question["params"]["requestedSchema"]["properties"]
    content = {name: {"interpretation": "historical", "name": "Ann"}.get(name, True) for name in fields}
    return {"action": "accept", "content": content}


async def follow(task: Made, ctx: ClaimContext) -> types.CallToolResult:
    """Looks at a task until it has ended, and answers what it asks."""
    made.append(task.task_id)
    answered: set[str] = set()
    while True:
        state = await about(ctx.session, "tasks/get", task.task_id)
        seen.append(state["status"])
        assert state["taskId"] == task.task_id and state["resultType"] == "complete", state
        if state["status"] == "completed":
            return types.CallToolResult.model_validate(state["result"])
        if state["status"] == "failed":
            raise MCPError(state["error"]["code"], state["error"]["message"])
        assert state["status"] in ("working", "input_required"), state
        new = {key: answer(question) for key, question in state.get("inputRequests", {}).items() if key not in answered}
        if new:
            answered |= set(new)
            await about(ctx.session, "tasks/update", task.task_id, input_responses=new)
        await anyio.sleep(state.get("pollIntervalMs", 200) / 1000)


class Tasks(ClientExtension):
    identifier = EXTENSION

    def claims(self):
        return [ResultClaim(result_type="task", model=Made, resolve=follow)]


def words(result: types.CallToolResult) -> str:
    return "\n".join(part.text for part in result.content)


async def refused(attempt) -> int:
    try:
        result = await attempt
    except MCPError as error:
        return error.error.code
    raise AssertionError(f"expected an error, got {result}")


async def with_tasks(client: Client) -> None:
    assert EXTENSION in (await client.session.send_discover(MODERN))["capabilities"]["extensions"]
    assert words(await client.call_tool("tasker__slow_compute", {"seconds": 1, "label": "pi"})) == "computed pi"
    assert len(made) == 1 and made[0].startswith("rg1."), made
    assert words(await client.call_tool("tasker__confirm_delete", {"filename": "a.txt"})) == "deleted a.txt"
    assert len(asked) == 1 and "input_required" in seen, (asked, seen)
    assert await refused(client.call_tool("tasker__protocol_error_job", {})) == -32603
    assert words(await client.call_tool("tasker__greet", {"name": "Ann"})) == "Hello, Ann!"
    # A legacy server's task, and its question.
    seen.clear()
    report = words(await client.call_tool(RESEARCH, {"topic": "python", "ambiguous": True}))
    assert "python (historical)" in report, report
    assert len(asked) == 2 and "input_required" in seen, (asked, seen)
    for task_id in made:
        state = await about(client.session, "tasks/get", task_id)
        assert state["status"] in ("completed", "failed"), state
        assert "related-task" not in str(state), state
        assert await about(client.session, "tasks/cancel", task_id) is not None
    assert await refused(about(client.session, "tasks/get", made[0] + "00")) == -32602


async def without(client: Client) -> None:
    """A client that takes no tasks: a legacy server's is waited for, a modern server says what it wants."""
    assert "Research Report: rust" in words(await client.call_tool(RESEARCH, {"topic": "rust"}))
    assert await refused(client.call_tool("tasker__failing_job", {})) == -32021
    assert await refused(about(client.session, "tasks/get", made[0])) == -32021


async def elicit(_context, params):
    return types.ElicitResult.model_validate(answer({"params": params.model_dump(by_alias=True)}))


async def main(where: list[str]) -> None:
    def there():
        return where[0] if len(where) == 1 else stdio_client(StdioServerParameters(command=where[0], args=where[1:]))

    with anyio.fail_after(100):
        async with Client(there(), mode=MODERN, elicitation_callback=elicit, extensions=[Tasks()]) as client:
            await with_tasks(client)
        async with Client(there(), mode=MODERN) as client:
            await without(client)


anyio.run(main, sys.argv[1:])
