"""What an operator sees and may do while the gateway runs: metrics, logs, traces, the dashboard, a drain.

Metrics are read by Prometheus' own parser, spans by a collector that is a few lines, the dashboard by a browser.
"""

import base64
import contextlib
import http.client
import http.server
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator

from exchange import MODERN, Door, text_of
from lines import Lines
from stage import HERE, STOP_S_MAX, Gateway, Stage, cache, free_port
from tls import Authority
from typescript import node

QUICK = str(HERE / "servers" / "quick.py")
WAIT_S_MAX = 30.0
MANY = 10_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
SEEDS = ["http_requests", "http_request_duration_seconds", "http_request_size_bytes", "http_response_size_bytes",
         "http_auth_success", "http_rate_limit_hit", "http_rate_limit_exceeded", "http_tool_execution",
         "http_tool_execution_duration_seconds", "http_tool_execution_errors", "http_active_connections",
         "http_request_queue_size"]
OWN = ["ringgate_connections", "ringgate_messages", "ringgate_upstream_requests", "ringgate_upstream_answer_seconds",
       "ringgate_upstream_ready", "ringgate_endpoint_breaker", "ringgate_endpoint_lanes", "ringgate_shard_links",
       "ringgate_shard_outbox_bytes", "ringgate_shard_turn_seconds", "ringgate_mail_in", "ringgate_build_info",
       "ringgate_uptime_seconds", "process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds"]
# Reads the text on stdin as Prometheus' client does; prints families as JSON.
PARSE = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families as read
json.dump([{"name": f.name, "type": f.type, "help": f.documentation,
            "samples": [[s.name, s.labels, s.value] for s in f.samples]} for f in read(sys.stdin.read())], sys.stdout)
"""


class Admin:
    """The admin listener of a gateway."""

    def __init__(self, port: int, authorization: str | None = None) -> None:
        self.port, self.authorization = port, authorization

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S_MAX)
        shown = {} if self.authorization is None else {"Authorization": self.authorization}
        connection.request(method, path, body, {**shown, **headers})
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return reply.status, text

    def get(self, path: str) -> str:
        status, text = self.ask("GET", path)
        assert status == 200, (path, status, text)
        return text

    def families(self) -> dict[str, dict]:
        """Every metric, as Prometheus' own parser reads it."""
        done = subprocess.run([str(cache() / "prometheus" / "bin" / "python"), "-c", PARSE], input=self.get("/metrics"),
                              check=True, text=True, stdout=subprocess.PIPE)
        return {family["name"]: family for family in json.loads(done.stdout)}

    def value(self, name: str, /, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        found = [sample for family in json.loads(self.get("/metrics.json")).items() if family[0] == name
                 for sample in family[1]["samples"]]
        return sum(sample.get("value", sample.get("count", 0)) for sample in found
                   if labels.items() <= sample["labels"].items())


def until(what: str, is_so: Callable[[], object]) -> object:
    deadline = time.monotonic() + WAIT_S_MAX
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"{what} within {WAIT_S_MAX:.0f} s"
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def seen(binary: str, stage: Stage, upstreams: dict | None = None, config: str = "", environ: dict | None = None,
         authorization: str | None = None, ends: bool = False) -> Iterator[tuple[Gateway, Admin]]:
    """A gateway with its admin listener; `ends`: the scenario itself ends it."""
    port = free_port()
    upstreams = {"quick": {"command": sys.executable, "args": [QUICK]}} if upstreams is None else upstreams
    gateway = Gateway(binary, stage.dir / "eyes", upstreams, http=True, config=config,
                      environ={"RINGGATE_ADMIN__LISTEN": f"127.0.0.1:{port}", **(environ or {})})
    try:
        gateway.wait_up()
        yield gateway, Admin(port, authorization)
    except BaseException:
        if gateway.process.poll() is None:
            gateway.stop()
        raise
    wrong = None if ends else gateway.stop()
    assert wrong is None, wrong


def prometheus_reads_the_metrics(binary: str, stage: Stage) -> str:
    """Names of the seeds and of our own; each with a help and a type; what was done is in them."""
    with seen(binary, stage) as (gateway, admin), Lines(gateway.port) as lines:
        door = Door(gateway.http_port)
        lines.initialize()
        for number in range(3):
            assert text_of(lines.call("echo", {"text": str(number)})) == str(number)
        answer = door.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}}, ident=1).answer(1)
        assert text_of(answer) == "x"
        assert "error" in lines.call("nothing", {})
        assert door.request("GET", {}, path="/nowhere").status == 404
        families = admin.families()
        missing = [name for name in SEEDS + OWN if name not in families]
        assert not missing, f"not told: {missing}"
        bare = [name for name, family in families.items() if not family["help"] or family["type"] in ("unknown", "untyped")]
        assert not bare, f"without help or type: {bare}"

        def of(name: str, sample: str, **labels: str) -> float:
            return sum(value for is_, has, value in families[name]["samples"]
                       if is_ == sample and labels.items() <= has.items())

        assert of("http_tool_execution", "http_tool_execution_total", upstream="quick", status="success") == 4
        assert of("http_tool_execution", "http_tool_execution_total", upstream="quick", status="error") == 1
        assert of("http_tool_execution_duration_seconds", "http_tool_execution_duration_seconds_count", upstream="quick") == 5
        assert of("ringgate_upstream_answer_seconds", "ringgate_upstream_answer_seconds_count", upstream="quick") >= 5
        assert of("http_requests", "http_requests_total", method="POST", endpoint="/mcp", status="200") == 1
        assert of("http_requests", "http_requests_total", endpoint="other", status="404") == 1
        assert of("ringgate_connections", "ringgate_connections", transport="tcp") == 1
        # What the client says it has seen is what the gateway says it has sent: initialize, five calls.
        assert of("ringgate_messages", "ringgate_messages_total", transport="tcp") == 6
        for name, family in families.items():
            if family["type"] == "histogram":
                series: dict[str, list[tuple[float, float]]] = {}
                for is_, labels, value in family["samples"]:
                    if is_ == f"{name}_bucket":
                        key = json.dumps({k: v for k, v in labels.items() if k != "le"}, sort_keys=True)
                        series.setdefault(key, []).append((float(labels["le"]), value))
                for buckets in series.values():
                    assert buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets), name
        told = json.loads(admin.get("/metrics.json"))
        assert {re.sub(r"_total$", "", name) for name, family in told.items() if family["samples"]} == {
            re.sub(r"_total$", "", name) for name in families}, "JSON says something else"
        return f"{len(families)} metrics"


