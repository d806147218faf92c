"""A server of the modern era that asks its client back.

None of the four published servers is both modern and curious, so this one stands for the modern
half of every bridge: it answers `input_required`, speaks progress and log inside a call, tells
whether a call of it was cancelled, and publishes changes to its listeners. It is no reference for
anything: it holds only what the scenarios ask for.

    asker.py [stdio | streamable-http PORT | sse PORT]
"""

import sys
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp.types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel

server = MCPServer("asker", instructions="Asks back.")
cancelled: list[str] = []
reads = 0


class Name(BaseModel):
    name: str


class Colour(BaseModel):
    colour: str


def who() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


def which(name: Annotated[Name, Resolve(who)]) -> Elicit[Colour]:
    return Elicit(f"Which colour, {name.name}?", Colour)


def poem() -> Sample:
    message = SamplingMessage(role="user", content=TextContent(type="text", text="a poem, please"))
    return Sample([message], max_tokens=50)


def roots() -> ListRoots:
    return ListRoots()


@server.tool()
def greet(name: Annotated[Name, Resolve(who)]) -> str:
    """Asks for a name."""
    return f"hello {name.name}"


@server.tool()
def paint(name: Annotated[Name, Resolve(who)], colour: Annotated[Colour, Resolve(which)]) -> str:
    """Asks for a name, then, in a second round, for a colour."""
    return f"{name.name} paints it {colour.colour}"


@server.tool()
def compose(text: Annotated[CreateMessageResult, Resolve(poem)]) -> str:
    """Asks the client's model."""
    return f"{text.model} wrote {text.content.text}"


@server.tool()
def where(found: Annotated[ListRootsResult, Resolve(roots)]) -> str:
    """Asks for the client's roots."""
    return " ".join(str(root.uri) for root in found.roots)


@server.tool()
def survey(
    name: Annotated[Name, Resolve(who)],
    text: Annotated[CreateMessageResult, Resolve(poem)],
    found: Annotated[ListRootsResult, Resolve(roots)],
) -> str:
    """Asks for three things in one round."""
    return f"{name.name}, {text.model}, {len(found.roots)}"


@server.tool()
async def count(ctx: Context, to: int) -> str:
    """Tells its progress at every step."""
    for step in range(1, to + 1):
        await ctx.report_progress(step, to, f"step {step}")
    return f"counted to {to}"


@server.tool()
async def chatter(ctx: Context) -> str:
    """Logs one line at each of two levels."""
    await ctx.debug("quiet words")
    await ctx.warning("loud words")
    return "said"


@server.tool()
async def linger(ctx: Context, label: str) -> str:
    """Tells that it began, never answers, and remembers that it was cancelled."""
    try:
        await ctx.report_progress(0)
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        cancelled.append(label)
        raise
    return "never"


@server.tool()
def was_cancelled() -> list[str]:
    """The labels of the lingering calls that were cancelled."""
    return cancelled


@server.tool()
async def touch(ctx: Context, uri: str) -> str:
    """Publishes that a resource changed."""
    await ctx.notify_resource_updated(uri)
    return "touched"


@server.tool()
async def grow(ctx: Context, name: str) -> str:
    """Adds a tool and publishes that the list of tools changed."""
    server.add_tool(lambda: name, name=name, description="grown")
    await ctx.notify_tools_changed()
    return "grown"


@server.resource("asker://counter")
def counter() -> str:
    """A resource that one can watch."""
    return "counter"


if __name__ == "__main__":
    how, *port = sys.argv[1:] or ["stdio"]
    server.run(transport=how, **({"port": int(port[0])} if port else {}))
