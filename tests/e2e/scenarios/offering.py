"""What the upstreams offer: lists, tools, resources, prompts, completion, and the errors of each."""

import dataclasses
import json

import anyio

from peer import Json
from scenarios.registry import failed, refused, scenario
from world import UPSTREAMS, View, World

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
        w.setting, port=None, kind="legacy-1.30" if "1.30" in w.setting.kind else "auto-2.3")
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
