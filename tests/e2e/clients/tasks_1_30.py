"""Tasks of 2025-11-25 by the Python SDK mcp 1.30, at upstreams of both eras: `tasks_1_30.py WHERE…`."""

import sys

import anyio
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

RESEARCH = "everything__simulate-research-query"
RELATED = "io.modelcontextprotocol/related-task"
asked: list[str] = []


async def elicit(_context, params):
    asked.append(params.message)
    fields = params.requestedSchema["properties"]
    content = {name: "historical" if name == "interpretation" else True for name in fields}
    return types.ElicitResult(action="accept", content=content)


def words(result: types.CallToolResult) -> str:
    return "\n".join(part.text for part in result.content)


async def refused(attempt) -> int:
    try:
        result = await attempt
    except McpError as error:
        return error.error.code
    raise AssertionError(f"expected an error, got {result}")


async def run(session: ClientSession) -> None:
    hello = await session.initialize()
    assert hello.capabilities.tasks.requests.tools.call is not None, hello.capabilities
    tasks = session.experimental

    # A task of a legacy server, which asks while its result is waited for.
    task = (await tasks.call_tool_as_task(RESEARCH, {"topic": "python", "ambiguous": True})).task
    assert task.status == "working" and task.taskId.startswith("rg1."), task
    result = await tasks.get_task_result(task.taskId, types.CallToolResult)
    assert "python (historical)" in words(result) and len(asked) == 1, (words(result), asked)
    assert result.meta[RELATED]["taskId"] == task.taskId, result.meta
    state = await tasks.get_task(task.taskId)
    assert (state.taskId, state.status) == (task.taskId, "completed"), state

    # The same by a call that wants no task.
    result = await session.call_tool(RESEARCH, {"topic": "rust"})
    assert "Research Report: rust" in words(result), words(result)

    # A task of a modern server, which asks too.
    other = (await tasks.call_tool_as_task("tasker__confirm_delete", {"filename": "a.txt"})).task
    result = await tasks.get_task_result(other.taskId, types.CallToolResult)
    assert words(result) == "deleted a.txt" and len(asked) == 2, (words(result), asked)
    slow = (await tasks.call_tool_as_task("tasker__slow_compute", {"seconds": 1, "label": "pi"})).task
    states = [state.status async for state in tasks.poll_task(slow.taskId)]
    assert states[-1] == "completed", states
    assert words(await tasks.get_task_result(slow.taskId, types.CallToolResult)) == "computed pi"

    # What it answers at once, and what it does as a task only.
    done = (await tasks.call_tool_as_task("tasker__greet", {"name": "Ann"})).task
    assert done.status == "completed", done
    assert words(await tasks.get_task_result(done.taskId, types.CallToolResult)) == "Hello, Ann!"
    failed = await session.call_tool("tasker__failing_job", {})
    assert failed.isError and words(failed) == "the job failed", failed
    broken = (await tasks.call_tool_as_task("tasker__protocol_error_job", {})).task
    assert await refused(tasks.get_task_result(broken.taskId, types.CallToolResult)) == -32603

    # All of them are listed; what is cancelled says so; what nobody began is unknown.
    listed = {one.taskId for one in (await tasks.list_tasks()).tasks}
    assert {task.taskId, other.taskId, slow.taskId, done.taskId} <= listed, listed
    for name, args in ((RESEARCH, {"topic": "c"}), ("tasker__slow_compute", {"seconds": 60})):
        long = (await tasks.call_tool_as_task(name, args)).task
        assert (await tasks.cancel_task(long.taskId)).status == "cancelled"
        assert (await tasks.get_task(long.taskId)).status == "cancelled"
        assert await refused(tasks.cancel_task(long.taskId)) == -32602
    assert await refused(tasks.get_task(task.taskId[:-1] + ("0" if task.taskId[-1] != "0" else "1"))) == -32602


async def main(where: list[str]) -> None:
    there = streamable_http_client(where[0]) if len(where) == 1 else stdio_client(
        StdioServerParameters(command=where[0], args=where[1:]))
    with anyio.fail_after(100):
        async with there as (reads, writes, *_), ClientSession(reads, writes, elicitation_callback=elicit) as session:
            await run(session)


anyio.run(main, sys.argv[1:])
