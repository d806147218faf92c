"""The ways in which clients come, use the gateway and leave: one coroutine a visit, picked by weight.

`rock__` is a server that stays: its answers must be right. `mortal__` and `web__` are killed all the time, and calls of
the first hang, which opens its breaker: calls of theirs must be answered, by whatever is true just then.
"""

import asyncio
import base64
import dataclasses
import json
import os
import random
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable

from speak import BOTH, LEGACY, Fault, Http, Lines, Peer, WebSocket, connect, hello, text_of

DOCUMENT = "rock+doc://one"
FORMS = {"elicitation": {"form": {}}}


@dataclasses.dataclass
class Place:
    """Where the gateway is, and what opens it."""

    unix: str
    tls: int
    http: int
    key: str
    context: ssl.SSLContext

    async def lines(self) -> Lines:
        return Lines(await connect(self.unix))

    async def door(self, key: str | None = None) -> Http:
        return Http(await connect(self.http, source=stranger()), self.http, self.key if key is None else key)


# A thousand addresses of the loopback: what is counted by address gets many, and the same again.
STRANGERS = [f"127.1.{part}.{last}" for part in range(4) for last in range(1, 251)]


def stranger() -> str:
    return random.choice(STRANGERS)


async def passers_by(port: int) -> None:
    """Each stranger comes to the door and goes again."""
    for address in STRANGERS:
        (await connect(port, source=address)).leave()


def rudely() -> bool:
    return random.random() < 0.3


async def talk(peer: Peer) -> None:
    """Some calls of one conversation."""
    for _ in range(random.randrange(1, 4)):
        text = os.urandom(random.choice((4, 40, 400, 4000))).hex()
        if text_of(await peer.call("rock__echo", {"text": text})) != text:
            raise Fault("an echo came back as something else")
    await peer.ask("tools/list")
    await peer.call(random.choice(("mortal__echo", "web__echo")), {"text": "x"})
    if "error" not in await peer.call("rock__nothing"):
        raise Fault("a tool that is not there was called")


async def lines(place: Place) -> None:
    peer = await place.lines()
    await peer.initialize()
    await talk(peer)
    peer.stream.leave(rudely())


async def lines_over_tls(place: Place) -> None:
    peer = Lines(await connect(place.tls, place.context, stranger()))
    await peer.initialize()
    await talk(peer)
    peer.stream.leave(rudely())


async def websocket(place: Place) -> None:
    peer = await WebSocket(await connect(place.http, source=stranger())).upgrade(place.http, place.key)
    await peer.initialize()
    await talk(peer)
    if not rudely():
        peer.frame(8, b"\x03\xe8")
    peer.stream.leave()


async def progress_and_cancellation(place: Place) -> None:
    peer = await place.lines()
    await peer.initialize()
    text_of(await peer.call("rock__steps", _meta={"progressToken": "p"}))
    await peer.hears("notifications/progress")
    await peer.send({"jsonrpc": "2.0", "id": "gone", "method": "tools/call", "params": {"name": "mortal__hang", "arguments": {}}})
    await peer.tell("notifications/cancelled", {"requestId": "gone"})
    await peer.ask("ping")
    # Another call is left under way.
    await peer.send({"jsonrpc": "2.0", "id": "left", "method": "tools/call", "params": {"name": "mortal__hang", "arguments": {}}})
    peer.stream.leave(rudely())


async def session(place: Place) -> None:
    """Opened and deleted, or left to its time."""
    http = await place.door()
    await http.initialize()
    text_of(await http.ask("tools/call", {"name": "rock__echo", "arguments": {"text": "x"}}))
    await http.ask("tools/list")
    if not rudely():
        await http.delete()
    http.stream.leave()


async def modern(place: Place) -> None:
    http = await place.door()
    for tool in ("rock__echo", "web__echo"):
        ident, reply = await http.modern("tools/call", {"name": tool, "arguments": {"text": "modern"}})
        answer = await reply.answer(ident)
        if tool == "rock__echo" and text_of(answer) != "modern":
            raise Fault("an echo came back as something else")
    ident, reply = await http.modern("tools/list")
    await reply.answer(ident)
    http.stream.leave(rudely())


async def stream_that_is_resumed(place: Place) -> None:
    http, stream = await place.door(), await place.door()
    await http.initialize()
    stream.session, last = http.session, ""
    await http.ask("resources/subscribe", {"uri": DOCUMENT})
    for _ in range(2):
        resumed = {"Last_Event_ID": last} if last else {}
        reply = await stream.request("GET", "/mcp", Accept="text/event-stream", **resumed)
        if reply.status != 200:
            raise Fault(f"no stream: {reply.status}")
        text_of(await http.ask("tools/call", {"name": "rock__touch", "arguments": {}}))
        async with asyncio.timeout(30):
            async for last, fields in reply.events():
                if "resources/updated" in fields.get("data", ""):
                    break
            else:
                raise Fault("a stream ended without its event")
        stream.stream.leave(rudely=True)
        stream = await place.door()
        stream.session = http.session
    stream.stream.leave()
    if not rudely():
        await http.delete()
    http.stream.leave()


async def listener(place: Place) -> None:
    """A modern subscription that its client leaves."""
    http, other = await place.door(), await place.door()
    wanted = {"notifications": {"resourceSubscriptions": [DOCUMENT], "toolsListChanged": True}}
    _, reply = await http.modern("subscriptions/listen", wanted)
    async with asyncio.timeout(30):
        async for _, fields in reply.events():
            if "acknowledged" in fields.get("data", ""):
                break
    ident, answer = await other.modern("tools/call", {"name": "rock__touch", "arguments": {}})
    text_of(await answer.answer(ident))
    http.stream.leave(rudely())
    other.stream.leave()


