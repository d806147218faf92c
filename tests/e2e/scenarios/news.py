"""What comes beside the answers: progress, cancellation, logging, updates and changed lists."""

import json

import anyio

from scenarios.registry import scenario, tapped, until
from world import View, World

# Progress, cancellation, logging


@scenario("everything")
async def progress_arrives_in_order(w: World) -> None:
    """Every step, in order, before the answer."""
    up, seen = await w.up("everything"), []
    await up.text("trigger-long-running-operation", {"duration": 0.5, "steps": 5}, progress=seen)
    assert seen == [(step, 5, None) for step in range(1, 6)], seen


@scenario("asker")
async def progress_of_a_modern_upstream_arrives_in_order(w: World) -> None:
    """A burst without a pause, with messages."""
    up, seen = await w.up("asker"), []
    await up.text("count", {"to": 50}, progress=seen)
    assert seen == [(step, 50, f"step {step}") for step in range(1, 51)], f"{len(seen)}: {seen[:5]}"


@scenario("everything", tap=True)
async def a_cancelled_call_is_cancelled_upstream(w: World) -> None:
    """The upstream hears of it by its own id, nothing more comes, and a following call works."""
    up = await w.up("everything")
    steps = 41 + int(w.unique, 16) % 100_000
    await up.abandon("trigger-long-running-operation", {"duration": steps / 10, "steps": steps})
    heard = len(up.peer.heard)
    assert await up.text("get-sum", {"a": 2, "b": 3}) == "The sum of 2 and 3 is 5."

    def cancelled() -> bool:
        sent = [message for direction, message in tapped(w) if direction == ">"]
        ids = [message["id"] for message in sent
               if message.get("params", {}).get("arguments", {}).get("steps") == steps]
        assert len(ids) == 1, f"the call went upstream {len(ids)} times"
        return any(message.get("method") == "notifications/cancelled" and message["params"]["requestId"] == ids[0]
                   for message in sent)

    await until(cancelled, "notifications/cancelled with the id of the call upstream")
    if not w.setting.direct:
        assert await up.text("echo", {"message": "after"}) == "Echo: after"
        late = [params for method, params in up.peer.heard[heard + 1:] if method == "notifications/progress"]
        assert not late, f"progress of a cancelled call: {late}"


@scenario("asker")
async def a_cancelled_call_is_cancelled_in_a_modern_upstream(w: World) -> None:
    """The server's own handler is interrupted."""
    up = await w.up("asker")
    await up.abandon("linger", {"label": w.unique})
    with anyio.fail_after(20):
        while w.unique not in await up.text("was_cancelled"):
            await anyio.sleep(0.02)


@scenario("everything", era="legacy")
async def a_legacy_client_hears_the_log(w: World) -> None:
    """setLevel, and a message that the server then sends."""
    up = await w.up("everything")
    await up.peer.set_level("debug")
    await toggle(up, "logging", on=True)
    try:
        message = await up.peer.hears("notifications/message", lambda p: "message" in json.dumps(p.get("data")))
        assert "level" in message
    finally:
        await toggle(up, "logging", on=False)


@scenario("asker", gateway_only=True, era="legacy")
async def a_legacy_client_chooses_its_level(w: World) -> None:
    """setLevel becomes the modern upstream's level: the loud words come, the quiet ones do not."""
    up = await w.up("asker")
    await up.peer.set_level("warning")
    await up.text("chatter")
    await up.peer.hears("notifications/message", lambda p: p["data"] == "loud words")
    said = [p["data"] for method, p in up.peer.heard if method == "notifications/message"]
    assert "quiet words" not in said, said


@scenario("asker", era="modern")
async def a_modern_client_hears_the_log_it_asked_for(w: World) -> None:
    """The request's own level decides, and without one nothing comes."""
    up = await w.up("asker")

    async def said(level: str | None) -> list[str]:
        since = len(up.peer.heard)
        await up.text("chatter", log=level)
        return [p["data"] for method, p in up.peer.heard[since:] if method == "notifications/message"]

    assert await said("warning") == ["loud words"]
    assert await said("debug") == ["quiet words", "loud words"]
    assert await said(None) == []


