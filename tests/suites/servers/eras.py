"""Pins a server that speaks both eras to one, as if it had been written when there was only that one.

A pin is two things: a middleware, which every message passes on any transport, and a layer around the
HTTP application, which answers what a server of that era answers before it reads a message.
"""

import json
from typing import Any

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp_types import METHOD_NOT_FOUND, UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

MODERN = list(MODERN_PROTOCOL_VERSIONS)
LEGACY = list(HANDSHAKE_PROTOCOL_VERSIONS)
SERVER_ERROR = -32000


async def only_legacy(ctx: ServerRequestContext, call_next: CallNext) -> HandlerResult:
    if ctx.method == "server/discover" or ctx.protocol_version in MODERN:
        raise MCPError(METHOD_NOT_FOUND, f"Method not found: {ctx.method}")
    return await call_next(ctx)


async def only_modern(ctx: ServerRequestContext, call_next: CallNext) -> HandlerResult:
    if ctx.protocol_version not in MODERN:
        asked = (ctx.params or {}).get("protocolVersion", ctx.protocol_version)
        raise MCPError(UNSUPPORTED_PROTOCOL_VERSION, "there is no handshake here; use " + ", ".join(MODERN),
                       {"supported": MODERN, "requested": asked})
    return await call_next(ctx)


class OnlyLegacyHttp:
    """Refuses the version header of the other era, as servers before it do with versions they do not know."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        version = header(scope, b"mcp-protocol-version")
        if version is not None and version not in LEGACY:
            text = f"unsupported protocol version {version}; supported: " + ", ".join(LEGACY)
            await answer(send, 400, {"code": SERVER_ERROR, "message": text})
            return
        await self.app(scope, receive, send)


class OnlyModernHttp:
    """No session, so nothing to get or delete; a message without a modern version is told which there are."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if scope["method"] != "POST":
                await answer(send, 405, None, [(b"allow", b"POST")])
                return
            version = header(scope, b"mcp-protocol-version")
            if version is None or version in LEGACY:
                data = {"supported": MODERN, "requested": version or ""}
                await answer(send, 400, {"code": UNSUPPORTED_PROTOCOL_VERSION,
                                         "message": "supported: " + ", ".join(MODERN), "data": data})
                return
        await self.app(scope, receive, send)


def header(scope: dict, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope.get("headers", ()) if key == name), None)


async def answer(send: Any, status: int, error: dict | None, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = b"" if error is None else json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    kind = [] if error is None else [(b"content-type", b"application/json")]
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*kind, length, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})


# era: (middleware, layer around the HTTP application)
PINS: dict[str, tuple[list, Any]] = {
    "both": ([], lambda app: app),
    "legacy": ([only_legacy], OnlyLegacyHttp),
    "modern": ([only_modern], OnlyModernHttp),
}
