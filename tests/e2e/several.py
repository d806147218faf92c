"""Several endpoints of one upstream: what dies costs no read and no idempotent call, and gets its share again."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from lines import Lines, Steady, is_failure, text_of
from stage import HERE, READY_S_MAX, STOP_S_MAX, Stage, free_port

QUICK = [str(HERE / "servers" / "quick.py")]


class House:
    """A gateway with a configuration of its own, that can be killed and started again on the same ports."""

    def __init__(self, binary: str, folder: pathlib.Path, config: str, http: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        self.binary, self.path, self.log = binary, folder / "ringgate.toml", folder / "gateway.log"
        self.port, self.http_port = free_port(), free_port()
        listens = f'127.0.0.1:{self.http_port}' if http else "off"
        self.path.write_text(f'[tcp]\nlisten = "127.0.0.1:{self.port}"\n[http]\nlisten = "{listens}"\n'
                             f'[shards]\ncount = 1\n[limits]\ndrain = "1s"\n{config}')
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([self.binary, "serve", "--config", str(self.path)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_S_MAX
        while True:
            try:
                with Lines(self.port) as lines:
                    lines.initialize()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-600:]
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self.kill()

    def children(self, word: str) -> list[int]:
        """Pids of its children whose command line holds `word`."""
        found = []
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for pid in map(int, task.read_text().split()):
                try:
                    line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue  # it ended while we looked
                if word in line.split():
                    found.append(pid)
        return found

    def child(self, word: str) -> int:
        """The one child of that word, as soon as there is one."""
        deadline = time.monotonic() + READY_S_MAX
        while not (found := self.children(word)):
            assert time.monotonic() < deadline, f"no child runs {word}"
            time.sleep(0.02)
        return found[0]


def child(word: str, priority: int, *more: str) -> str:
    args = ", ".join(f'"{arg}"' for arg in [*QUICK, word, *more])
    return (f'[[upstreams.both.endpoints]]\ncommand = "{sys.executable}"\nargs = [{args}]\npriority = {priority}\n')


def answers_within(lines: Lines, ident: int, seconds: float) -> bool:
    """Whether a call under way is answered, with an error as it is, in that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lines.alive()
        mine = [m for m in lines.seen if isinstance(m, dict) and m.get("id") == ident and "method" not in m]
        if mine:
            assert is_failure(mine[0]), mine
            return True
        time.sleep(0.01)
    return False


def a_killed_server_behind_http_costs_no_read(binary: str, stage: Stage) -> str:
    """Two gateways with the built-in upstream are the endpoints; each is killed and comes back, under load."""
    backs = [House(binary, stage.dir / f"several-back-{n}", "", http=True) for n in range(2)]
    urls = "".join(f'[[upstreams.both.endpoints]]\nurl = "http://127.0.0.1:{back.http_port}/mcp"\n' for back in backs)
    front = House(binary, stage.dir / "several-front", f'[upstreams.both]\nidempotent = ["echo"]\n{urls}')
    try:
        with Lines(front.port) as lines:
            lines.initialize()
            assert text_of(lines.call("echo", {"message": "before"})) == "before"
            steady = [Steady(front.port, "echo", {"message": f"load {n}"}, f"load {n}") for n in range(4)]
            for thread in steady:
                thread.start()
            reads = 0
            for back in [backs[0], backs[1], backs[0]]:
                back.kill()
                for _ in range(50):
                    read = lines.ask("resources/read", {"uri": "ringgate://about"})
                    assert "result" in read, read
                    reads += 1
                back.start()
                # The other is next: it must have been found again by then.
                time.sleep(1)
            for thread in steady:
                thread.finish()
        calls = sum(thread.done for thread in steady)
        return f"{calls} calls and {reads} reads while three times one of two was killed"
    finally:
        front.stop()
        for back in backs:
            back.stop()


def a_killed_child_costs_no_idempotent_call(binary: str, stage: Stage) -> str:
    """Two children are the endpoints; one after the other is killed, six times, under load."""
    config = '[upstreams.both]\nidempotent = ["ec*"]\n' + child("one", 1) + child("two", 1)
    front = House(binary, stage.dir / "several-children", config)
    try:
        steady = [Steady(front.port, "echo", {"text": f"load {n}"}, f"load {n}") for n in range(4)]
        for thread in steady:
            thread.start()
        for round in range(6):
            os.kill(front.child("one" if round % 2 else "two"), signal.SIGKILL)
            # One that dies young is started ever more slowly, and here the other is next.
            time.sleep(1.5)
        for thread in steady:
            thread.finish()
        return f"{sum(thread.done for thread in steady)} calls while six children were killed"
    finally:
        front.stop()


