"""Upstreams that misbehave: what they do costs their own calls at most, and nobody else anything."""

import sys
import time

from death import one_error_each
from lines import Lines, Steady, is_failure, text_of
from stage import HERE, Gateway, Stage

QUICK = str(HERE / "servers" / "quick.py")


class Rogue:
    """A gateway with a rogue and a steady upstream, and somebody who calls the steady one."""

    def __init__(self, binary: str, stage: Stage) -> None:
        self.gateway = Gateway(binary, stage.dir / "rogue", {
            "rogue": {"command": sys.executable, "args": [QUICK, "rogue"]},
            "steady": {"command": sys.executable, "args": [QUICK, "steady"]}})

    def __enter__(self) -> Lines:
        try:
            self.gateway.wait_ready()
            self.beside = Steady(self.gateway.port, "steady__echo", {"text": "steady"}, "steady")
            self.beside.start()
            self.lines = Lines(self.gateway.port)
            self.lines.initialize()
            text_of(self.lines.call("rogue__echo", {"text": "before"}))
        except BaseException:
            self.gateway.stop()
            raise
        return self.lines

    def __exit__(self, kind: object, *_: object) -> None:
        self.lines.socket.close()
        try:
            if kind is None:
                self.beside.finish()
        finally:
            wrong = self.gateway.stop()
        assert kind is not None or wrong is None, wrong


def answered_once(binary: str, stage: Stage, tool: str) -> None:
    """The tool's own call is answered once, rightly or with an error, and the upstream is of use afterwards."""
    with Rogue(binary, stage) as lines:
        begun = lines.begin("tools/call", {"name": f"rogue__{tool}", "arguments": {"text": "right"}})
        echo = lines.call("rogue__echo", {"text": "after"})
        answers = [m for m in lines.seen if isinstance(m, dict) and m.get("id") == begun and "method" not in m]
        while not answers:
            message = lines.next()
            answers = [message] if isinstance(message, dict) and message.get("id") == begun else []
        lines.alive()
        answers = [m for m in lines.seen if isinstance(m, dict) and m.get("id") == begun and "method" not in m]
        assert len(answers) == 1, f"{len(answers)} answers: {answers}"
        assert is_failure(answers[0]) or text_of(answers[0]) == "right", answers[0]
        if is_failure(echo):  # the gateway may give a rogue up; then it must start it again
            returns(lines)
        else:
            assert text_of(echo) == "after", echo
        strangers = [m for m in lines.seen if isinstance(m, dict) and m.get("id") in (987_654_321, "nor this")]
        assert not strangers, f"an answer that nobody asked for came through: {strangers}"


def returns(lines: Lines) -> None:
    deadline = time.monotonic() + 30
    while is_failure(lines.call("rogue__echo", {"text": "again"})):
        assert time.monotonic() < deadline, "the upstream did not return"
        time.sleep(0.01)


def one_that_answers_twice(binary: str, stage: Stage) -> None:
    answered_once(binary, stage, "twice")


def one_that_answers_an_unknown_id(binary: str, stage: Stage) -> None:
    answered_once(binary, stage, "unknown_id")


def one_that_writes_garbage(binary: str, stage: Stage) -> None:
    answered_once(binary, stage, "garbage")


def one_that_floods(binary: str, stage: Stage) -> None:
    answered_once(binary, stage, "flood")


def one_that_dies_in_the_middle_of_a_line(binary: str, stage: Stage) -> None:
    dies(binary, stage, "half")


def one_that_dies_in_a_call(binary: str, stage: Stage) -> None:
    dies(binary, stage, "die")


def dies(binary: str, stage: Stage, tool: str) -> None:
    """Calls that hang with it and the one that kills it get one error each; then it returns."""
    with Rogue(binary, stage) as lines:
        begun = [lines.begin("tools/call", {"name": "rogue__hang", "arguments": {}}) for _ in range(5)]
        begun.append(lines.begin("tools/call", {"name": f"rogue__{tool}", "arguments": {}}))
        one_error_each(lines, begun)
        returns(lines)


def one_that_hangs(binary: str, stage: Stage) -> None:
    """A call that is never answered holds up no other call to the same upstream."""
    with Rogue(binary, stage) as lines:
        lines.begin("tools/call", {"name": "rogue__hang", "arguments": {}})
        for i in range(50):
            assert text_of(lines.call("rogue__echo", {"text": f"{i}"})) == f"{i}"


ALL = {f"rogue/{check.__name__.replace('_', '-')}": check for check in (
    one_that_answers_twice,
    one_that_answers_an_unknown_id,
    one_that_writes_garbage,
    one_that_floods,
    one_that_dies_in_the_middle_of_a_line,
    one_that_dies_in_a_call,
    one_that_hangs,
)}
