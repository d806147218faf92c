"""The scenarios with SDK clients: each is one function, and its docstring is what it proves.

A scenario is written against views of upstreams (world.py), so it runs behind the gateway and, as
the control, without it. Waits are for an event, with a generous bound that is never the point.
"""

import dataclasses
import json
from collections.abc import Awaitable, Callable

import anyio

from peer import Json, Refused
from world import SAMPLED, UPSTREAMS, View, World, answers

LEGACY_SERVERS = {"everything", "filesystem"}


@dataclasses.dataclass
class Scenario:
    name: str
    run: Callable[[World], Awaitable[None]]
    needs: tuple[str, ...]
    era: str | None
    gateway_only: bool


ALL: list[Scenario] = []


def scenario(*needs: str, era: str | None = None, gateway_only: bool = False):
    """Registers a scenario that talks to `needs`; `era` is the client's, if only one can do this."""

    def register(run: Callable[[World], Awaitable[None]]) -> Callable[[World], Awaitable[None]]:
        ALL.append(Scenario(run.__name__.replace("_", "-"), run, needs, era, gateway_only))
        return run

    return register


def chosen(kind: str, direct: bool) -> list[Scenario]:
    """What a kind of client can run. Without a gateway a modern client reaches no legacy server."""

    def fits(one: Scenario) -> bool:
        if direct:
            if one.gateway_only or (kind == "modern-2.3" and set(one.needs) & LEGACY_SERVERS):
                return False
            modern = kind == "modern-2.3" or (kind == "auto-2.3" and not set(one.needs) & LEGACY_SERVERS)
        else:
            modern = kind in ("modern-2.3", "auto-2.3")
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


# Lists


@scenario(gateway_only=True)
async def greeting_offers_what_the_upstreams_offer(w: World) -> None:
    """Capabilities and instructions are the upstreams' together."""
    hello = await (await w.peer()).hello()
    able = hello["capabilities"]
    for key in ("tools", "prompts", "resources", "completions"):
        assert key in able, f"no capability {key}: {able}"
    assert able["resources"].get("subscribe") is True, able
    assert able["tools"].get("listChanged") is True, able
    assert "Everything Server" in hello.get("instructions", ""), "instructions of server-everything are lost"


@scenario(gateway_only=True)
async def lists_hold_every_upstream_in_the_configured_order(w: World) -> None:
    """Upstreams come in the order of the configuration, and twice asked is twice the same."""
    peer = await w.peer()
    names = [tool["name"] for tool in await peer.all("tools")]
    groups = list(dict.fromkeys(name.split("__")[0] for name in names))
    assert groups == UPSTREAMS, groups
    assert len(names) == len(set(names)), "a name is listed twice"
    ordered = sorted(names, key=lambda name: UPSTREAMS.index(name.split("__")[0]))
    assert names == ordered, "an upstream's tools are not together"
    assert names == [tool["name"] for tool in await peer.all("tools")], "the order changed"
    uris = [resource["uri"] for resource in await peer.all("resources")]
    assert uris and all(uri.split("+")[0] in UPSTREAMS for uri in uris), uris


@scenario("everything", "filesystem", "time", "git")
async def every_upstream_lists_its_tools(w: World) -> None:
    """The tools of all four published servers are there, in their own order."""
    some = {
        "everything": ["echo", "get-annotated-message", "get-env", "get-resource-links", "get-resource-reference",
                       "get-structured-content", "get-sum", "get-tiny-image", "gzip-file-as-resource",
                       "toggle-simulated-logging", "toggle-subscriber-updates", "trigger-long-running-operation"],
        "filesystem": ["read_file", "read_text_file", "read_media_file", "read_multiple_files", "write_file",
                       "edit_file", "create_directory", "list_directory", "list_directory_with_sizes",
                       "directory_tree", "move_file", "search_files", "get_file_info", "list_allowed_directories"],
        "time": ["get_current_time", "convert_time"],
        "git": ["git_status", "git_diff_unstaged", "git_diff_staged", "git_diff", "git_commit", "git_add",
                "git_reset", "git_log", "git_create_branch", "git_checkout", "git_show", "git_branch"],
    }
    for name, expected in some.items():
        listed = [tool["name"] for tool in await (await w.up(name)).items("tools")]
        assert [tool for tool in listed if tool in expected] == expected, f"{name}: {listed}"


