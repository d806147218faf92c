"""Several servers of one upstream under load, while they are killed, paused, slowed and replaced: whatever some of them
can serve is answered, once. Counted are calls of a tool that may be made twice; for others the gateway cannot know."""

import os
import signal
import sys
import time

from lines import Steady
from several import QUICK, House
from stage import Stage

CALLERS = 8
ANSWERED_MIN = 0.9999
# How long each state lasts: longer than the limits below, so that the gateway has to act and not only to wait.
STATE_S = 2.5
LIMITS = 'request = "5s"\nattempt = "500ms"\nbreaker_open = "1s"\nhealth = "1s"\nhealth_wait = "500ms"\n'


def endpoint(word: str, slow: str) -> str:
    args = ", ".join(f'"{arg}"' for arg in [*QUICK, word, "--slow", slow])
    return f'[[upstreams.both.endpoints]]\ncommand = "{sys.executable}"\nargs = [{args}]\n'


def config(words: list[str], slow: str) -> str:
    ends = "".join(endpoint(word, slow if word == words[0] else "/nonexistent") for word in words)
    return f'{LIMITS}[upstreams.both]\nselect = "adaptive"\nidempotent = ["echo"]\n{ends}'


def what_some_server_can_serve_is_answered(binary: str, stage: Stage) -> str:
    """Three servers; a round kills one, pauses the next, slows the third and replaces one of them."""
    slow = stage.dir / "trouble-slow"
    words = ["one", "two", "three"]
    front = House(binary, stage.dir / "trouble", config(words, str(slow)))
    try:
        callers = [Steady(front.port, "echo", {"text": f"load {n}"}, f"load {n}") for n in range(CALLERS)]
        for caller in callers:
            caller.start()
        told: list[str] = []

        def meanwhile(what: str) -> None:
            """Lets a state last, and wants that calls went on."""
            before = sum(caller.done for caller in callers)
            time.sleep(STATE_S)
            told.append(f"{what} {sum(caller.done for caller in callers) - before}")

        for number in range(2):
            os.kill(front.child("two"), signal.SIGKILL)
            meanwhile("killed")
            paused = front.child("three" if number == 0 else "four")
            os.kill(paused, signal.SIGSTOP)
            meanwhile("paused")
            os.kill(paused, signal.SIGCONT)
            slow.touch()
            meanwhile("slowed")
            slow.unlink()
            words[2] = ["four", "five"][number]
            head = front.path.read_text().partition(LIMITS)[0]
            front.path.write_text(head + config(words, str(slow)))
            front.process.send_signal(signal.SIGHUP)
            front.child(words[2])
            meanwhile("replaced")
        for caller in callers:
            caller.end()
            answered = [it["id"] for it in caller.lines.seen if "method" not in it]
            assert len(set(answered)) == len(answered), "a call was answered twice"
        wrong = [why for caller in callers for why in caller.wrong]
        made = sum(caller.done for caller in callers)
        assert made and 1 - len(wrong) / made >= ANSWERED_MIN, f"{len(wrong)} of {made} were not answered: {wrong[:3]}"
        assert all(int(state.split()[1]) > 0 for state in told), told
        slowest = max(caller.slowest_s for caller in callers)
        return f"{made} calls, {len(wrong)} not answered, slowest {slowest:.1f} s; {', '.join(told)}"
    finally:
        front.stop()


ALL = {f"trouble/{check.__name__.replace('_', '-')}": check for check in (what_some_server_can_serve_is_answered,)}
