"""A plain socket that speaks JSON lines: no SDK, so that a scenario can say exactly which bytes go."""

import json
import socket
import threading
import time

ANSWER_S_MAX = 20.0
VERSION = "2025-11-25"
MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
          "io.modelcontextprotocol/clientCapabilities": {},
          "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"}}


class Closed(Exception):
    """The gateway closed the connection."""


class Lines:
    """One connection. Everything that was read stays in `seen`, in order."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_S_MAX)
        self.seen: list = []
        self.at = 0
        self._rest = b""
        self._ids = iter(range(1, 10_000_000))

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self, text: str | bytes) -> None:
        self.raw((text.encode() if isinstance(text, str) else text) + b"\n")

    def send(self, message: object) -> None:
        self.line(json.dumps(message))

    def next(self) -> object:
        """The next message, of whatever kind."""
        while b"\n" not in self._rest:
            data = self.socket.recv(1 << 20)
            if not data:
                raise Closed(f"closed by the gateway; before: {self._rest[:200]!r}")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        message = json.loads(line)
        self.seen.append(message)
        return message

    def answer(self) -> object:
        """The next message that is no notification of the gateway."""
        while True:
            message = self.next()
            if not (isinstance(message, dict) and "method" in message):
                return message

    def ask(self, method: str, params: dict | None = None) -> dict:
        """A request and its answer; whatever else comes first stays in `seen`."""
        ident = self.begin(method, params)
        deadline = time.monotonic() + ANSWER_S_MAX
        while time.monotonic() < deadline:
            message = self.next()
            if isinstance(message, dict) and message.get("id") == ident and "method" not in message:
                return message
        raise TimeoutError(f"no answer to {method}")

    def begin(self, method: str, params: dict | None = None) -> int:
        ident = next(self._ids)
        self.send({"jsonrpc": "2.0", "id": ident, "method": method, **({} if params is None else {"params": params})})
        return ident

    def call(self, tool: str, arguments: dict | None = None) -> dict:
        return self.ask("tools/call", {"name": tool, "arguments": arguments or {}})

    def initialize(self, version: str = VERSION) -> dict:
        answer = self.ask("initialize", {"protocolVersion": version, "capabilities": {},
                                         "clientInfo": {"name": "e2e", "version": "1"}})
        assert answer["result"]["protocolVersion"] == version, answer
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer["result"]

    def alive(self) -> None:
        """The connection goes on: a ping is answered."""
        assert self.ask("ping").get("result") == {}, "no answer to ping"


def text_of(answer: dict) -> str:
    """A good call's text."""
    assert "result" in answer and not answer["result"].get("isError"), answer
    return "".join(part.get("text", "") for part in answer["result"]["content"])


def is_failure(answer: dict) -> bool:
    return "error" in answer or bool(answer["result"].get("isError"))


class Steady(threading.Thread):
    """Calls one tool without pause on its own connection, and counts what goes wrong."""

    def __init__(self, port: int, tool: str, arguments: dict, expect: str) -> None:
        super().__init__(daemon=True)
        self.tool, self.arguments, self.expect = tool, arguments, expect
        self.done = 0
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self._ending = threading.Event()
        self.lines = Lines(port)
        self.lines.initialize()

    def run(self) -> None:
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                answer = self.lines.call(self.tool, self.arguments)
                if is_failure(answer) or self.expect not in json.dumps(answer):
                    self.wrong.append(json.dumps(answer)[:200])
            except Exception as error:  # any failure of the neighbour is what we look for
                self.wrong.append(f"{type(error).__name__}: {error}")
                return
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.done += 1

    def end(self) -> None:
        """Makes no further call, and waits for the one under way."""
        self._ending.set()
        self.join(ANSWER_S_MAX)
        self.lines.socket.close()

    def finish(self) -> None:
        """Ends, and wants that nothing went wrong."""
        self.end()
        assert not self.wrong, f"a neighbour noticed: {self.wrong[:3]}"
        assert self.done, "the neighbour made no call"