@scenario("everything")
async def a_client_that_can_be_asked_is_offered_the_asking_tools(w: World) -> None:
    """server-everything registers these only for a client with the capability."""
    up = await w.up("everything")
    listed = {tool["name"] for tool in await up.items("tools")}
    wanted = {"get-roots-list", "trigger-elicitation-request", "trigger-url-elicitation", "trigger-sampling-request"}
    assert wanted <= listed, f"missing: {wanted - listed}"


@scenario(gateway_only=True)
async def definitions_are_the_upstreams_own(w: World) -> None:
    """Tool, prompt and template definitions differ from the direct ones in nothing but the name."""
    compared = ("title", "description", "inputSchema", "outputSchema", "annotations", "arguments", "mimeType")
    control = dataclasses.replace(
        w.setting, port=None, kind="legacy-1.30" if w.setting.kind.endswith("1.30") else "auto-2.3")
    for name, kinds in {"everything": ["tools", "prompts", "resourceTemplates"], "filesystem": ["tools"],
                        "time": ["tools"], "git": ["tools"]}.items():
        through = await w.up(name)
        async with World(control, w.answers) as bare:
            direct = await bare.up(name)
            for what in kinds:
                key = "uriTemplate" if what == "resourceTemplates" else "name"
                here = {item[key]: item for item in await direct.items(what)}
                there = {item[key]: item for item in await through.items(what)}
                assert list(here) == list(there), f"{name} {what}: {list(here)} became {list(there)}"
                for item in here:
                    for field in compared:
                        assert here[item].get(field) == there[item].get(field), f"{name} {what} {item}.{field} differs"


# Tools


@scenario("everything")
async def everything_answers_calls(w: World) -> None:
    """echo, get-sum, an image and structured content arrive whole."""
    up = await w.up("everything")
    assert await up.text("echo", {"message": "grüße 🦀 \u2028 \"quoted\""}) == "Echo: grüße 🦀 \u2028 \"quoted\""
    assert await up.text("get-sum", {"a": 2, "b": 40}) == "The sum of 2 and 40 is 42."
    image = [part for part in (await up.call("get-tiny-image"))["content"] if part["type"] == "image"]
    assert image and image[0]["mimeType"] == "image/png" and len(image[0]["data"]) > 1000
    weather = (await up.call("get-structured-content", {"location": "New York"}))["structuredContent"]
    assert set(weather) == {"temperature", "conditions", "humidity"}, weather


@scenario("everything")
async def a_megabyte_passes_both_ways(w: World) -> None:
    """A long line is not cut, and its answer comes whole."""
    words = "x" * 1_000_000
    assert await (await w.up("everything")).text("echo", {"message": words}) == "Echo: " + words


@scenario("filesystem")
async def filesystem_reads_and_writes(w: World) -> None:
    """Read, write and list in a temporary folder."""
    up, files = await w.up("filesystem"), w.setting.files
    assert "hello from a file" in await up.text("read_text_file", {"path": str(files / "hello.txt")})
    path = files / f"{w.unique}.txt"
    await up.text("write_file", {"path": str(path), "content": "written\nhere\n"})
    assert path.read_text() == "written\nhere\n"
    listing = await up.text("list_directory", {"path": str(files)})
    assert "[FILE] hello.txt" in listing and f"[FILE] {path.name}" in listing, listing
    assert "denied" in (await failed(up.call("read_text_file", {"path": "/etc/hostname"}))).lower()


@scenario("time")
async def time_tells_and_converts(w: World) -> None:
    """Both tools of server-time, text and structured content alike."""
    up = await w.up("time")
    now = await up.call("get_current_time", {"timezone": "UTC"})
    assert now["structuredContent"]["timezone"] == "UTC", now
    assert json.loads(now["content"][0]["text"]) == now["structuredContent"]
    there = await up.call("convert_time", {
        "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"})
    assert "21:00" in there["structuredContent"]["target"]["datetime"], there


@scenario("git")
async def git_looks_into_a_repository(w: World) -> None:
    """Status and log of a temporary repository."""
    up, repo = await w.up("git"), str(w.setting.repo)
    assert "b.txt" in await up.text("git_status", {"repo_path": repo})
    assert "the first commit" in await up.text("git_log", {"repo_path": repo, "max_count": 1})


