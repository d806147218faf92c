"""One session on every shard at once: its requests, streams, questions, replies and cancellations arrive on
connections that the kernel spreads over all of them, and find their way.
"""

import http.client
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor

from exchange import BOTH, Door, Session, text_of
from stage import HERE, Gateway, Stage
from typescript import REFERENCE

SHARDS = 4
CONNECTIONS = 64
CALLS = 20
ELICITS = {"elicitation": {"form": {}}}


def metrics(port: int) -> dict[str, list[int]]:
    """Each counter's figures, by shard."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: dict[str, list[int]] = {}
    for name, count in re.findall(r'^ringgate_(\w+?)(?:_total)?\{shard="\d+"\} (\d+)$', text, re.MULTILINE):
        found.setdefault(name, []).append(int(count))
    return found


def echoes(session: Session, first: int) -> None:
    """Calls of the session one after the other on a connection that is kept."""
    connection = http.client.HTTPConnection("127.0.0.1", session.door.port, timeout=60)
    headers = {"Content-Type": "application/json", "Accept": BOTH, "Mcp-Session-Id": session.id,
               "MCP-Protocol-Version": session.version}
    for ident in range(first, first + CALLS):
        params = {"name": "quick__echo", "arguments": {"text": f"no. {ident}"}}
        body = json.dumps({"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params})
        connection.request("POST", "/mcp", body, headers)
        answer = json.loads(connection.getresponse().read())
        assert answer["id"] == ident and text_of(answer) == f"no. {ident}", answer
    connection.close()


def progress(session: Session, token: str) -> None:
    """Progress comes on the stream of its request, in order, before the answer; and nobody else's."""
    ident, reply = session.call("everything__test_tool_with_progress", progressToken=token)
    told = list(reply.messages())
    assert told[-1]["id"] == ident and "result" in told[-1], told[-1]
    steps = [m["params"] for m in told if m.get("method") == "notifications/progress"]
    assert [(step["progressToken"], step["progress"]) for step in steps] == [(token, n) for n in (0, 50, 100)], steps


def question(session: Session, name: str) -> None:
    """A question comes on its call's stream; its answer is posted on another connection."""
    ident, reply = session.call("everything__test_elicitation", {"message": f"Are you {name}?"})
    stream = reply.messages()
    asks = next(m for m in stream if m.get("method") == "elicitation/create")
    assert asks["params"]["message"].endswith(f"Are you {name}?"), asks
    content = {"username": name, "email": f"{name}@example.com"}
    assert session.post({"jsonrpc": "2.0", "id": asks["id"], "result": {"action": "accept", "content": content}}).status == 202
    assert f'"username": "{name}"' in text_of(next(m for m in stream if m.get("id") == ident))


def cancelled(session: Session, _: str) -> None:
    """The call hangs on one connection, the cancellation comes on another."""
    ident = next(session.door.ids)
    message = {"jsonrpc": "2.0", "id": ident, "method": "tools/call",
               "params": {"name": "quick__hang", "arguments": {}, "_meta": {"progressToken": f"c{ident}"}}}
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(session.post, message)
        # It may come before the call, on another shard: then it is for nothing, and is said again.
        while not hanging.done():
            told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": ident}}
            assert session.post(told).status == 202
        answered = [m for m in hanging.result().messages() if "result" in m]
        assert not answered, answered


def one_session_on_all_shards(binary: str, stage: Stage) -> str:
    program, *args = REFERENCE
    upstreams = {"quick": {"command": sys.executable, "args": [str(HERE / "servers" / "quick.py")]},
                 "everything": {"command": program, "args": args}}
    gateway = Gateway(binary, stage.dir / "shards", upstreams, http=True,
                      config="[http]\nmetrics = true\n", environ={"RINGGATE_SHARDS__COUNT": str(SHARDS)})
    try:
        gateway.wait_ready()
        session = Session(Door(gateway.http_port), able=ELICITS)
        news = session.get()
        assert news.status == 200, news.status
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            work = [pool.submit(echoes, session, 100_000 * (n + 1)) for n in range(CONNECTIONS - 24)]
            work += [pool.submit(check, session, f"{check.__name__}{n}")
                     for n in range(8) for check in (progress, question, cancelled)]
            for one in work:
                one.result()
        session.call("everything__test_trigger_tool_change")[1].close()
        assert next(m for m in news.messages() if m["method"] == "notifications/tools/list_changed")
        counts = metrics(gateway.http_port)
        assert all(counts["accepted"]), f"a shard was left out: {counts['accepted']}"
        assert sum(counts["mail_in"]) > 0, counts
        assert session.delete().status in (200, 202, 204)
    finally:
        wrong = gateway.stop()
    assert wrong is None, wrong
    return f"connections {counts['accepted']}, mail {counts['mail_in']}"


ALL = {"shards/one-session-on-all-shards": one_session_on_all_shards}
