"""A client of the official SDK that is told a server's URL and an authorization server's secret, and finds out
the rest by itself: the challenge, the documents, the token. Runs under the SDK's own Python.

    authorized.py URL ISSUER CLIENT SECRET TOOL ARGUMENTS
"""

import asyncio
import json
import sys

import httpx2
from mcp import ClientSession
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client


class Storage:
    """Keeps what the provider gives it for this one run."""

    def __init__(self) -> None:
        self.tokens = self.client = None

    async def get_tokens(self) -> object:
        return self.tokens

    async def set_tokens(self, tokens: object) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> object:
        return self.client

    async def set_client_info(self, client: object) -> None:
        self.client = client


async def main(url: str, issuer: str, client: str, secret: str, tool: str, arguments: str) -> None:
    auth = ClientCredentialsOAuthProvider(url, Storage(), client, secret, issuer=issuer)
    async with (
        httpx2.AsyncClient(auth=auth, follow_redirects=False) as http,
        streamable_http_client(url, http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        result = await session.call_tool(tool, json.loads(arguments))
        print("".join(part.text for part in result.content))


asyncio.run(main(*sys.argv[1:]))