@scenario("everything", "time")
async def many_calls_at_once_each_get_their_own_answer(w: World) -> None:
    """Two clients, each with sixty calls in flight on two upstreams; ids and progress tokens collide."""
    async with w.another(w.answers) as other:
        async def echo(up: View, word: str) -> None:
            assert await up.text("echo", {"message": word}) == f"Echo: {word}"

        async def convert(up: View, hour: int) -> None:
            result = await up.call("convert_time", {
                "source_timezone": "UTC", "time": f"{hour:02}:30", "target_timezone": "UTC"})
            assert f"T{hour:02}:30" in result["structuredContent"]["target"]["datetime"], result

        async def steps(up: View) -> None:
            seen: list = []
            await up.text("trigger-long-running-operation", {"duration": 0.4, "steps": 4}, progress=seen)
            assert [done for done, _, _ in seen] == [1, 2, 3, 4], seen

        clients = [(who, await world.up("everything"), await world.up("time"))
                   for who, world in (("a", w), ("b", other))]
        async with anyio.create_task_group() as group:
            for who, everything, time in clients:
                group.start_soon(steps, everything)
                for i in range(40):
                    group.start_soon(echo, everything, f"{who}{i}")
                for hour in range(20):
                    group.start_soon(convert, time, hour)


# Resources, prompts, completion


@scenario("everything")
async def resources_are_listed_and_read(w: World) -> None:
    """A listed URI can be read, and what is read carries the URI that was asked for."""
    up = await w.up("everything")
    listed = {resource["uri"]: resource for resource in await up.items("resources")}
    uri = "demo://resource/static/document/features.md"
    assert uri in listed and listed[uri]["mimeType"] == "text/markdown", listed
    contents = (await up.read(uri))["contents"]
    assert contents[0]["uri"] == up.uri(uri), contents[0]["uri"]
    assert len(contents[0]["text"]) > 500


@scenario("everything")
async def templates_are_listed_and_read(w: World) -> None:
    """A resource made from a template, text and binary."""
    up = await w.up("everything")
    templates = [template["uriTemplate"] for template in await up.items("resourceTemplates")]
    assert templates == ["demo://resource/dynamic/text/{resourceId}", "demo://resource/dynamic/blob/{resourceId}"]
    text = (await up.read("demo://resource/dynamic/text/7"))["contents"][0]
    assert text["text"].startswith("Resource 7: This is a plaintext resource"), text
    assert text["uri"] == up.uri("demo://resource/dynamic/text/7"), text
    assert (await up.read("demo://resource/dynamic/blob/8"))["contents"][0]["blob"]


@scenario("everything")
async def links_in_a_result_can_be_followed(w: World) -> None:
    """A resource link that a tool returns is readable as it stands."""
    up = await w.up("everything")
    content = (await up.call("get-resource-links", {"count": 2}))["content"]
    links = [part["uri"] for part in content if part["type"] == "resource_link"]
    assert len(links) == 2, content
    for link in links:
        assert (await up.peer.read(link))["contents"], link


@scenario("everything")
async def prompts_are_listed_and_filled(w: World) -> None:
    """Without arguments, with them, with one missing, and with an embedded resource."""
    up = await w.up("everything")
    listed = [prompt["name"] for prompt in await up.items("prompts")]
    assert listed == ["simple-prompt", "args-prompt", "completable-prompt", "resource-prompt"], listed

    def words(prompt: Json) -> str:
        return prompt["messages"][0]["content"]["text"]

    assert words(await up.prompt("simple-prompt")) == "This is a simple prompt without arguments."
    filled = await up.prompt("args-prompt", {"city": "Graz", "state": "Styria"})
    assert words(filled) == "What's weather in Graz, Styria?"
    filled = await up.prompt("completable-prompt", {"department": "Sales", "name": "Eve"})
    assert words(filled) == "Please promote Eve to the head of the Sales team."
    embedded = await up.prompt("resource-prompt", {"resourceType": "Text", "resourceId": "3"})
    assert embedded["messages"][1]["content"]["resource"]["text"].startswith("Resource 3:"), embedded
    assert (await refused(up.prompt("args-prompt", {}))).code == -32602


@scenario("everything")
async def arguments_are_completed(w: World) -> None:
    """A prompt's argument, one that depends on another, and a template's variable."""
    up = await w.up("everything")
    assert await up.complete_prompt("completable-prompt", "department", "S") == ["Sales", "Support"]
    there = await up.complete_prompt("completable-prompt", "name", "", {"department": "Engineering"})
    assert there == ["Alice", "Bob", "Charlie"], there
    template = "demo://resource/dynamic/text/{resourceId}"
    assert await up.complete_uri(template, "resourceId", "4") == ["4"]


# Errors