async def older_sse(place: Place) -> None:
    stream, posts = await place.door(), await place.door()
    reply = await stream.request("GET", "/sse", Accept="text/event-stream")
    events = reply.events()
    async with asyncio.timeout(30):
        _, first = await anext(events)
        where = urllib.parse.urljoin("/sse", first["data"])
        for ident, method, params in ((0, "initialize", hello(version="2024-11-05")),
                                      (1, "tools/call", {"name": "rock__echo", "arguments": {"text": "old"}})):
            body = json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params}).encode()
            done = await posts.request("POST", where, body)
            await done.body()
            async for _, fields in events:
                if fields.get("data") and json.loads(fields["data"]).get("id") == ident:
                    break
    stream.stream.leave(rudely())
    posts.stream.leave()


async def form(place: Place) -> None:
    """Calls that ask back: the client has a server of its own meanwhile."""
    peer = await place.lines()
    await peer.initialize(FORMS)
    text_of(await peer.call("rock__ask"))
    peer.stream.leave(rudely())


async def form_of_a_modern_client(place: Place) -> None:
    """The call is held upstream; some never come back with the answer."""
    http = await place.door()
    params = {"name": "rock__ask", "arguments": {}}
    ident, reply = await http.modern("tools/call", params, FORMS)
    answer = await reply.answer(ident)
    result = answer.get("result", {})
    if result.get("resultType") != "input_required":
        raise Fault(f"nothing was asked: {json.dumps(answer)[:300]}")
    if not rudely():
        given = {key: {"action": "accept", "content": {"name": "x"}} for key in result["inputRequests"]}
        again = {**params, "inputResponses": given, "requestState": result["requestState"]}
        ident, reply = await http.modern("tools/call", again, FORMS)
        text_of(await reply.answer(ident))
    http.stream.leave()


async def task(place: Place) -> None:
    peer = await place.lines()
    await peer.initialize()
    made = await peer.call("rock__echo", {"text": "later"}, task={"ttl": 5000})
    name = made.get("result", {}).get("task", {}).get("taskId")
    if name is None:
        raise Fault(f"no task: {json.dumps(made)[:300]}")
    await peer.ask("tasks/get", {"taskId": name})
    await peer.ask("tasks/list")
    if rudely():
        await peer.ask("tasks/cancel", {"taskId": name})
    elif text_of(await peer.ask("tasks/result", {"taskId": name})) != "later":
        raise Fault("a task's result is something else")
    peer.stream.leave(rudely())


async def bad_key(place: Place) -> None:
    http = await place.door(key=f"rgk_{base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip('=')}")
    for _ in range(3):
        reply = await http.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello()})
        if reply.status != 401:
            raise Fault(f"a bad key got {reply.status}")
        await reply.body()
    http.stream.leave(rudely())


async def no_session(place: Place) -> None:
    http = await place.door()
    http.session = base64.urlsafe_b64encode(os.urandom(60)).decode()
    reply = await http.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    if reply.status != 404:
        raise Fault(f"an unknown session got {reply.status}")
    await reply.body()
    http.stream.leave()


async def nonsense(place: Place) -> None:
    """What is no protocol at all, or half of one."""
    where, what = random.choice(((place.unix, b"not json\n"), (place.unix, b'{"jsonrpc":"2.0","id":1,'),
                                 (place.http, b"GARBAGE\r\n\r\n"), (place.http, b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nConte"),
                                 (place.http, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(60)),
                                 (place.tls, b"\x16\x03\x01\x02\x00\x01"), (place.tls, os.urandom(100)), (place.tls, b"")))
    stream = await connect(where, source=stranger() if isinstance(where, int) else None)
    stream.writer.write(what)
    await asyncio.sleep(0.05)
    stream.leave(rudely())


async def a_long_line(place: Place) -> None:
    peer = await place.lines()
    await peer.initialize()
    text = "x" * 300_000
    if text_of(await peer.call("rock__echo", {"text": text})) != text:
        raise Fault("an echo came back as something else")
    peer.stream.leave()


async def death(place: Place) -> None:
    """The server dies under the call; the client is told so."""
    peer = await place.lines()
    await peer.initialize()
    await peer.call("mortal__die")
    await peer.ask("ping")
    peer.stream.leave()


async def half_a_body(place: Place) -> None:
    http = await place.door()
    http.stream.writer.write(f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {place.key}\r\nAccept: {BOTH}\r\n"
                             f"MCP-Protocol-Version: {LEGACY}\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
                             f"{'x' * 5000}".encode())
    await asyncio.sleep(0.05)
    http.stream.leave(rudely())


Visit = Callable[[Place], Awaitable[None]]
# How often each comes, beside the others. Those that cost a process come seldom.
ALL: dict[Visit, float] = {
    lines: 3, lines_over_tls: 2, websocket: 3, session: 4, modern: 4, stream_that_is_resumed: 3, listener: 2, older_sse: 1,
    progress_and_cancellation: 2, task: 2, bad_key: 2, no_session: 1, nonsense: 3, half_a_body: 1, a_long_line: 0.3,
    form: 0.3, form_of_a_modern_client: 0.3, death: 0.2,
}
