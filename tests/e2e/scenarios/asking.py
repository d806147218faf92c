"""What an upstream asks of its client: sampling, elicitation and roots, in every combination of eras."""

import json

import anyio

from peer import Json, Refused
from scenarios.registry import failed, refused, scenario
from world import SAMPLED, World, answers


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
    assert asked.count("sampling/createMessage") == 2, asked
    # The other servers behind the gateway ask for roots on their own account.
    assert asked.count("roots/list") >= 2, asked


@scenario("asker")
async def a_modern_upstream_hears_a_refusal(w: World) -> None:
    """A declined form and a refused sampling end the call in words, and the next one works."""
    w.answers.elicit = lambda _: {"action": "decline"}
    w.answers.sample = lambda _: Refused(-1, "the user said no", None)
    up = await w.up("asker")
    await failed(up.call("greet"))
    await failed(up.call("compose"))
    assert await up.text("count", {"to": 1}) == "counted to 1"
