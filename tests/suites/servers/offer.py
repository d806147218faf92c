"""What the everything server offers. The names, and what is said about them, are the suite's.

A tool is a function of the client and the arguments; what it asks the client, it asks through
questions.py, so that each is written once for both eras.
"""

import base64
import dataclasses
import json
import re
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp import types
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import PromptsListChanged, ResourceUpdated, ToolsListChanged

from questions import Client, dumped, elicit, roots, sample

Json = dict[str, Any]
BUS = InMemorySubscriptionBus()
# What legacy clients subscribed to.
watched: set[str] = set()
# The suite wants a client to see several messages of one call arrive apart.
APART_S = 0.05
WORD = {"type": "string"}
NOTHING: Json = {"type": "object", "properties": {}}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def _png() -> bytes:
    """One red pixel."""
    head = (1).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    pixel = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixel) + _chunk(b"IEND", b"")


def _wav() -> bytes:
    """Eight silent samples."""
    fmt = b"fmt " + (16).to_bytes(4, "little") + b"\1\0\1\0" + (8000).to_bytes(4, "little") * 2 + b"\1\0\x08\0"
    data = b"data" + (8).to_bytes(4, "little") + b"\x80" * 8
    return b"RIFF" + (4 + len(fmt) + len(data)).to_bytes(4, "little") + b"WAVE" + fmt + data


PNG = base64.b64encode(_png()).decode()
WAV = base64.b64encode(_wav()).decode()


def text(words: str) -> list:
    return [types.TextContent(type="text", text=words)]


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, mime_type: str, words: str) -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=words)
    return types.EmbeddedResource(type="resource", resource=contents)


@dataclasses.dataclass
class Tool:
    shown: types.Tool
    run: Callable[[Client, Json], Awaitable[list]]


@dataclasses.dataclass
class Prompt:
    shown: types.Prompt
    run: Callable[[Client, Json], Awaitable[list[types.PromptMessage]]]


TOOLS: dict[str, Tool] = {}
PROMPTS: dict[str, Prompt] = {}


def tool(schema: Json = NOTHING) -> Callable:
    def register(run: Callable) -> Callable:
        shown = types.Tool(name=run.__name__, description=run.__doc__, input_schema=schema)
        TOOLS[run.__name__] = Tool(shown, run)
        return run

    return register


def prompt(*arguments: str) -> Callable:
    def register(run: Callable) -> Callable:
        named = [types.PromptArgument(name=name, description=f"The {name}.", required=True) for name in arguments]
        PROMPTS[run.__name__] = Prompt(
            types.Prompt(name=run.__name__, description=run.__doc__, arguments=named), run)
        return run

    return register


# Plain results.

@tool()
async def test_simple_text(_client: Client, _arguments: Json) -> list:
    """Returns one text."""
    return text("This is a simple text response for testing.")


@tool()
async def test_image_content(_client: Client, _arguments: Json) -> list:
    """Returns one image."""
    return [image()]


