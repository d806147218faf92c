"""An official SDK's client over HTTPS, as its users write it: `secure.py URL`. Whom to believe says SSL_CERT_FILE."""

import asyncio
import sys

URL = sys.argv[1]


async def by_1_30() -> str:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with streamable_http_client(URL) as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        return (await session.call_tool("add", {"a": 2, "b": 3})).content[0].text


async def by_2_3() -> str:
    from mcp.client import Client

    async with Client(URL) as client:
        return (await client.call_tool("add", {"a": 2, "b": 3})).content[0].text


try:
    from mcp.client import Client as _Client  # noqa: F401
except ImportError:
    print(asyncio.run(by_1_30()))
else:
    print(asyncio.run(by_2_3()))
