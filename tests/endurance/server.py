"""A small MCP server that starts at once and keeps nothing: what stands behind the gateway while it is churned.

    server.py                  a legacy server over stdio
    server.py --http PORT      a modern server over Streamable HTTP, one JSON body an answer

Of the standard library alone, so that its own memory and start cost next to nothing.
"""

import http.server
import itertools
import json
import os
import signal
import sys
import threading
import time

LEGACY, MODERN = "2025-11-25", "2026-07-28"
TOOLS = ["echo", "hang", "steps", "ask", "touch", "die"]
DOCUMENT = "doc://one"
STEPS = 5
NOT_FOUND, PARAMS = -32601, -32602
SERVER = {"name": "churned", "version": "1"}
CAN = {"tools": {}, "resources": {"subscribe": True},
       "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}}


def tool(name: str) -> dict:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    return {"name": name, "inputSchema": schema, "execution": {"taskSupport": "optional"}}


def content(text: str) -> dict:
    return {"content": [{"type": "text", "text": text}]}


class Stdio:
    """One legacy conversation."""

    def __init__(self) -> None:
        self.writing = threading.Lock()
        self.asked: dict[str, object] = {}
        self.tasks: dict[str, str] = {}
        self.ids = itertools.count(1)

    def send(self, message: dict) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}) + "\n"
        with self.writing:
            sys.stdout.write(line)
            sys.stdout.flush()

    def answer(self, ident: object, result: dict) -> None:
        self.send({"id": ident, "result": result})

    def run(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            method, ident = message.get("method"), message.get("id")
            if method is None:
                waiting = self.asked.pop(ident, None)
                if waiting is not None:
                    self.answer(waiting, content(json.dumps(message.get("result"))))
            elif ident is not None:
                self.request(ident, method, message.get("params", {}))

    def request(self, ident: object, method: str, params: dict) -> None:
        if method == "initialize":
            self.answer(ident, {"protocolVersion": params["protocolVersion"], "capabilities": CAN, "serverInfo": SERVER})
        elif method == "tools/list":
            self.answer(ident, {"tools": [tool(name) for name in TOOLS]})
        elif method == "resources/list":
            self.answer(ident, {"resources": [{"uri": DOCUMENT, "name": "one"}]})
        elif method == "tools/call":
            self.call(ident, params)
        elif method.startswith("tasks/"):
            self.task(ident, method, params)
        elif method in ("ping", "resources/subscribe", "resources/unsubscribe", "logging/setLevel"):
            self.answer(ident, {})
        else:
            self.send({"id": ident, "error": {"code": NOT_FOUND, "message": "Method not found"}})

    def call(self, ident: object, params: dict) -> None:
        name, arguments = params["name"], params.get("arguments", {})
        token = params.get("_meta", {}).get("progressToken")
        if "task" in params:
            name = f"task-{next(self.ids)}"
            self.tasks[name] = arguments.get("text", "")
            self.answer(ident, {"task": self.state(name, "working")})
        elif name == "steps":
            for step in range(STEPS if token is not None else 0):
                self.send({"method": "notifications/progress", "params": {"progressToken": token, "progress": step + 1}})
            self.answer(ident, content("stepped"))
        elif name == "ask":
            question = f"ask-{next(self.ids)}"
            self.asked[question] = ident
            schema = {"type": "object", "properties": {"name": {"type": "string"}}}
            self.send({"id": question, "method": "elicitation/create",
                       "params": {"message": "Who?", "requestedSchema": schema}})
        elif name == "touch":
            self.send({"method": "notifications/resources/updated", "params": {"uri": DOCUMENT}})
            self.answer(ident, content("touched"))
        elif name == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "echo":
            self.answer(ident, content(arguments.get("text", "")))
        elif name != "hang":
            self.send({"id": ident, "error": {"code": PARAMS, "message": f"Unknown tool: {name}"}})

    def state(self, name: str, status: str) -> dict:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"taskId": name, "status": status, "createdAt": now, "lastUpdatedAt": now, "ttl": 5000, "pollInterval": 100}

    def task(self, ident: object, method: str, params: dict) -> None:
        name = params.get("taskId", "")
        if name not in self.tasks:
            self.send({"id": ident, "error": {"code": PARAMS, "message": "there is no such task"}})
        elif method == "tasks/result":
            related = {"io.modelcontextprotocol/related-task": {"taskId": name}}
            self.answer(ident, {**content(self.tasks.pop(name)), "_meta": related})
        elif method == "tasks/cancel":
            del self.tasks[name]
            self.answer(ident, self.state(name, "cancelled"))
        else:
            self.answer(ident, self.state(name, "completed"))


class Http(http.server.BaseHTTPRequestHandler):
    """One modern request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method, params = message.get("method"), message.get("params", {})
        good = {"resultType": "complete"}
        if method == "server/discover":
            good |= {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "serverInfo": SERVER}
        elif method == "tools/list":
            schema = {"type": "object", "properties": {"text": {"type": "string"}}}
            good |= {"tools": [{"name": "echo", "inputSchema": schema}], "ttlMs": 60_000, "cacheScope": "public"}
        elif method == "tools/call":
            good |= content(params.get("arguments", {}).get("text", ""))
        else:
            error = {"code": NOT_FOUND, "message": "Method not found"}
            return self.reply(404, {"jsonrpc": "2.0", "id": message.get("id"), "error": error})
        self.reply(200, {"jsonrpc": "2.0", "id": message.get("id"), "result": good})

    def do_GET(self) -> None:
        self.reply(405, {})

    def reply(self, status: int, body: dict) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


if "--http" in sys.argv:
    Listener(("127.0.0.1", int(sys.argv[sys.argv.index("--http") + 1])), Http).serve_forever()
else:
    Stdio().run()
