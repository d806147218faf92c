"""A stock client of the official SDK: it makes the calls that it is told, one after the other.

    agent.py http URL | stdio COMMAND [ARGUMENT...]     calls come as one JSON line on stdin: [[TOOL, ARGUMENTS], ...]

Answers are one JSON line: what each call gave, a result or {"error": ...}.
"""

import asyncio
import contextlib
import json
import os
import sys

from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


async def main(way: str, where: list[str]) -> None:
    calls = json.loads(sys.stdin.readline())
    async with contextlib.AsyncExitStack() as stack:
        if way == "http":
            streams = await stack.enter_async_context(streamable_http_client(where[0]))
        else:
            server = StdioServerParameters(command=where[0], args=where[1:], env=dict(os.environ))
            streams = await stack.enter_async_context(stdio_client(server, errlog=sys.stderr))
        session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
        await session.initialize()
        answers = [[tool.name for tool in (await session.list_tools()).tools]]
        for tool, arguments in calls:
            try:
                result = await session.call_tool(tool, arguments)
                answers.append(result.model_dump(by_alias=True, mode="json", exclude_none=True))
            except McpError as error:
                answers.append({"error": error.error.model_dump(exclude_none=True)})
    print(json.dumps(answers))


asyncio.run(main(sys.argv[1], sys.argv[2:]))