@scenario("everything", era="modern", gateway_only=True)
async def a_modern_client_hears_a_legacy_log_only_on_request(w: World) -> None:
    """A legacy server logs inside a call; a request without a level hears nothing of it."""
    up = await w.up("everything")
    await toggle(up, "logging", on=True, log="debug")
    try:
        await up.peer.hears("notifications/message", lambda p: "message" in json.dumps(p.get("data")))
    finally:
        await toggle(up, "logging", on=False)
    since = len(up.peer.heard)
    await toggle(up, "logging", on=True)
    await toggle(up, "logging", on=False)
    unasked = [p for method, p in up.peer.heard[since:] if method == "notifications/message"]
    assert not unasked, unasked


# Changes


@scenario("everything", tap=True)
async def updates_of_a_resource_reach_who_subscribed(w: World) -> None:
    """The news carry the URI of the subscription, and the upstream hears when we leave."""
    up = await w.up("everything")
    uri = f"demo://resource/dynamic/text/{1 + int(w.unique, 16) % 1000}"
    async with up.watching(uri) as watch:
        await toggle(up, "updates", on=True)
        try:
            kind, told = await watch.next()
            assert (kind, told) == ("updated", up.uri(uri)), (kind, told)
        finally:
            await toggle(up, "updates", on=False)
    await until(lambda: [m for direction, m in tapped(w) if direction == ">"
                         and m.get("method") == "resources/unsubscribe" and m["params"]["uri"] == uri],
                "resources/unsubscribe upstream")


@scenario("everything")
async def a_changed_list_of_resources_is_told(w: World) -> None:
    """A tool adds a resource: the client hears of it and finds it in the list."""
    up, name = await w.up("everything"), f"{w.unique}.gz"
    async with up.watching(resources=True) as watch:
        await up.call("gzip-file-as-resource", {"name": name, "data": "data:text/plain,hello"})
        assert (await watch.next())[0] == "resources"
    uris = [resource["uri"] for resource in await up.items("resources")]
    assert f"demo://resource/session/{name}" in uris, uris
    assert (await up.read(f"demo://resource/session/{name}"))["contents"][0]["blob"]


@scenario("asker", era="modern")
async def a_modern_client_listens_to_a_modern_upstream(w: World) -> None:
    """An update and a changed list, on one stream."""
    await listens(w)


@scenario("asker", era="legacy", gateway_only=True)
async def a_legacy_client_subscribes_to_a_modern_upstream(w: World) -> None:
    """subscribe becomes listen, and its events become notifications."""
    await listens(w)


async def listens(w: World) -> None:
    up = await w.up("asker")
    async with up.watching("asker://counter", tools=True) as watch:
        await up.text("touch", {"uri": "asker://elsewhere"})
        await up.text("touch", {"uri": "asker://counter"})
        heard = await watch.next()
        while heard[0] == "tools":
            # The other servers behind the gateway announce tools when they have met the client.
            heard = await watch.next()
        assert heard == ("updated", up.uri("asker://counter")), heard
        await up.text("grow", {"name": f"grown_{w.unique}"})
        assert (await watch.next())[0] == "tools"
    listed = [tool["name"] for tool in await up.items("tools")]
    assert f"grown_{w.unique}" in listed, listed
    assert await up.text(f"grown_{w.unique}") == f"grown_{w.unique}"


async def toggle(up: View, what: str, on: bool, **how: object) -> None:
    """server-everything's switches are one a process, so another's setting may have to be undone first."""
    tool = {"logging": "toggle-simulated-logging", "updates": "toggle-subscriber-updates"}[what]
    want = "Started" if on else "Stopped"
    if want not in await up.text(tool, **how):
        assert want in await up.text(tool, **how), f"{tool} cannot be switched {'on' if on else 'off'}"
