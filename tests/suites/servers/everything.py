"""The server that the official conformance suite expects behind a URL: its tools, prompts and resources.

    everything.py                        over stdio
    everything.py --http PORT            Streamable HTTP at /mcp (port 0: any; the address is printed)
    everything.py --sse PORT             HTTP+SSE of 2024-11-05 at /sse
    --era legacy|modern|both             what it admits to speak (default: both)

It speaks through the official Python SDK, so that what stands behind the gateway is not ours. The tools
themselves are in offer.py.
"""

import argparse
import logging
import socket
import warnings

import anyio
import uvicorn
from mcp import MCPError, types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.runner import serve_loop
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import ListenHandler
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route

from eras import PINS
from events import Events
from offer import BUS, PROMPTS, RESOURCES, TEMPLATES, TOOLS, complete, read, watched
from questions import Client, InputRequired

# The SDK says of its legacy half that it is deprecated; that half is what half of the suite tests.
warnings.filterwarnings("ignore", module=r"mcp|__main__")

NAME = "everything"
# Lets the legacy client of a closed stream return at once, as the suite expects of a polling server.
RETRY_MS = 100
LEGACY_NEWS = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)


async def list_tools(_ctx: ServerRequestContext, _params: object) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[tool.shown for tool in TOOLS.values()])


async def call_tool(ctx: ServerRequestContext, params: types.CallToolRequestParams):
    tool = TOOLS.get(params.name)
    if tool is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
    try:
        content = await tool.run(Client(ctx, params), params.arguments or {})
    except InputRequired as asks:
        return asks.result
    except RuntimeError as error:
        text = types.TextContent(type="text", text=str(error))
        return types.CallToolResult(content=[text], is_error=True)
    return types.CallToolResult(content=content)


async def list_prompts(_ctx: ServerRequestContext, _params: object) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=[prompt.shown for prompt in PROMPTS.values()])


async def get_prompt(ctx: ServerRequestContext, params: types.GetPromptRequestParams):
    prompt = PROMPTS.get(params.name)
    if prompt is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
    arguments = params.arguments or {}
    missing = [a.name for a in prompt.shown.arguments or [] if a.required and a.name not in arguments]
    if missing:
        raise MCPError(types.INVALID_PARAMS, f"Missing arguments: {', '.join(missing)}")
    try:
        messages = await prompt.run(Client(ctx, params), arguments)
    except InputRequired as asks:
        return asks.result
    return types.GetPromptResult(messages=messages)


async def list_resources(_ctx: ServerRequestContext, _params: object) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=RESOURCES)


async def list_templates(_ctx: ServerRequestContext, _params: object) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(resource_templates=TEMPLATES)


async def read_resource(_ctx: ServerRequestContext, params: types.ReadResourceRequestParams):
    contents = read(params.uri)
    if contents is None:
        raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": params.uri})
    return types.ReadResourceResult(contents=[contents])


async def subscribe(_ctx: ServerRequestContext, params: types.SubscribeRequestParams) -> types.EmptyResult:
    watched.add(params.uri)
    return types.EmptyResult()


async def unsubscribe(_ctx: ServerRequestContext, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    watched.discard(params.uri)
    return types.EmptyResult()


async def set_level(_ctx: ServerRequestContext, _params: types.SetLevelRequestParams) -> types.EmptyResult:
    # Taken and not acted on: every log line that a tool writes here is wanted.
    return types.EmptyResult()


async def completion(_ctx: ServerRequestContext, params: types.CompleteRequestParams) -> types.CompleteResult:
    values = complete(params.argument.value)
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


def built(era: str) -> Server:
    server = Server(
        NAME, version="1", instructions="Offers one of each thing that a client can use.",
        cache_hints={method: CacheHint(ttl_ms=0, scope="private") for method in (
            "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read",
            "server/discover")},
        get_tool_input_schema=lambda name: TOOLS[name].shown.input_schema if name in TOOLS else None,
        on_list_tools=list_tools, on_call_tool=call_tool,
        on_list_prompts=list_prompts, on_get_prompt=get_prompt,
        on_list_resources=list_resources, on_list_resource_templates=list_templates,
        on_read_resource=read_resource, on_subscribe_resource=subscribe, on_unsubscribe_resource=unsubscribe,
        on_completion=completion, on_set_logging_level=set_level,
        on_subscriptions_listen=ListenHandler(BUS),
    )
    middleware, _ = PINS[era]
    # The pin is outside: what the other era sends is refused before anything of it is understood.
    server.middleware.extend(middleware)
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server


async def over_stdio(server: Server, era: str) -> None:
    options = server.create_initialization_options(LEGACY_NEWS)
    async with stdio_server() as (reads, writes):
        if era != "legacy":
            await server.run(reads, writes, options)
            return
        # `run` lets the first request decide the era of the whole connection, so that a probe would make
        # it modern; a server of before has only this loop.
        async with server.lifespan(server) as state:
            await serve_loop(server, reads, writes, lifespan_state=state, init_options=options)


def streamable(server: Server):
    # The legacy manager makes its own options, without a way to say which news there are.
    capabilities = server.create_initialization_options
    server.create_initialization_options = lambda *_args, **_named: capabilities(LEGACY_NEWS)
    return server.streamable_http_app(event_store=Events(), retry_interval=RETRY_MS)


def sse(server: Server) -> Starlette:
    transport = SseServerTransport("/message")

    async def connect(request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (reads, writes):
            await server.run(reads, writes, server.create_initialization_options(LEGACY_NEWS))
        return Response()

    return Starlette(routes=[Route("/sse", connect), Mount("/message", app=transport.handle_post_message)])


async def over_http(app, port: int, path: str) -> None:
    """Serves on loopback and prints the address as the first line."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}{path}", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[listener])




def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--http", type=int, metavar="PORT", help="Streamable HTTP instead of stdio")
    where.add_argument("--sse", type=int, metavar="PORT", help="HTTP+SSE instead of stdio")
    parser.add_argument("--era", choices=list(PINS), default="both")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    server = built(options.era)
    _, layer = PINS[options.era]
    if options.http is not None:
        anyio.run(over_http, layer(streamable(server)), options.http, "/mcp")
    elif options.sse is not None:
        anyio.run(over_http, sse(server), options.sse, "/sse")
    else:
        anyio.run(over_stdio, server, options.era)


if __name__ == "__main__":
    main()
