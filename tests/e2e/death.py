"""Upstreams that die: the others never notice, each lost call gets one error, and the dead return.

How fast the dead return is measured and told, not judged: the bound only keeps a run finite.
"""

import os
import pathlib
import shutil
import signal
import sys
import time

from lines import Lines, Steady, is_failure, text_of
from stage import HERE, Gateway, Stage

RETURN_S_MAX = 30.0
QUICK = [str(HERE / "servers" / "quick.py")]


def back(lines: Lines, tool: str, arguments: dict, since: float) -> float:
    """Calls until the upstream answers again; milliseconds since `since`."""
    while time.monotonic() - since < RETURN_S_MAX:
        if not is_failure(lines.call(tool, arguments)):
            return (time.monotonic() - since) * 1000
        # Without a pause the polling would be a load of its own.
        time.sleep(0.002)
    raise AssertionError(f"it did not return within {RETURN_S_MAX:.0f} s")


def kill(gateway: Gateway, word: str) -> float:
    pids = gateway.children(word)
    assert pids, f"no child runs {word}"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return time.monotonic()


def one_error_each(lines: Lines, begun: list[int]) -> None:
    """Every call of `begun` gets one error, and no second answer."""
    waiting = set(begun)
    while waiting:
        answer = lines.next()
        if "method" in answer:
            continue
        assert answer["id"] in waiting, f"answered twice or never asked: {answer}"
        assert is_failure(answer), f"a dead upstream answered: {answer}"
        waiting.discard(answer["id"])
    lines.alive()
    answered = [m["id"] for m in lines.seen if isinstance(m, dict) and "method" not in m and m.get("id") in begun]
    assert len(answered) == len(begun), "a call was answered twice"


def a_killed_upstream_costs_only_its_own_calls(binary: str, stage: Stage) -> str:
    """server-everything is killed with calls under way, while the two others are called all the time."""
    ups = stage.upstreams()
    tap, _, *command = ups["everything"]["args"]
    assert tap.endswith("tap.py")
    upstreams = {"everything": {"command": command[0], "args": command[1:]},
                 "filesystem": ups["filesystem"], "time": ups["time"]}
    gateway = Gateway(binary, stage.dir / "death", upstreams)
    try:
        gateway.wait_ready()
        steady = [
            Steady(gateway.port, "filesystem__read_text_file", {"path": str(stage.files / "hello.txt")}, "hello from"),
            Steady(gateway.port, "time__get_current_time", {"timezone": "UTC"}, "datetime"),
        ]
        with Lines(gateway.port) as lines:
            lines.initialize()
            text_of(lines.call("everything__echo", {"message": "before"}))
            for thread in steady:
                thread.start()
            long = {"name": "everything__trigger-long-running-operation", "arguments": {"duration": 60, "steps": 2}}
            begun = [lines.begin("tools/call", long) for _ in range(8)]
            # The echo's answer says that the calls before it have reached the server.
            text_of(lines.call("everything__echo", {"message": "on the way"}))
            died = kill(gateway, "mcp-server-everything")
            one_error_each(lines, begun)
            told_ms = (time.monotonic() - died) * 1000
            back_ms = back(lines, "everything__echo", {"message": "back"}, died)
        for thread in steady:
            thread.finish()
        calls = sum(thread.done for thread in steady)
        return f"errors told after {told_ms:.0f} ms, back after {back_ms:.0f} ms, {calls} calls beside it"
    finally:
        gateway.stop()


def quick_gateway(binary: str, stage: Stage, gate: pathlib.Path | None = None) -> Gateway:
    args = QUICK + (["--gate", str(gate)] if gate else [])
    upstreams = {"mortal": {"command": sys.executable, "args": [*args]},
                 "steady": {"command": sys.executable, "args": [*QUICK, "steady"]}}
    return Gateway(binary, stage.dir / "quick", upstreams)


def a_killed_upstream_returns(binary: str, stage: Stage) -> str:
    """A server that needs no time to start is killed ten times."""
    gate = stage.dir / "gate"
    gate.touch()
    gateway = quick_gateway(binary, stage, gate)
    try:
        gateway.wait_ready()
        beside = Steady(gateway.port, "steady__echo", {"text": "steady"}, "steady")
        beside.start()
        times = []
        with Lines(gateway.port) as lines:
            lines.initialize()
            text_of(lines.call("mortal__echo", {"text": "before"}))
            for _ in range(10):
                died = kill(gateway, "--gate")
                times.append(back(lines, "mortal__echo", {"text": "back"}, died))
        beside.finish()
        times.sort()
        return f"back after {times[0]:.0f} to {times[-1]:.0f} ms, median {times[len(times) // 2]:.0f}"
    finally:
        gateway.stop()


