"""A legacy server with one resource that changes as often as it is told to.

`proclaim` says so `count` times, each with its number and `bytes` of padding, and then answers.
"""

import json
import sys

URI = "news:today"


def send(message: dict) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")


def proclaim(ident: object, arguments: dict) -> None:
    padding = "x" * arguments["bytes"]
    for n in range(arguments["from"], arguments["from"] + arguments["count"]):
        send({"method": "notifications/resources/updated", "params": {"uri": URI, "_meta": {"n": n, "padding": padding}}})
    send({"id": ident, "result": {"content": []}})


for line in sys.stdin:
    message = json.loads(line)
    method, ident, params = message.get("method"), message.get("id"), message.get("params", {})
    if ident is None or method is None:
        continue
    if method == "initialize":
        able = {"tools": {}, "resources": {"subscribe": True}}
        send({"id": ident, "result": {"protocolVersion": params["protocolVersion"], "capabilities": able,
                                      "serverInfo": {"name": "herald", "version": "1"}}})
    elif method == "tools/list":
        send({"id": ident, "result": {"tools": [{"name": "proclaim", "inputSchema": {"type": "object"}}]}})
    elif method == "resources/list":
        send({"id": ident, "result": {"resources": [{"uri": URI, "name": "today"}]}})
    elif method == "tools/call":
        proclaim(ident, params["arguments"])
    elif method in ("ping", "resources/subscribe", "resources/unsubscribe"):
        send({"id": ident, "result": {}})
    else:
        send({"id": ident, "error": {"code": -32601, "message": "Method not found"}})
    sys.stdout.flush()
