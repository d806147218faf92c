"""A small legacy server that starts at once, and does on request what a server must never do.

Usage: quick.py [--gate FILE] [--slow FILE] [--opinion TEXT] [--diary FILE]   With a gate, it refuses to start while the
file is absent; while the other is there, every echo takes SLOW_S; with an opinion, `echo` says that besides; what it
echoed is in the diary, a line each.
Its tools: `echo` answers with the text it is given; the others misbehave as their names say.
"""

import itertools
import json
import os
import pathlib
import signal
import sys
import threading
import time

if "--gate" in sys.argv and not pathlib.Path(sys.argv[sys.argv.index("--gate") + 1]).exists():
    sys.exit("quick: the gate is closed")

SLOW = pathlib.Path(sys.argv[sys.argv.index("--slow") + 1]) if "--slow" in sys.argv else None
DIARY = open(sys.argv[sys.argv.index("--diary") + 1], "ab", 0) if "--diary" in sys.argv else None
SLOW_S = 0.25
OPINION = sys.argv[sys.argv.index("--opinion") + 1] if "--opinion" in sys.argv else ""
TOOLS = ["echo", "hang", "twice", "unknown_id", "garbage", "flood", "steps", "half", "die"]
FLOOD_LINES = 20_000
STEP_BYTES = 1_000


writing = threading.Lock()


def write(raw: str) -> None:
    with writing:
        sys.stdout.write(raw)
        sys.stdout.flush()


def send(message: dict) -> None:
    write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")


def answer(ident: object, text: str) -> None:
    send({"id": ident, "result": {"content": [{"type": "text", "text": text}]}})


def call(ident: object, tool: str, arguments: dict, token: object) -> None:
    text = arguments.get("text", "")
    if tool == "echo":
        if SLOW and SLOW.exists():
            time.sleep(SLOW_S)
        if DIARY:
            DIARY.write(f"{text}\n".encode())
        answer(ident, text + OPINION)
    elif tool == "hang":
        pass
    elif tool == "twice":
        answer(ident, text)
        answer(ident, "again")
    elif tool == "unknown_id":
        answer(987_654_321, "nobody asked")
        answer("nor this", "nobody asked")
        answer(ident, text)
    elif tool == "garbage":
        write("this is not JSON\n{\"jsonrpc\":\"2.0\",\n\x00\n[]\n42\n{}\n")
        answer(ident, text)
    elif tool == "flood":
        line = json.dumps({"jsonrpc": "2.0", "method": "notifications/message",
                           "params": {"level": "debug", "data": "x" * 100}}) + "\n"
        for _ in range(FLOOD_LINES // 100):
            write(line * 100)
        answer(ident, text)
    elif tool == "steps":
        # As fast as a busy server, not as fast as can be: others use this one too, and it is never done.
        def steps() -> None:
            for step in itertools.count(1):
                send({"method": "notifications/progress",
                      "params": {"progressToken": token, "progress": step, "message": "x" * STEP_BYTES}})
                if step % 20 == 0:
                    time.sleep(0.001)

        threading.Thread(target=steps, daemon=True).start()
    elif tool == "half":
        write('{"jsonrpc":"2.0","id":' + json.dumps(ident) + ',"result":{"content":[')
        os.kill(os.getpid(), signal.SIGKILL)
    elif tool == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        send({"id": ident, "error": {"code": -32602, "message": f"Unknown tool: {tool}"}})


for line in sys.stdin:
    message = json.loads(line)
    method, ident, params = message.get("method"), message.get("id"), message.get("params", {})
    if ident is None or method is None:
        continue
    if method == "initialize":
        send({"id": ident, "result": {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                                      "serverInfo": {"name": "quick", "version": "1"}}})
    elif method == "tools/list":
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        send({"id": ident, "result": {"tools": [{"name": tool, "inputSchema": schema} for tool in TOOLS]}})
    elif method == "tools/call":
        call(ident, params["name"], params.get("arguments", {}), params.get("_meta", {}).get("progressToken"))
    elif method == "ping":
        send({"id": ident, "result": {}})
    else:
        send({"id": ident, "error": {"code": -32601, "message": "Method not found"}})
