"""How a tool asks its client back, written once for both eras.

A legacy session is asked at once, over its own connection, and the tool waits. A modern request is
answered `input_required`; when the client calls again, the tool runs from its beginning and finds the
answers that were given so far. A tool is therefore written as if it could simply wait.
"""

import json
from typing import Any

import anyio
from mcp import MCPError, types
from mcp.server.context import ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

MISSING_CAPABILITY = -32021
Answer = types.ElicitResult | types.CreateMessageResult | types.ListRootsResult
# What must come back for a question, and what the client must have declared to be asked it.
KINDS: dict[str, tuple[type, str]] = {
    "elicitation/create": (types.ElicitResult, "elicitation"),
    "sampling/createMessage": (types.CreateMessageResult, "sampling"),
    "roots/list": (types.ListRootsResult, "roots"),
}


class InputRequired(Exception):
    """The tool cannot go on before the client has answered; the handler returns `result`."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("input required")
        self.result = result


def elicit(message: str, properties: dict[str, Any], required: list[str] | None = None) -> types.ElicitRequest:
    schema = {"type": "object", "properties": properties, "required": required or []}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str, max_tokens: int = 100) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def roots() -> types.ListRootsRequest:
    return types.ListRootsRequest(params=types.RequestParams())


class Client:
    """The client behind one call: what it can do, and what it has answered."""

    def __init__(self, ctx: ServerRequestContext, params: types.InputResponseRequestParams) -> None:
        self.ctx = ctx
        # The state is sealed by the server's boundary: what arrives here is what we gave out.
        kept = json.loads(params.request_state) if params.request_state else {}
        self.answers: dict[str, Any] = {**kept, **{
            key: dumped(answer) for key, answer in (params.input_responses or {}).items()}}

    @property
    def is_modern(self) -> bool:
        return self.ctx.protocol_version in MODERN_PROTOCOL_VERSIONS

    def can(self, capability: str) -> bool:
        declared = self.ctx.session.client_capabilities
        return declared is not None and getattr(declared, capability, None) is not None

    def need(self, capability: str) -> None:
        if not self.can(capability):
            raise MCPError(MISSING_CAPABILITY, f"the client did not declare {capability}",
                           {"requiredCapabilities": {capability: {}}})

    async def ask(self, questions: dict[str, types.InputRequest], keep: bool = False) -> dict[str, Any]:
        """The answers by key. `keep`: carry a `requestState` even when there is nothing to remember."""
        for question in questions.values():
            self.need(KINDS[question.method][1])
        if not self.is_modern:
            return await self._ask_now(questions)
        given = {key: answer for key, question in questions.items()
                 if (answer := understood(question, self.answers.get(key))) is not None}
        missing = {key: question for key, question in questions.items() if key not in given}
        if missing:
            known = {key: dumped(answer) for key, answer in given.items()}
            state = json.dumps({**self.earlier, **known}) if keep or known or self.earlier else None
            raise InputRequired(types.InputRequiredResult(input_requests=missing, request_state=state))
        self.earlier.update({key: dumped(answer) for key, answer in given.items()})
        return given

    @property
    def earlier(self) -> dict[str, Any]:
        """Answers of the rounds that this run has already passed."""
        return self.__dict__.setdefault("_earlier", {})

    async def _ask_now(self, questions: dict[str, types.InputRequest]) -> dict[str, Any]:
        answers: dict[str, Any] = {}

        async def one(key: str, question: types.InputRequest) -> None:
            plain = question.model_dump(by_alias=True, mode="json", exclude_none=True)
            # The session's own way has no place for an id. Ours is the question's key, so that a bridge can
            # name the question to a modern client as a modern server would; unless it is in use.
            channel = self.ctx.session._request_outbound
            try:
                answer = await channel.send_raw_request(question.method, plain.get("params"), {"request_id": key})
            except ValueError:
                answer = await channel.send_raw_request(question.method, plain.get("params"))
            answers[key] = KINDS[question.method][0].model_validate(answer)

        async with anyio.create_task_group() as group:
            for key, question in questions.items():
                group.start_soon(one, key, question)
        return answers


def dumped(answer: Any) -> Any:
    return answer.model_dump(by_alias=True, mode="json", exclude_none=True)


def understood(question: types.InputRequest, answer: Any) -> Answer | None:
    """An answer of the kind that the question asks for; what is of another kind counts as none."""
    if answer is None:
        return None
    try:
        return KINDS[question.method][0].model_validate(answer)
    except ValueError:
        return None