def an_upstream_that_cannot_start_returns_when_it_can(binary: str, stage: Stage) -> str:
    """Its program refuses to start for three seconds; then it may, and calls reach it again."""
    gate = stage.dir / "gate"
    gate.touch()
    gateway = quick_gateway(binary, stage, gate)
    try:
        gateway.wait_ready()
        beside = Steady(gateway.port, "steady__echo", {"text": "steady"}, "steady")
        beside.start()
        with Lines(gateway.port) as lines:
            lines.initialize()
            text_of(lines.call("mortal__echo", {"text": "before"}))
            gate.unlink()
            died = kill(gateway, "--gate")
            failures = 0
            while time.monotonic() - died < 3:
                assert is_failure(lines.call("mortal__echo", {"text": "while away"})), "who answered?"
                failures += 1
                time.sleep(0.05)
            gate.touch()
            back_ms = back(lines, "mortal__echo", {"text": "back"}, time.monotonic())
        beside.finish()
        return f"{failures} calls refused, back {back_ms:.0f} ms after it could start"
    finally:
        gateway.stop()


def an_upstream_that_is_absent_costs_only_itself(binary: str, stage: Stage) -> str:
    """A command that does not exist: the other upstream is served, and the absent one's calls fail."""
    missing = str(stage.dir / "no-such-program")
    assert shutil.which(missing) is None
    gateway = Gateway(binary, stage.dir / "absent", {
        "absent": {"command": missing, "args": []},
        "steady": {"command": sys.executable, "args": [*QUICK, "steady"]}})
    try:
        gateway.wait_ready()
        with Lines(gateway.port) as lines:
            lines.initialize()
            assert text_of(lines.call("steady__echo", {"text": "fine"})) == "fine"
            assert is_failure(lines.call("absent__echo", {"text": "nobody"}))
            tools = [tool["name"] for tool in lines.ask("tools/list")["result"]["tools"]]
            assert "steady__echo" in tools, tools
        return ""
    finally:
        gateway.stop()


def a_stopped_upstream_is_asked_no_more(binary: str, stage: Stage) -> str:
    """SIGSTOP: five calls wait out their time, others are refused at once; SIGCONT: it answers again."""
    upstreams = {name: {"command": sys.executable, "args": [*QUICK, name]} for name in ("one", "two")}
    # One shard: each has a breaker of its own.
    gateway = Gateway(binary, stage.dir / "stopped", upstreams, environ={
        "RINGGATE_SHARDS__COUNT": "1", "RINGGATE_LIMITS__REQUEST": "500ms", "RINGGATE_LIMITS__BREAKER_OPEN": "1s"})
    try:
        gateway.wait_ready()
        with Lines(gateway.port) as lines:
            lines.initialize()
            for name in upstreams:
                assert text_of(lines.call(f"{name}__echo", {"text": "here"})) == "here"
            [pid] = gateway.children("one")
            os.kill(pid, signal.SIGSTOP)
            try:
                begun = [lines.begin("tools/call", {"name": "one__echo", "arguments": {"text": "late"}}) for _ in range(5)]
                answers = [lines.answer() for _ in begun]
                assert {a["id"] for a in answers} == set(begun), answers
                assert all(a["error"]["data"]["code"] == "TIMEOUT" for a in answers), answers
                refused = lines.call("one__echo", {"text": "refused"})
                assert refused["error"]["data"]["code"] == "SERVER_UNAVAILABLE", refused
                assert 0 < refused["error"]["data"]["retryAfterMs"] <= 1000, refused
                assert text_of(lines.call("two__echo", {"text": "beside"})) == "beside"
            finally:
                os.kill(pid, signal.SIGCONT)
            after = back(lines, "one__echo", {"text": "again"}, time.monotonic())
    finally:
        wrong = gateway.stop()
    assert wrong is None, wrong
    return f"answers {after:.0f} ms after it goes on"


ALL = {f"death/{check.__name__.replace('_', '-')}": check for check in (
    a_killed_upstream_costs_only_its_own_calls,
    a_killed_upstream_returns,
    an_upstream_that_cannot_start_returns_when_it_can,
    an_upstream_that_is_absent_costs_only_itself,
    a_stopped_upstream_is_asked_no_more,
)}