def ten_thousand_connections_are_counted(binary: str, stage: Stage) -> str:
    """And how long a look takes then is noted, as the shards themselves measure it; no time is asserted."""
    with seen(binary, stage, config="[limits]\nclients_max = 20000\n") as (gateway, admin), contextlib.ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", gateway.port), WAIT_S_MAX)))
        until("all are taken", lambda: admin.value("ringgate_connections", transport="tcp") == MANY)
        looks = []
        for _ in range(5):
            samples = json.loads(admin.get("/metrics.json"))["ringgate_shard_census_seconds"]["samples"]
            looks.append(max(sample["value"] for sample in samples) * 1e3)
        began = time.monotonic()
        size = len(admin.get("/metrics"))
        took = (time.monotonic() - began) * 1e3
        return f"{sorted(looks)[2]:.2f} ms of a shard at most, median of 5; a scrape of {size >> 10} KiB in {took:.1f} ms"


def agents_have_nothing_to_do_with_it(binary: str, stage: Stage) -> None:
    """Metrics are not on their listener; keys of theirs open nothing here, and those of the operator's do."""
    made = [subprocess.run([binary, "keys", "new", name], check=True, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL).stdout.splitlines() for name in ("agent", "ops")]
    (agent, agent_line), (ops, ops_line) = made
    config = f"[auth.keys]\n{agent_line}\n[admin.keys]\n{ops_line}\n"
    with seen(binary, stage, config=config, authorization=f"Bearer {ops}") as (gateway, admin):
        for path in ("/metrics", "/dashboard", "/drain", "/log-level"):
            for headers in ({}, {"Authorization": f"Bearer {agent}"}):
                reply = Door(gateway.http_port).request("GET", headers, path=path)
                assert reply.status in (401, 404), (path, reply.status)
        assert "http_auth_failure" in admin.get("/metrics")
        assert admin.value("http_auth_failure_total", reason="no Authorization header") == 4
        assert admin.value("http_auth_success_total") == 4
        for shown in (None, f"Bearer {agent}", "Basic x"):
            stranger = Admin(admin.port, shown)
            assert stranger.ask("GET", "/metrics")[0] == 401 and stranger.ask("POST", "/drain")[0] == 401, shown
            assert stranger.ask("GET", "/ready")[0] == 200
            assert stranger.ask("GET", "/health") == (200, '{"status":"ok"}\n'), "no names for strangers"
        assert json.loads(admin.get("/health"))["components"]["upstreams"] == {"quick": "ready"}
        basic = base64.b64encode(f"me:{ops}".encode()).decode()
        assert Admin(admin.port, f"Basic {basic}").ask("GET", "/metrics")[0] == 200
        assert admin.ask("POST", "/drain", Origin="http://evil.test")[0] == 403
        assert admin.ask("GET", "/metrics", Host="evil.test")[0] == 421
        assert admin.ask("POST", "/metrics")[0] == 405 and admin.ask("GET", "/nothing")[0] == 404
        for rubbish in (b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"GET /\r\n\r\n", b"PUT /log-level HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", admin.port), WAIT_S_MAX) as raw:
                raw.sendall(rubbish)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(1 << 16):
                    pass
        assert json.loads(admin.get("/health"))["status"] == "ok"


