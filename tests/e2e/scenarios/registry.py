"""How a scenario is written down, which kind of client can run it, and how one waits and refuses."""

import dataclasses
import json
from collections.abc import Awaitable, Callable

import anyio

from peer import Json, Refused
from world import World, transport

LEGACY_SERVERS = {"everything", "filesystem"}
# Which servers can be reached over a network without the gateway.
NET_SERVERS = {"everything", "asker"}


@dataclasses.dataclass
class Scenario:
    name: str
    run: Callable[[World], Awaitable[None]]
    needs: tuple[str, ...]
    era: str | None
    gateway_only: bool
    tap: bool


ALL: list[Scenario] = []
# What server-everything keeps for the life of its process.
PER_PROCESS = {"each-client-keeps-its-own-roots", "updates-of-a-resource-reach-who-subscribed",
               "a-changed-list-of-resources-is-told"}


def scenario(*needs: str, era: str | None = None, gateway_only: bool = False, tap: bool = False):
    """Registers a scenario that talks to `needs`; `era` is the client's, if only one can do this; `tap`:
    it looks at what server-everything was sent."""

    def register(run: Callable[[World], Awaitable[None]]) -> Callable[[World], Awaitable[None]]:
        ALL.append(Scenario(run.__name__.replace("_", "-"), run, needs, era, gateway_only, tap))
        return run

    return register


def chosen(kind: str, direct: bool) -> list[Scenario]:
    """What a kind of client can run. Without a gateway a modern client reaches no legacy server."""

    def fits(one: Scenario) -> bool:
        # A modern client over HTTP has no session. A legacy server that keeps what it knows of its client in
        # its process cannot be the same process for each of such a client's calls.
        if not direct and transport(kind) == "http" and kind.startswith(("modern", "auto")) and one.name in PER_PROCESS:
            return False
        if direct:
            if one.gateway_only or (kind.startswith("modern") and set(one.needs) & LEGACY_SERVERS):
                return False
            if transport(kind) != "stdio" and (one.tap or not set(one.needs) <= NET_SERVERS):
                return False
            modern = kind.startswith("modern") or (kind.startswith("auto") and not set(one.needs) & LEGACY_SERVERS)
        else:
            modern = kind.startswith(("modern", "auto"))
        return one.era is None or (one.era == "modern") == modern

    return [one for one in ALL if fits(one)]


async def refused(attempt: Awaitable[object]) -> Refused:
    """Wants an error and returns it."""
    try:
        result = await attempt
    except Refused as refusal:
        return refusal
    raise AssertionError(f"expected an error, got {json.dumps(result)[:200]}")


async def failed(attempt: Awaitable[Json]) -> str:
    """Wants a call to fail, as an error or as a result that says so, and returns its words."""
    try:
        result = await attempt
    except Refused as refusal:
        return f"{refusal.code} {refusal.message}"
    assert result.get("isError"), f"expected a failure, got {json.dumps(result)[:200]}"
    return "\n".join(part.get("text", "") for part in result["content"])


async def until(found: Callable[[], object], what: str) -> object:
    """Waits for something that is written outside of this process, as the tap's log is."""
    with anyio.move_on_after(20):
        while True:
            if result := found():
                return result
            await anyio.sleep(0.02)
    raise AssertionError(f"never seen: {what}")


def tapped(w: World) -> list[tuple[str, Json]]:
    """What passed the tap in front of server-everything: (direction, message), oldest first in each child."""
    seen = []
    for log in sorted(w.setting.taps.glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            try:
                seen.append((line[0], json.loads(line[2:])))
            except (json.JSONDecodeError, IndexError):
                continue  # a line that its writer has not finished
    return seen