def the_second_priority_serves_while_the_first_is_away(binary: str, stage: Stage) -> str:
    """Who has a call that hangs is seen by whose death ends it."""
    gate = stage.dir / "several-gate"
    gate.touch()
    config = "[upstreams.both]\n" + child("first", 1, "--gate", str(gate)) + child("second", 2)
    front = House(binary, stage.dir / "several-priorities", config)
    try:
        with Lines(front.port) as lines:
            lines.initialize()

            def hang() -> int:
                ident = lines.begin("tools/call", {"name": "hang", "arguments": {}})
                assert text_of(lines.call("echo", {"text": "behind it"})) == "behind it"
                return ident

            at_first = hang()
            gate.unlink()
            os.kill(front.child("first"), signal.SIGKILL)
            assert answers_within(lines, at_first, 5), "it was not at the first"
            for n in range(20):
                assert text_of(lines.call("echo", {"text": str(n)})) == str(n)
            at_second = hang()
            gate.touch()
            # It is a child before it is ready; it is tried every so often until then.
            deadline = time.monotonic() + READY_S_MAX
            while True:
                again = hang()
                time.sleep(0.3)
                for pid in front.children("first"):
                    os.kill(pid, signal.SIGKILL)
                if answers_within(lines, again, 1):
                    break
                assert time.monotonic() < deadline, "the first gets no calls any more"
            assert not answers_within(lines, at_second, 0.3), "a call was moved, or lost"
            os.kill(front.child("second"), signal.SIGKILL)
            assert answers_within(lines, at_second, 5), "it was not at the second"
        return ""
    finally:
        front.stop()


def most_of_three_decide_what_a_multiplexed_call_is_answered(binary: str, stage: Stage) -> None:
    """Three children are the endpoints; one of them says something else, then one is stopped, then one is gone."""
    gate = stage.dir / "several-quorum-gate"
    gate.touch()
    config = ('request = "3s"\n[upstreams.both]\nidempotent = ["ec*"]\nmultiplex = ["echo"]\n'
              + child("one", 1) + child("two", 1) + child("odd", 2, "--opinion", " or so", "--gate", str(gate)))
    front = House(binary, stage.dir / "several-quorum", config)

    def asked() -> list[dict]:
        return [lines.call("echo", {"text": str(n)}) for n in range(10)]

    try:
        with Lines(front.port) as lines:
            lines.initialize()
            one, odd = front.child("one"), front.child("odd")
            front.child("two")
            assert [text_of(answer) for answer in asked()] == [str(n) for n in range(10)]
            os.kill(odd, signal.SIGSTOP)
            assert [text_of(answer) for answer in asked()] == [str(n) for n in range(10)], "one that hangs changed it"
            os.kill(odd, signal.SIGCONT)
            os.kill(one, signal.SIGSTOP)
            error = lines.call("echo", {"text": "x"})["error"]
            os.kill(one, signal.SIGCONT)
            counts = {key: error["data"][key] for key in ("code", "asked", "answered", "agreed", "needed")}
            assert error["code"] == -32001, error
            assert counts == {"code": "SERVER_UNAVAILABLE", "asked": 3, "answered": 2, "agreed": 1, "needed": 2}, error
            assert [text_of(answer) for answer in asked()] == [str(n) for n in range(10)]
            gate.unlink()
            os.kill(odd, signal.SIGKILL)
            assert [text_of(answer) for answer in asked()] == [str(n) for n in range(10)], "one that is gone changed it"
            # What is not multiplexed goes to one of them, as ever.
            lines.begin("tools/call", {"name": "hang", "arguments": {}})
            lines.alive()
        assert "not that of the others" in front.log.read_text(), front.log.read_text()[-600:]
    finally:
        front.stop()


ALL = {f"several/{check.__name__.replace('_', '-')}": check for check in (
    a_killed_server_behind_http_costs_no_read,
    a_killed_child_costs_no_idempotent_call,
    the_second_priority_serves_while_the_first_is_away,
    most_of_three_decide_what_a_multiplexed_call_is_answered,
)}