def the_log_tells_as_much_as_it_is_told_to(binary: str, stage: Stage) -> None:
    """By the admin listener, by signals, by the configuration; a request that fails is found by its ids."""
    config = '[log]\nformat = "json"\nlevel = "warn"\n[limits]\nrequest = "1s"\n'
    with seen(binary, stage, config=config) as (gateway, admin):
        def told() -> list[dict]:
            return [json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{")]

        def level() -> str:
            return json.loads(admin.get("/log-level"))["level"]

        def debugs() -> list[dict]:
            return [line for line in told() if line["level"] == "DEBUG" and line.get("why")]

        def odd() -> None:
            with Lines(gateway.port) as lines:
                lines.line("this is no JSON")
                assert "error" in lines.answer()

        assert level() == "warn"
        odd()
        assert not debugs(), debugs()
        assert admin.ask("PUT", "/log-level", "debug")[0] == 200 and level() == "debug"
        odd()
        fault = until("a line about the fault", debugs)[-1]
        assert re.fullmatch(r"\S+", fault["client"]), fault
        assert admin.ask("PUT", "/log-level", "ringgate=lots")[0] == 400 and level() == "debug"
        gateway.process.send_signal(signal.SIGUSR2)
        until("one level less", lambda: level() == "info")
        gateway.process.send_signal(signal.SIGUSR1)
        until("one level more", lambda: level() == "debug")
        gateway.config.write_text(gateway.config.read_text().replace('level = "warn"', 'level = "error"'))
        gateway.process.send_signal(signal.SIGHUP)
        until("that of the configuration", lambda: level() == "error")
        assert admin.ask("PUT", "/log-level", '{"level": "warn"}')[0] == 200 and level() == "warn"
        with Lines(gateway.port) as lines:
            lines.initialize()
            calls = [lines.begin("tools/call", {"name": "hang", "arguments": {}}) for _ in range(40)]
            answers = [lines.answer() for _ in calls]
            assert all(answer["error"]["code"] == -32004 for answer in answers), answers[0]
        failed = [line for line in told() if line.get("message") == "a request failed"]
        assert failed and len({line["flight"] for line in failed}) == len(failed), "an id each"
        for line in failed:
            assert (line["upstream"], line["method"], line["code"]) == ("quick", "tools/call", -32004), line
            assert line["client"] == failed[0]["client"] and line["level"] == "WARN", line
        # A flood is cut: at most ten a second a shard, and the rest is counted.
        assert len(failed) < len(calls), f"{len(failed)} lines"
        assert admin.value("ringgate_calls_failed_total") == len(calls)
        assert admin.value("ringgate_log_left_out_total") == len(calls) - len(failed)


class Collector:
    """Takes spans, as OTLP over HTTP in JSON; and another server takes calls, to see what it is told of them."""

    def __init__(self) -> None:
        self.spans: list[dict] = []
        self.calls: queue.Queue[tuple[dict, dict]] = queue.Queue()
        self.headers: list[dict] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path == "/v1/traces":
                    outer.headers.append(dict(self.headers))
                    for resource in body["resourceSpans"]:
                        for scope in resource["scopeSpans"]:
                            outer.spans += scope["spans"]
                    return self.say({"partialSuccess": {}})
                method, ident = body["method"], body.get("id")
                if ident is None:
                    return self.say(None)
                if method == "initialize":
                    result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                              "serverInfo": {"name": "tracee", "version": "1"}}
                elif method == "tools/call":
                    outer.calls.put((body["params"], {key.lower(): value for key, value in self.headers.items()}))
                    result = {"content": [{"type": "text", "text": "done"}]}
                elif method == "tools/list":
                    result = {"tools": [{"name": "do", "inputSchema": {"type": "object"}}]}
                elif method == "ping":
                    result = {}
                else:
                    return self.say({"jsonrpc": "2.0", "id": ident, "error": {"code": -32601, "message": "no"}})
                self.say({"jsonrpc": "2.0", "id": ident, "result": result})

            def do_GET(self) -> None:
                self.send_response(405)
                self.send_header("content-length", "0")
                self.end_headers()

            def say(self, body: dict | None) -> None:
                raw = b"" if body is None else json.dumps(body).encode()
                self.send_response(202 if body is None else 200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def of(self, trace: str) -> list[dict]:
        return [span for span in self.spans if span["traceId"] == trace]


@contextlib.contextmanager
def traced(binary: str, stage: Stage, ratio: float | None) -> Iterator[tuple[Collector, Gateway, Admin]]:
    collector = Collector()
    endpoint = f"http://127.0.0.1:{collector.port}"
    traces = "" if ratio is None else (f'[traces]\nendpoint = "{endpoint}/v1/traces"\nratio = {ratio}\n'
                                       'service = "under-test"\nheaders = { x-team = "blue" }\n')
    config = f'{traces}[upstreams.far]\nurl = "{endpoint}/mcp"\nera = "legacy"\n'
    try:
        with seen(binary, stage, {}, config) as (gateway, admin):
            yield collector, gateway, admin
    finally:
        collector.server.shutdown()
        collector.server.server_close()


def modern(gateway: Gateway, meta: dict | None = None, **headers: str) -> None:
    answer = Door(gateway.http_port).modern("tools/call", {"name": "do", "arguments": {}}, meta=meta, ident=1,
                                            **headers).answer(1)
    assert text_of(answer) == "done", answer


def a_traced_call_is_collected(binary: str, stage: Stage) -> None:
    """A client's trace goes on through the gateway to the server, in `_meta` and in headers, with a span of ours."""
    with traced(binary, stage, 0.0) as (collector, gateway, admin):
        modern(gateway, {"traceparent": PARENT, "tracestate": "v=1", "baggage": "b=2"})
        params, headers = collector.calls.get(timeout=WAIT_S_MAX)
        meta = params["_meta"]
        version, trace, sent, flags = meta["traceparent"].split("-")
        assert (version, trace, flags) == ("00", TRACE, "01") and sent != SPAN, meta
        assert (meta["tracestate"], meta["baggage"]) == ("v=1", "b=2"), meta
        assert (headers["traceparent"], headers["tracestate"]) == (meta["traceparent"], "v=1"), headers
        server, client = until("both spans", lambda: len(found := collector.of(TRACE)) == 2 and found)
        assert (server["parentSpanId"], server["kind"], server["name"]) == (SPAN, 2, "tools/call do"), server
        assert (client["parentSpanId"], client["spanId"], client["kind"]) == (server["spanId"], sent, 3), client
        assert int(server["startTimeUnixNano"]) <= int(client["startTimeUnixNano"]) <= int(client["endTimeUnixNano"])
        assert client["traceState"] == "v=1" and client["status"]["code"] == 0, client
        assert {"x-team": "blue"}.items() <= {k.lower(): v for k, v in collector.headers[0].items()}.items()
        # In headers only; then in both, where `_meta` counts; and one that is not sampled, which goes on as such.
        other = TRACE[::-1]
        modern(gateway, traceparent=f"00-{other}-{SPAN}-01")
        params, headers = collector.calls.get(timeout=WAIT_S_MAX)
        assert params["_meta"]["traceparent"].split("-")[1] == other == headers["traceparent"].split("-")[1]
        until("its spans", lambda: len(collector.of(other)) == 2)
        modern(gateway, {"traceparent": PARENT.replace("-01", "-00")}, traceparent=f"00-{other}-{SPAN}-01")
        params, _ = collector.calls.get(timeout=WAIT_S_MAX)
        assert params["_meta"]["traceparent"].startswith(f"00-{TRACE}-") and params["_meta"]["traceparent"].endswith("-00")
        # Of those that bring none, none is traced at this ratio; over a line it is the same.
        modern(gateway)
        assert "traceparent" not in collector.calls.get(timeout=WAIT_S_MAX)[0].get("_meta", {})
        with Lines(gateway.port) as lines:
            lines.initialize()
            params = {"name": "do", "arguments": {}, "_meta": {"traceparent": f"00-{other[::2] * 2}-{SPAN}-01"}}
            assert text_of(lines.ask("tools/call", params)) == "done"
            until("its spans", lambda: len(collector.of(other[::2] * 2)) == 2)
        assert len(collector.of(TRACE)) == 2 and len(collector.of(other)) == 2, "one was not sampled"
        assert admin.value("ringgate_spans_exported_total", outcome="taken") == 3


def each_request_is_traced_at_ratio_one(binary: str, stage: Stage) -> None:
    """And a collector that is away costs nothing but its spans, which are counted."""
    with traced(binary, stage, 1.0) as (collector, gateway, admin):
        for _ in range(5):
            modern(gateway)
        roots = until("all of them", lambda: len(found := [s for s in collector.spans if "parentSpanId" not in s]) == 5 and found)
        assert len({root["traceId"] for root in roots}) == 5
        answer = Door(gateway.http_port).modern("tools/call", {"name": "nothing", "arguments": {}}, ident=1)
        answer.close()
    lost = free_port()
    config = f'[traces]\nendpoint = "http://127.0.0.1:{lost}/v1/traces"\n'
    with seen(binary, stage, config=config) as (gateway, admin):
        answer = Door(gateway.http_port).modern("tools/call", {"name": "echo", "arguments": {"text": "x"}}, ident=1).answer(1)
        assert text_of(answer) == "x"
        until("it is counted", lambda: admin.value("ringgate_spans_exported_total", outcome="lost") == 1)
        assert "traces.endpoint takes no spans" in gateway.log.read_text()


def without_a_collector_nothing_changes(binary: str, stage: Stage) -> None:
    """What a client says of its trace passes as it is, and no header says it again."""
    with traced(binary, stage, None) as (collector, gateway, _):
        modern(gateway, {"traceparent": "as it is", "tracestate": "v=1"}, traceparent=PARENT)
        params, headers = collector.calls.get(timeout=WAIT_S_MAX)
        assert params["_meta"]["traceparent"] == "as it is" and params["_meta"]["tracestate"] == "v=1", params
        assert "traceparent" not in headers and not collector.spans


def a_drain_may_be_asked_for(binary: str, stage: Stage) -> None:
    """Readiness says so at once, twice is once, and what is under way is finished."""
    with seen(binary, stage, config='[limits]\nrequest = "2s"\n', ends=True) as (gateway, admin), Lines(gateway.port) as lines:
        lines.initialize()
        assert text_of(lines.call("echo", {"text": "before"})) == "before"
        lines.begin("tools/call", {"name": "hang", "arguments": {}})
        lines.begin("tools/call", {"name": "echo", "arguments": {"text": "under way"}})
        assert text_of(lines.answer()) == "under way"
        assert admin.ask("GET", "/drain")[0] == 405
        assert admin.ask("POST", "/drain") == admin.ask("POST", "/drain") == (202, '{"status":"draining"}\n')
        until("it is not ready", lambda: admin.ask("GET", "/ready")[0] == 503)
        assert json.loads(admin.ask("GET", "/ready")[1])["status"] == "draining"
        assert lines.answer()["error"]["code"] == -32004, "the call had its time"
        assert gateway.process.wait(STOP_S_MAX) == 0, gateway.tail()


def days_of_certificates_are_told(binary: str, stage: Stage) -> None:
    authority = Authority(stage.dir / "eyes-tls")
    pairs = [authority.sign("own", "DNS:localhost", 60), authority.sign("other", "DNS:other.test", 5)]
    files = ", ".join(f'{{ cert = "{cert}", key = "{key}" }}' for cert, key in pairs)
    config = f"[tcp]\ntls = true\n[tls]\ncertificates = [{files}]\n"
    with seen(binary, stage, config=config) as (gateway, admin):
        for name, days in (("dns:localhost", (59, 60)), ("dns:other.test", (4, 5))):
            assert admin.value("ringgate_tls_certificate_days_left", name=name) in days
        with urllib.request.urlopen(f"http://127.0.0.1:{admin.port}/events", timeout=WAIT_S_MAX) as events:
            while not (line := events.readline()).startswith(b"data:"):
                assert line, "the stream ended"
            told = json.loads(line[5:])["certificates"]
        assert [(it["name"], it["days"] < 7) for it in told] == [("dns:localhost", False), ("dns:other.test", True)], told
        assert "expires within a week" in gateway.log.read_text(), gateway.tail()
    with seen(binary, stage) as (_, admin):
        assert "ringgate_tls_certificate_days_left" not in admin.get("/metrics"), "nobody speaks TLS"


def the_dashboard_is_live_and_can_be_read(binary: str, stage: Stage) -> str:
    """By a headless browser: at two widths, in light and dark; numbers move, nothing errs, all has a name."""
    folder = os.environ.get("RINGGATE_SCREENSHOTS") or str(stage.dir)
    upstreams = {"quick": {"command": sys.executable, "args": [QUICK]},
                 "search": {"command": sys.executable, "args": [QUICK]},
                 "archive": {"url": f"http://127.0.0.1:{free_port()}/mcp"}}
    with seen(binary, stage, upstreams, ends=True) as (gateway, admin), contextlib.ExitStack() as stack:
        ending = threading.Event()

        def busy(name: str) -> None:
            with Lines(gateway.port) as lines:
                lines.initialize()
                while not ending.is_set():
                    lines.call(f"{name}__echo", {"text": "x"})
                    time.sleep(0.002)

        workers = [threading.Thread(target=busy, args=(name,), daemon=True) for name in ("quick", "quick", "search")]
        for worker in workers:
            worker.start()
        for _ in range(20):
            stack.enter_context(Lines(gateway.port))
        assert "error" in Lines(gateway.port).ask("tools/call", {"name": "archive__x", "arguments": {}})
        browser = subprocess.Popen(
            [node(), str(HERE / "clients" / "dashboard.mjs"), f"http://127.0.0.1:{admin.port}/", folder],
            env={**os.environ, "BROWSER_MODULES": str(cache() / "browser")}, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=(stage.dir / "browser.log").open("w"))
        try:
            line = browser.stdout.readline()
            assert line, (stage.dir / "browser.log").read_text()[-800:]
            looked = json.loads(line)
            ending.set()
            for worker in workers:
                worker.join(WAIT_S_MAX)
            assert not looked["errors"], looked["errors"]
            outside = [url for url in looked["requests"]
                       if not url.startswith((f"http://127.0.0.1:{admin.port}/", "data:"))]
            assert not outside, outside
            before, after = looked["moved"]
            assert before != after, "no number moves"
            assert looked["state"] == "an upstream is down", looked["state"]
            for name, page in looked["pages"].items():
                assert page["overflow"] <= 0, f"{name} is {page['overflow']} pixels too wide"
            assert not looked["unnamed"], looked["unnamed"]
            for role, least in (("link", 4), ("table", 4), ("image", 4), ("region", 8), ("main", 1)):
                names = looked["names"][role]
                assert len(names) >= least and all(names), (role, names)
            assert looked["live"] == ["status", "polite"], looked["live"]
            assert looked["focus"][0] == ["Skip to the figures", True], looked["focus"]
            assert all(shown for _, shown in looked["focus"]), looked["focus"]
            rows = {row[0]: row for row in looked["upstreams"]}
            assert rows.keys() == upstreams.keys(), rows
            assert "ready" in rows["quick"][1] and "down" in rows["archive"][1], rows
            transports = dict(looked["transports"])
            assert int(transports["tcp"]) >= 20, transports
            assert looked["shards"] and looked["limits"], looked
            gateway.process.send_signal(signal.SIGTERM)
            gateway.process.wait(STOP_S_MAX)
            browser.stdin.write("\n")
            browser.stdin.flush()
            assert json.loads(browser.stdout.readline())["state"] == "the gateway does not answer"
            browser.wait(WAIT_S_MAX)
        finally:
            ending.set()
            if browser.poll() is None:
                browser.kill()
                browser.wait()
        return f"{len(looked['names']['table'])} tables, {before} then {after} messages"


ALL = {"eyes/prometheus-reads-the-metrics": prometheus_reads_the_metrics,
       "eyes/ten-thousand-connections-are-counted": ten_thousand_connections_are_counted,
       "eyes/agents-have-nothing-to-do-with-it": agents_have_nothing_to_do_with_it,
       "eyes/the-log-tells-as-much-as-it-is-told-to": the_log_tells_as_much_as_it_is_told_to,
       "eyes/a-traced-call-is-collected": a_traced_call_is_collected,
       "eyes/each-request-is-traced-at-ratio-one": each_request_is_traced_at_ratio_one,
       "eyes/without-a-collector-nothing-changes": without_a_collector_nothing_changes,
       "eyes/days-of-certificates-are-told": days_of_certificates_are_told,
       "eyes/a-drain-may-be-asked-for": a_drain_may_be_asked_for,
       "eyes/the-dashboard-is-live-and-can-be-read": the_dashboard_is_live_and_can_be_read}
