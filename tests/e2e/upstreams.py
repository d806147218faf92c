"""Upstreams behind a WebSocket: what holds for the reference server as a child holds for it there too."""

import subprocess
import sys

import http_modern
import http_sessions
from exchange import Door
from net import Started
from lines import Lines, text_of
from stage import HERE, Gateway, Stage
from typescript import REFERENCE

# Above the exchanges that one upstream may have under way.
HUNG = 700

CHECKS = {**http_sessions.ALL, **http_modern.ALL}


def failures(gateway: Gateway) -> list[str]:
    """What of the scenarios of sessions, streams and modern exchanges does not hold, and why."""
    failed = []
    for name, check in CHECKS.items():
        try:
            check(Door(gateway.http_port))
        except Exception as error:  # whatever a scenario raises is its verdict
            failed.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    return failed


def behind_a_websocket(binary: str, stage: Stage) -> str:
    """Every scenario of sessions, streams and modern exchanges."""
    with Started(stage.dir / "upstream-ws.log") as started:
        url = started.over_websocket(*REFERENCE)
        # One shard: each connects for itself, and behind this WebSocket each connection has a server of its own.
        gateway = Gateway(binary, stage.dir / "upstream-ws", {"everything": {"url": url}}, http=True,
                          environ={"RINGGATE_SHARDS__COUNT": "1"})
        try:
            gateway.wait_up()
            failed = failures(gateway)
        finally:
            wrong = gateway.stop()
    assert not failed, "; ".join(failed)
    assert wrong is None, wrong
    return f"{len(CHECKS)} scenarios"


def behind_http2(binary: str, stage: Stage) -> str:
    """Another gateway is the server, which has HTTP/2 on its port."""
    program, *args = REFERENCE
    behind = Gateway(binary, stage.dir / "upstream-h2-behind", {"everything": {"command": program, "args": args}}, http=True)
    try:
        behind.wait_up()
        gateway = Gateway(binary, stage.dir / "upstream-h2", {"everything": {"url": behind.url}}, http=True,
                          environ={"RINGGATE_UPSTREAMS__EVERYTHING__HTTP2": "true"})
        try:
            gateway.wait_up()
            failed = failures(gateway)
        finally:
            wrong = gateway.stop()
    finally:
        wrong = behind.stop() or wrong
    assert not failed, "; ".join(failed)
    assert wrong is None, wrong
    return f"{len(CHECKS)} scenarios"


def hung_calls_make_room(binary: str, stage: Stage) -> str:
    """More calls hang than exchanges may be under way: given up, they make room for others."""
    quick = {"quick": {"command": sys.executable, "args": [str(HERE / "servers" / "quick.py")]}}
    behind = Gateway(binary, stage.dir / "hung-behind", quick, http=True)
    try:
        behind.wait_up()
        gateway = Gateway(binary, stage.dir / "hung", {"behind": {"url": behind.url}}, environ={
            "RINGGATE_SHARDS__COUNT": "1", "RINGGATE_UPSTREAMS__BEHIND__ERA": "legacy",
            "RINGGATE_LIMITS__REQUEST": "1s", "RINGGATE_LIMITS__BREAKER_FAILURES": "10000"})
        try:
            gateway.wait_ready()
            with Lines(gateway.port) as lines:
                lines.initialize()
                begun = {lines.begin("tools/call", {"name": "hang", "arguments": {}}) for _ in range(HUNG)}
                given_up = [lines.answer() for _ in begun]
                assert {answer["id"] for answer in given_up} == begun
                assert all("error" in answer for answer in given_up), given_up[:2]
                assert text_of(lines.call("echo", {"text": "room"})) == "room"
        finally:
            wrong = gateway.stop()
    finally:
        wrong = behind.stop() or wrong
    assert wrong is None, wrong
    return f"{HUNG} calls"


def commands_over_a_websocket(binary: str, stage: Stage) -> None:
    """`ringgate tools` and `ringgate call` at a ws:// address."""
    with Started(stage.dir / "commands-ws.log") as started:
        url = started.over_websocket(*REFERENCE)
        for words, wanted in ((["tools", url], "test_simple_text"),
                              (["call", url, "test_simple_text", "{}"], "This is a simple text response")):
            done = subprocess.run([binary, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
            assert done.returncode == 0 and wanted in done.stdout, f"{words[0]}: {done.stdout[-300:]} {done.stderr[-300:]}"


def a_name_that_leads_nowhere_keeps_nobody_from_starting(binary: str, stage: Stage) -> None:
    """It is down, as a server is that cannot be reached; one by a name that leads somewhere serves."""
    quick = {"quick": {"command": sys.executable, "args": [str(HERE / "servers" / "quick.py")]}}
    behind = Gateway(binary, stage.dir / "named-behind", quick, http=True)
    wrong = None
    try:
        behind.wait_up()
        ups = {"here": {"url": f"http://localhost:{behind.http_port}/mcp"}, "gone": {"url": "http://nowhere.invalid:8000/mcp"}}
        gateway = Gateway(binary, stage.dir / "named", ups, http=True)
        try:
            gateway.wait_up()
            with Lines(gateway.port) as lines:
                lines.initialize()
                assert text_of(lines.call("here__echo", {"text": "x"})) == "x"
                answer = lines.call("gone__echo", {"text": "x"})
                assert answer["error"]["data"]["code"] == "SERVER_UNAVAILABLE", answer
            told = gateway.log.read_text()
            assert "mcp.json:" in told and "nowhere.invalid:8000/mcp cannot be resolved" in told, told[-800:]
        finally:
            wrong = gateway.stop()
    finally:
        wrong = behind.stop() or wrong
    assert wrong is None, wrong


ALL = {
    "upstreams/a-name-that-leads-nowhere-keeps-nobody-from-starting": a_name_that_leads_nowhere_keeps_nobody_from_starting,
    "upstreams/behind-a-websocket": behind_a_websocket,
    "upstreams/behind-http2": behind_http2,
    "upstreams/hung-calls-make-room": hung_calls_make_room,
    "upstreams/commands-over-a-websocket": commands_over_a_websocket,
}