@scenario("everything", "time")
async def what_does_not_exist_is_refused(w: World) -> None:
    """Unknown tools, resources and prompts are errors, and the connection goes on."""
    everything, time = await w.up("everything"), await w.up("time")
    assert "-32602" in await failed(everything.call("no-such-tool"))
    assert (await refused(time.call("no_such_tool"))).code == -32602
    assert (await refused(everything.read("demo://no/such"))).code in (
        {-32602} if everything.peer.era == "modern" else {-32602, -32002})
    assert (await refused(everything.prompt("no-such-prompt"))).code == -32602
    assert await everything.text("echo", {"message": "still here"}) == "Echo: still here"


@scenario(gateway_only=True)
async def names_outside_every_upstream_are_refused(w: World) -> None:
    """A name without a prefix, one with a strange prefix, and URIs likewise."""
    peer = await w.peer()
    for name in ("echo", "nobody__echo", "__echo", "everything", ""):
        assert (await refused(peer.call(name, {}))).code == -32602, name
    assert "-32602" in await failed(peer.call("everything__", {}))
    for uri in ("demo://resource/dynamic/text/1", "nobody+demo://resource/dynamic/text/1"):
        assert (await refused(peer.read(uri))).code in (-32602, -32002), uri
    assert (await refused(peer.prompt("simple-prompt"))).code == -32602
    ref = {"type": "ref/prompt", "name": "completable-prompt"}
    assert (await refused(peer.complete(ref, "department", "S"))).code == -32602


@scenario("everything", "time")
async def wrong_arguments_are_the_callers_failure(w: World) -> None:
    """What the upstream says of its arguments reaches the caller."""
    everything, time = await w.up("everything"), await w.up("time")
    assert "expected number" in await failed(everything.call("get-sum", {"a": "x"}))
    assert "timezone" in await failed(time.call("get_current_time"))


@scenario("everything", era="legacy")
async def ping_is_answered(w: World) -> None:
    """The legacy ping."""
    await (await w.up("everything")).peer.ping()


# What an upstream asks of its client


@scenario("everything")
async def sampling_reaches_the_client(w: World) -> None:
    """A legacy server samples the client's model inside a call."""
    up = await w.up("everything")
    told = await up.text("trigger-sampling-request", {"prompt": w.unique, "maxTokens": 77})
    assert SAMPLED["content"]["text"] in told and SAMPLED["model"] in told, told
    [params] = [params for method, params in up.peer.asked if method == "sampling/createMessage"]
    assert w.unique in json.dumps(params["messages"]) and params["maxTokens"] == 77, params
    assert params["systemPrompt"] == "You are a helpful test server.", params


@scenario("everything")
async def a_refused_sampling_ends_the_call(w: World) -> None:
    """The user says no: the call fails in words, and the next one works."""
    w.answers.sample = lambda _: Refused(-1, "the user said no", None)
    up = await w.up("everything")
    assert "the user said no" in await failed(up.call("trigger-sampling-request", {"prompt": "p"}))
    assert await up.text("get-sum", {"a": 1, "b": 1}) == "The sum of 1 and 1 is 2."


@scenario("everything")
async def elicitation_reaches_the_client(w: World) -> None:
    """A form is accepted with content, declined, and cancelled."""
    up = await w.up("everything")
    told = await up.text("trigger-elicitation-request")
    assert "- Name: Ann" in told and "- Favorite Integer: 7" in told, told
    [params] = [params for method, params in up.peer.asked if method == "elicitation/create"]
    assert params["requestedSchema"]["properties"]["titledSingleSelectEnum"]["oneOf"][0]["const"] == "hero-1"
    w.answers.elicit = lambda _: {"action": "decline"}
    assert "User declined" in await up.text("trigger-elicitation-request")
    w.answers.elicit = lambda _: {"action": "cancel"}
    assert "User cancelled" in await up.text("trigger-elicitation-request")


@scenario("everything")
async def url_elicitation_reaches_the_client(w: World) -> None:
    """The client is sent to a URL."""
    up = await w.up("everything")
    told = await up.text("trigger-url-elicitation", {"url": "https://example.com/go", "elicitationId": w.unique})
    assert "completed the URL elicitation" in told, told
    [params] = [params for method, params in up.peer.asked if method == "elicitation/create"]
    assert params["mode"] == "url" and params["url"] == "https://example.com/go", params


@scenario("everything", era="legacy")
async def a_required_url_elicitation_is_told_as_an_error(w: World) -> None:
    """Error -32042 keeps its data."""
    up = await w.up("everything")
    args = {"url": f"https://example.com/{w.unique}", "errorPath": True}
    refusal = await refused(up.call("trigger-url-elicitation", args))
    assert refusal.code == -32042, refusal
    assert refusal.data["elicitations"][0]["mode"] == "url", refusal.data