@tool()
async def test_audio_content(_client: Client, _arguments: Json) -> list:
    """Returns one sound."""
    return [types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


@tool()
async def test_embedded_resource(_client: Client, _arguments: Json) -> list:
    """Returns a resource inside its result."""
    return [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


@tool()
async def test_multiple_content_types(_client: Client, _arguments: Json) -> list:
    """Returns a text, an image and a resource."""
    return [*text("Multiple content types test:"), image(),
            embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')]


@tool()
async def test_error_handling(_client: Client, _arguments: Json) -> list:
    """Fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


@tool({"type": "object", "properties": {"region": {**WORD, "x-mcp-header": "Region"}}, "required": ["region"]})
async def test_x_mcp_header(_client: Client, arguments: Json) -> list:
    """Takes an argument that HTTP clients repeat in a header."""
    return text(f"region {arguments.get('region')}")


@tool({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": WORD, "city": WORD}}},
    "properties": {
        "name": WORD,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": WORD,
        "email": WORD,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
})
async def json_schema_2020_12_tool(_client: Client, arguments: Json) -> list:
    """Has a schema with words that a proxy might lose."""
    return text(json.dumps(arguments))


# What is said during a call.

async def _log(client: Client, words: str) -> None:
    await client.ctx.session.send_log_message("info", words, related_request_id=client.ctx.request_id)


@tool()
async def test_tool_with_logging(client: Client, _arguments: Json) -> list:
    """Logs three lines."""
    for words in ("started", "processing", "completed"):
        await _log(client, f"Tool execution {words}")
        await anyio.sleep(APART_S)
    return text("Tool with logging executed successfully")


@tool()
async def test_logging_tool(client: Client, _arguments: Json) -> list:
    """Logs one line, which goes out only if the request asks for logs."""
    await _log(client, "logged")
    return text("logged")


@tool()
async def test_tool_with_progress(client: Client, _arguments: Json) -> list:
    """Reports 0, 50 and 100 of 100."""
    for done in (0, 50, 100):
        await client.ctx.session.report_progress(done, 100, f"{done} of 100")
        await anyio.sleep(APART_S)
    return text("Tool with progress executed successfully")


@tool()
async def test_reconnection(client: Client, _arguments: Json) -> list:
    """Closes the stream that its caller waits on, and finishes a little later."""
    await _log(client, "before the stream is closed")
    if client.ctx.close_sse_stream is not None:
        await client.ctx.close_sse_stream()
    await anyio.sleep(2 * APART_S)
    await _log(client, "after the stream was closed")
    return text("Reconnection test completed")


@tool()
async def test_lingering(client: Client, _arguments: Json) -> list:
    """Reports progress once and never ends; cancel it."""
    await client.ctx.session.report_progress(0)
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        cancelled.append(str(client.ctx.request_id))
        raise


cancelled: list[str] = []


@tool()
async def test_cancelled_count(_client: Client, _arguments: Json) -> list:
    """How many lingering calls were cancelled."""
    return text(str(len(cancelled)))


# What the client is asked.

@tool({"type": "object", "properties": {"prompt": WORD}, "required": ["prompt"]})
async def test_sampling(client: Client, arguments: Json) -> list:
    """Asks the client's model."""
    answers = await client.ask({"completion": sample(arguments["prompt"])})
    return text(f"LLM response: {said(answers['completion'])}")


def said(answer: types.CreateMessageResult) -> str:
    return getattr(answer.content, "text", "")


async def _form(client: Client, message: str, properties: Json, key: str = "form") -> list:
    answers = await client.ask({key: elicit(message, properties, list(properties))})
    answer = answers[key]
    return text(f"User response: action={answer.action}, content={json.dumps(answer.content or {})}")


@tool({"type": "object", "properties": {"message": WORD}, "required": ["message"]})
async def test_elicitation(client: Client, arguments: Json) -> list:
    """Asks the user for a name and an address."""
    return await _form(client, arguments["message"], {
        "username": {**WORD, "description": "User's response"},
        "email": {**WORD, "description": "User's email address"}})


@tool()
async def test_streaming_elicitation(client: Client, _arguments: Json) -> list:
    """Reports progress, then asks the user."""
    await client.ctx.session.report_progress(0, 1)
    return await _form(client, "Go on?", {"ok": {"type": "boolean"}})


@tool()
async def test_elicitation_sep1034_defaults(client: Client, _arguments: Json) -> list:
    """Asks with a default for every kind of field."""
    return await _form(client, "Review and update", {
        "name": {**WORD, "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {**WORD, "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True}})


def _titled(*pairs: str) -> list[Json]:
    return [{"const": value, "title": value.capitalize()} for value in pairs]


@tool()
async def test_elicitation_sep1330_enums(client: Client, _arguments: Json) -> list:
    """Asks with every way to spell a choice."""
    options = ["option1", "option2", "option3"]
    values = ["value1", "value2", "value3"]
    return await _form(client, "Choose", {
        "untitledSingle": {**WORD, "enum": options},
        "titledSingle": {**WORD, "oneOf": _titled(*values)},
        "legacyEnum": {**WORD, "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
        "untitledMulti": {"type": "array", "items": {**WORD, "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": _titled(*values)}}})


@tool()
async def test_missing_capability(client: Client, _arguments: Json) -> list:
    """Cannot work for a client without sampling."""
    client.need("sampling")
    return text("the client can sample")


NAME = elicit("What is your name?", {"name": WORD}, ["name"])
CONFIRM = elicit("Please confirm", {"ok": {"type": "boolean"}}, ["ok"])


@tool()
async def test_input_required_result_elicitation(client: Client, _arguments: Json) -> list:
    """Asks for a name."""
    answers = await client.ask({"user_name": NAME})
    return text(f"Hello, {(answers['user_name'].content or {}).get('name', 'nobody')}!")


@tool()
async def test_input_required_result_sampling(client: Client, _arguments: Json) -> list:
    """Asks the client's model a question."""
    answers = await client.ask({"capital_question": sample("What is the capital of France?")})
    return text(said(answers["capital_question"]))


@tool()
async def test_input_required_result_list_roots(client: Client, _arguments: Json) -> list:
    """Asks for the client's roots."""
    answers = await client.ask({"client_roots": roots()})
    return text(" ".join(str(root.uri) for root in answers["client_roots"].roots))


@tool()
async def test_input_required_result_request_state(client: Client, _arguments: Json) -> list:
    """Asks to confirm, and carries a state."""
    await client.ask({"confirm": CONFIRM}, keep=True)
    return text("state-ok")


@tool()
async def test_input_required_result_tampered_state(client: Client, _arguments: Json) -> list:
    """Asks to confirm, and carries a state that is refused when it was altered."""
    await client.ask({"confirm": CONFIRM}, keep=True)
    return text("state-ok")


@tool()
async def test_input_required_result_multiple_inputs(client: Client, _arguments: Json) -> list:
    """Asks for three things at once."""
    answers = await client.ask({
        "user_name": NAME, "greeting": sample("Generate a greeting", 50), "client_roots": roots()}, keep=True)
    return text(json.dumps({key: dumped(answer) for key, answer in answers.items()}))


@tool()
async def test_input_required_result_multi_round(client: Client, _arguments: Json) -> list:
    """Asks twice, one after the other."""
    first = await client.ask({"step1": elicit("Step 1: What is your name?", {"name": WORD}, ["name"])}, keep=True)
    second = await client.ask(
        {"step2": elicit("Step 2: What is your favorite color?", {"color": WORD}, ["color"])}, keep=True)
    return text(f"{first['step1'].content} {second['step2'].content}")


@tool()
async def test_input_required_result_capabilities(client: Client, _arguments: Json) -> list:
    """Asks for what this client can answer, and for nothing else."""
    able = {"user_name": ("elicitation", NAME), "greeting": ("sampling", sample("Generate a greeting", 50)),
            "client_roots": ("roots", roots())}
    answers = await client.ask({key: asks for key, (can, asks) in able.items() if client.can(can)})
    return text(", ".join(answers))


# What changes.

@tool()
async def test_trigger_tool_change(client: Client, _arguments: Json) -> list:
    """Adds a tool, or takes it away again, and says so."""
    if TOOLS.pop("test_dynamic_tool", None) is None:
        shown = types.Tool(name="test_dynamic_tool", description="Comes and goes.", input_schema=NOTHING)
        TOOLS["test_dynamic_tool"] = Tool(shown, test_simple_text)
    await BUS.publish(ToolsListChanged())
    if not client.is_modern:
        await client.ctx.session.send_tool_list_changed()
    return text("changed")


@tool()
async def test_trigger_prompt_change(client: Client, _arguments: Json) -> list:
    """Adds a prompt, or takes it away again, and says so."""
    if PROMPTS.pop("test_dynamic_prompt", None) is None:
        shown = types.Prompt(name="test_dynamic_prompt", description="Comes and goes.")
        PROMPTS["test_dynamic_prompt"] = Prompt(shown, test_simple_prompt)
    await BUS.publish(PromptsListChanged())
    if not client.is_modern:
        await client.ctx.session.send_prompt_list_changed()
    return text("changed")


@tool({"type": "object", "properties": {"uri": WORD}, "required": ["uri"]})
async def test_trigger_resource_update(client: Client, arguments: Json) -> list:
    """Says that a resource changed, to those who watch it."""
    uri = arguments["uri"]
    await BUS.publish(ResourceUpdated(uri=uri))
    if not client.is_modern and uri in watched:
        await client.ctx.session.send_resource_updated(uri)
    return text("updated")


# Prompts.

def user(content: Any) -> types.PromptMessage:
    return types.PromptMessage(role="user", content=content)


@prompt()
async def test_simple_prompt(_client: Client, _arguments: Json) -> list[types.PromptMessage]:
    """Says one thing."""
    return [user(part) for part in text("This is a simple prompt for testing.")]


@prompt("arg1", "arg2")
async def test_prompt_with_arguments(_client: Client, arguments: Json) -> list[types.PromptMessage]:
    """Says what it was given."""
    words = f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'"
    return [user(part) for part in text(words)]


@prompt("resourceUri")
async def test_prompt_with_embedded_resource(_client: Client, arguments: Json) -> list[types.PromptMessage]:
    """Brings a resource along."""
    content = embedded(arguments["resourceUri"], "text/plain", "Embedded resource content for testing.")
    return [user(content), *(user(part) for part in text("Please process the embedded resource above."))]


@prompt()
async def test_prompt_with_image(_client: Client, _arguments: Json) -> list[types.PromptMessage]:
    """Brings an image along."""
    return [user(image()), *(user(part) for part in text("Please analyze the image above."))]


@prompt()
async def test_input_required_result_prompt(client: Client, _arguments: Json) -> list[types.PromptMessage]:
    """Asks the user for its context."""
    answers = await client.ask(
        {"user_context": elicit("What context should the prompt use?", {"context": WORD}, ["context"])})
    return [user(part) for part in text(f"context: {answers['user_context'].content}")]


# Resources.

RESOURCES = [
    types.Resource(uri="test://static-text", name="static-text", description="A text.", mime_type="text/plain"),
    types.Resource(uri="test://static-binary", name="static-binary", description="An image.", mime_type="image/png"),
    types.Resource(uri="test://watched-resource", name="watched-resource", description="One to subscribe to.",
                   mime_type="text/plain"),
]
TEMPLATES = [types.ResourceTemplate(uri_template="test://template/{id}/data", name="template",
                                    description="Data by id.", mime_type="application/json")]
WORDS = {"test://static-text": "This is the content of the static text resource.",
         "test://watched-resource": "Watched resource content"}


def read(uri: str) -> types.TextResourceContents | types.BlobResourceContents | None:
    """The contents behind a URI; none if there is no such resource."""
    if uri in WORDS:
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text=WORDS[uri])
    if uri == "test://static-binary":
        return types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    if found := re.fullmatch(r"test://template/([^/]+)/data", uri):
        data = {"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"}
        return types.TextResourceContents(uri=uri, mime_type="application/json", text=json.dumps(data))
    return None


def complete(value: str) -> list[str]:
    """Words that begin with what was typed."""
    return [word for word in ("paris", "park", "party") if word.startswith(value)]