@scenario("everything")
async def roots_reach_the_upstream(w: World) -> None:
    """server-everything learns this client's roots."""
    up = await w.up("everything")
    told = await up.text("get-roots-list")
    assert "e2e root" in told and w.answers.roots[0]["uri"] in told, told


@scenario("everything")
async def each_client_keeps_its_own_roots(w: World) -> None:
    """server-everything remembers roots; the second client must not be shown those of the first."""
    mine = answers(w.setting, roots=[{"uri": f"file:///{w.unique}/mine", "name": "mine"}])
    yours = answers(w.setting, roots=[{"uri": f"file:///{w.unique}/yours", "name": "yours"}])
    async with w.another(mine) as a, w.another(yours) as b:
        first, second = await a.up("everything"), await b.up("everything")
        for _ in range(2):
            told = await first.text("get-roots-list")
            assert "/mine" in told and "/yours" not in told, told
            told = await second.text("get-roots-list")
            assert "/yours" in told and "/mine" not in told, told


@scenario("everything")
async def two_clients_asked_at_once_answer_for_themselves(w: World) -> None:
    """Both hold a call open in the same upstream; neither gets the other's answer."""
    both_asked = [anyio.Event(), anyio.Event()]

    async def one(me: int, name: str) -> None:
        def answer(_: Json) -> Json:
            both_asked[me].set()
            return {"action": "accept", "content": {"name": name}}

        async with w.another(answers(w.setting, elicit=answer)) as world:
            up = await world.up("everything")
            for _ in range(5):
                told = await up.text("trigger-elicitation-request")
                assert f"- Name: {name}\n" in told + "\n", f"{name} was told {told}"

    async with anyio.create_task_group() as group:
        group.start_soon(one, 0, f"Ann{w.unique}")
        group.start_soon(one, 1, f"Bob{w.unique}")
    assert all(event.is_set() for event in both_asked)


@scenario("everything")
async def one_client_is_asked_in_many_calls_at_once(w: World) -> None:
    """Several calls of one client are open and asking; each gets the answer to its own question."""
    def answer(params: Json) -> Json:
        said = params["messages"][0]["content"]["text"].split("context: ")[1]
        return {**SAMPLED, "content": {"type": "text", "text": f"to {said}!"}}

    w.answers.sample = answer
    up = await w.up("everything")

    async def one(word: str) -> None:
        told = await up.text("trigger-sampling-request", {"prompt": word})
        assert f"to {word}!" in told, f"{word} was told {told}"

    async with anyio.create_task_group() as group:
        for i in range(6):
            group.start_soon(one, f"word{i}")


@scenario("everything", "asker")
async def a_client_without_capabilities_is_never_asked(w: World) -> None:
    """The call fails in words; nothing hangs and the client sees no request."""
    async with w.another(None) as shy:
        everything, asker = await shy.up("everything"), await shy.up("asker")
        for tool, args in (("trigger-elicitation-request", {}), ("trigger-sampling-request", {"prompt": "p"})):
            await failed(everything.call(tool, args))
        for tool in ("greet", "compose", "where"):
            await failed(asker.call(tool))
        assert await everything.text("echo", {"message": "fine"}) == "Echo: fine"


@scenario("asker")
async def a_modern_upstream_asks_the_client(w: World) -> None:
    """Elicitation, sampling and roots; one round, two rounds, and three questions in one round."""
    up = await w.up("asker")
    assert await up.text("greet") == "hello Ann"
    assert await up.text("paint") == "Ann paints it red"
    assert await up.text("compose") == "e2e-model wrote sampled words"
    assert await up.text("where") == w.answers.roots[0]["uri"]
    assert await up.text("survey") == "Ann, e2e-model, 1"
    asked = [method for method, _ in up.peer.asked]
    assert asked.count("elicitation/create") == 4, asked
    assert asked.count("sampling/createMessage") == 2 and asked.count("roots/list") == 2, asked


@scenario("asker")
async def a_modern_upstream_hears_a_refusal(w: World) -> None:
    """A declined form and a refused sampling end the call in words, and the next one works."""
    w.answers.elicit = lambda _: {"action": "decline"}
    w.answers.sample = lambda _: Refused(-1, "the user said no", None)
    up = await w.up("asker")
    await failed(up.call("greet"))
    await failed(up.call("compose"))
    assert await up.text("count", {"to": 1}) == "counted to 1"


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


@scenario("everything")
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


@scenario("everything")
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
        assert await watch.next() == ("updated", up.uri("asker://counter"))
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
