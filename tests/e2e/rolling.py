"""A rolling restart loses nothing: two gateways behind HAProxy (`tuning/haproxy/l4.cfg` as it is shipped), clients of
every kind at work, and one gateway after the other is told to end (SIGTERM) and started again.

What counts, for each request (RINGGATE_ROLLING_REQUESTS of them, 20,000 by default):

- *answered*: with its own answer. Every request has to be, if need be at a second try; nothing else is a success.
- *tried again*: a request that got no answer and that its client may send once more by the rules. That is (a) over
  HTTP, when no byte of a response came, or 404 for a session whose gateway is gone, after which the client initializes
  anew, as the specification says; (b) on a TCP connection, which the gateway closed before it answered. Whether such a
  request was really not carried out is not believed but looked up: the server behind the gateways keeps a diary.
- *lost*: what was carried out and not answered; what broke in the middle of a response; any other status, 503 as well,
  or an error; an answer that is another's. There must be none.

Over HTTP nothing may be tried again but for the 404s: a client cannot see the diary.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

from exchange import ABLE_KEY, BOTH, LEGACY, MODERN, SELF, SELF_KEY, VERSION_KEY
from stage import HERE, READY_S_MAX, REPO, Stage, cache, free_port

REQUESTS = int(os.environ.get("RINGGATE_ROLLING_REQUESTS", "20000"))
# Of each kind. A client is an address of its own, by which the balancer tells them apart.
MODERNS, SESSIONS, LINES, LISTENERS = 10, 6, 6, 3
# A request is given up, and lost, when it had no answer after so many tries, or this long.
TRIES_MAX = 20
ANSWER_S_MAX = 20.0
# Parts of all requests that are made before the first restart, and before the second.
FIRST, SECOND = 0.2, 0.55
PAUSE_S = 0.05


class Cut(Exception):
    """The connection ended before a byte of the response."""


class Broken(Exception):
    """The connection ended within a response."""


class Tally:
    """What all clients count together."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.lost: list[str] = []
        # What was sent and not answered, to be looked up in the diary.
        self.unanswered: list[str] = []
        self.ending = threading.Event()

    def add(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def lose(self, why: str) -> None:
        with self.lock:
            self.lost.append(why)

    def unanswer(self, what: str, text: str) -> None:
        with self.lock:
            self.counts[what] += 1
            self.unanswered.append(text)

    @property
    def answered(self) -> int:
        return sum(count for what, count in self.counts.items() if what.endswith(" answered"))


class Wire:
    """One connection to the balancer at a time, from an address of its own; made anew when it has ended."""

    def __init__(self, port: int, address: str) -> None:
        self.port, self.address = port, address
        self.socket: socket.socket | None = None
        self.rest = b""

    def open(self) -> None:
        """A fresh connection, unless there is one that has not been ended by the other side."""
        if self.socket:
            try:
                self.socket.setblocking(False)
                ended = self.socket.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                ended = False
            except OSError:
                ended = True
            if not ended:
                self.socket.settimeout(ANSWER_S_MAX)
                return
            self.close()
        self.socket = socket.create_connection(("127.0.0.1", self.port), ANSWER_S_MAX, (self.address, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket, self.rest = None, b""

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Cut(f"while sending: {error}") from None

    def more(self) -> bool:
        """Reads on; false at the end."""
        try:
            data = self.socket.recv(1 << 16)
        except (ConnectionError, BrokenPipeError):
            return False
        self.rest += data
        return bool(data)

    def line(self, end: bytes = b"\n") -> bytes | None:
        while end not in self.rest:
            if not self.more():
                return None
        line, _, self.rest = self.rest.partition(end)
        return line

    def request(self, method: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, dict[str, str]]:
        """The head of the response."""
        told = {"Host": "localhost", **headers, **({"Content-Length": str(len(body))} if body else {})}
        self.send("".join([f"{method} /mcp HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in told.items()), "\r\n"]).encode()
                  + body)
        head = self.line(b"\r\n\r\n")
        if head is None:
            raise Broken("in the head") if self.rest else Cut("no byte of a response")
        first, *more = head.decode().split("\r\n")
        return int(first.split()[1]), {k.lower(): v for k, v in (one.split(": ", 1) for one in more)}

    def body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            size = int(headers["content-length"])
            while len(self.rest) < size:
                if not self.more():
                    raise Broken("in the body")
            body, self.rest = self.rest[:size], self.rest[size:]
            return body
        body = b""
        while chunk := self.chunk():
            body += chunk
        return body

    def chunk(self) -> bytes:
        """The next chunk of a stream; empty at its good end."""
        size = self.line(b"\r\n")
        if size is None:
            raise Broken("between chunks")
        left = int(size, 16) + 2
        while len(self.rest) < left:
            if not self.more():
                raise Broken("in a chunk")
        chunk, self.rest = self.rest[:left - 2], self.rest[left:]
        return chunk

    def post(self, message: dict, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        usual = {"Content-Type": "application/json", "Accept": BOTH}
        status, told = self.request("POST", {**usual, **headers}, json.dumps(message).encode())
        body = self.body(told)
        if told.get("connection", "").lower() == "close":
            self.close()
        return status, told, body


def events(body: bytes) -> list[dict]:
    return [json.loads(line[5:]) for line in body.decode().splitlines() if line.startswith("data:") and line[5:].strip()]


class Client(threading.Thread):
    """Makes one request after the other until told to end."""

    kind = ""

    def __init__(self, tally: Tally, port: int, number: int) -> None:
        super().__init__(daemon=True)
        self.tally, self.number = tally, number
        self.wire = Wire(port, f"127.0.0.{10 + number}")

    def run(self) -> None:
        done = 0
        while not self.tally.ending.is_set():
            done += 1
            self.one(f"{self.kind}-{self.number}-{done}")
        self.wire.close()

    def listened(self, note: Callable[[bytes], None] = lambda _: None) -> bytes | None:
        """All of a stream that was opened, once it has ended; nothing where we end first."""
        self.tally.add("streams opened")
        self.wire.socket.settimeout(1.0)
        body = b""
        while not self.tally.ending.is_set():
            try:
                chunk = self.wire.chunk()
            except TimeoutError:
                continue
            if not chunk:
                return body
            body += chunk
            note(chunk)
        return None

    def one(self, text: str) -> None:
        """One request, to its answer."""
        for attempt in range(TRIES_MAX):
            # Each try is another line in the diary.
            said = f"{text}-{attempt}"
            try:
                self.wire.open()
            except OSError:
                # Nothing was sent: no gateway is there at this moment.
                self.tally.add("connections refused")
                time.sleep(PAUSE_S)
                continue
            try:
                if self.ask(said):
                    return self.tally.add(f"{self.kind} answered")
            except Cut:
                self.wire.close()
                self.tally.unanswer(f"{self.kind} tried again", said)
            except Exception as error:  # whatever else happens to a request is a loss
                self.wire.close()
                return self.tally.lose(f"{said}: {type(error).__name__}: {error}")
        self.tally.lose(f"{text}: no answer at {TRIES_MAX} tries")

    def ask(self, text: str) -> bool:
        """Whether it was answered; if not, it is to be asked again."""
        raise NotImplementedError

    def check(self, status: int, body: bytes, text: str) -> None:
        assert status == 200, f"status {status}: {body[:200]!r}"
        answer = json.loads(body) if body[:1] == b"{" else events(body)[-1]
        assert "result" in answer and answer["result"]["content"][0]["text"] == text, answer


class ModernClient(Client):
    """A client of 2026-07-28 over HTTP. Every other call goes to the built-in server, which answers at once."""

    kind = "modern"
    META = {VERSION_KEY: MODERN, ABLE_KEY: {}, SELF_KEY: SELF}

    def ask(self, text: str) -> bool:
        name, key = ("quick__echo", "text") if text.split("-")[2][-1] in "02468" else ("local__echo", "message")
        params = {"name": name, "arguments": {key: text}, "_meta": self.META}
        status, _, body = self.wire.post(
            {"jsonrpc": "2.0", "id": text, "method": "tools/call", "params": params},
            {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name})
        self.check(status, body, text)
        return True


def hello() -> dict:
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": SELF}}


INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class SessionClient(Client):
    """A client of 2025-11-25 with a session, and its stream for news, over HTTP."""

    kind = "session"

    def __init__(self, *given: object) -> None:
        super().__init__(*given)
        self.session: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": LEGACY}

    def begin(self) -> None:
        status, told, body = self.wire.post(hello(), {})
        assert status == 200, f"initialize: {status} {body[:200]!r}"
        self.session = told["mcp-session-id"]
        self.wire.open()
        status, _, body = self.wire.post(INITIALIZED, self.headers)
        if status == 404:
            self.session = None
            return
        assert status == 202, f"initialized: {status} {body[:200]!r}"

    def ask(self, text: str) -> bool:
        if self.session is None:
            self.begin()
            self.wire.open()
            if self.session is None:
                return False
        params = {"name": "quick__echo", "arguments": {"text": text}}
        message = {"jsonrpc": "2.0", "id": text, "method": "tools/call", "params": params}
        status, _, body = self.wire.post(message, self.headers)
        if status == 404:
            # "the client MUST start a new session" (2025-11-25 "Session Management").
            self.session = None
            self.tally.unanswer("sessions begun anew", text)
            return False
        self.check(status, body, text)
        return True


class LinesClient(Client):
    """A client of 2025-11-25 on a TCP connection."""

    kind = "lines"

    def exchange(self, message: dict) -> dict:
        self.wire.send(json.dumps(message).encode() + b"\n")
        while (line := self.wire.line()) is not None:
            answer = json.loads(line)
            if answer.get("id") == message["id"] and "method" not in answer:
                return answer
            # Said on the way out, with no id, to those that came when the drain had begun.
            if "error" in answer and answer.get("id") is None:
                raise Cut(answer["error"]["message"])
        if self.wire.rest:
            raise Broken("within a line")
        raise Cut("closed before the answer")

    def ask(self, text: str) -> bool:
        if not hasattr(self, "greeted") or self.greeted is not self.wire.socket:
            greeted = self.exchange(hello())
            assert "result" in greeted, greeted
            self.wire.send(json.dumps(INITIALIZED).encode() + b"\n")
            self.greeted = self.wire.socket
        params = {"name": "quick__echo", "arguments": {"text": text}}
        answer = self.exchange({"jsonrpc": "2.0", "id": text, "method": "tools/call", "params": params})
        assert "result" in answer and answer["result"]["content"][0]["text"] == text, answer
        return True


class ListenClient(Client):
    """Listens for news, in the manner of 2026-07-28. The stream ends with a result, and is asked for again."""

    kind = "listener"
    META = ModernClient.META

    def one(self, text: str) -> None:
        try:
            self.wire.open()
            params = {"notifications": {"toolsListChanged": True}, "_meta": self.META}
            status, told = self.wire.request(
                "POST", {"Content-Type": "application/json", "Accept": BOTH, "MCP-Protocol-Version": MODERN,
                         "Mcp-Method": "subscriptions/listen"},
                json.dumps({"jsonrpc": "2.0", "id": text, "method": "subscriptions/listen", "params": params}).encode())
            assert status == 200, f"status {status}: {self.wire.rest[:200]!r}"
            body = self.listened()
            if body is not None:
                last = events(body)[-1]
                assert last.get("id") == text and "result" in last, f"the stream ended with {last}"
                self.tally.add("streams ended with their result")
            self.wire.close()
        except (OSError, Cut):
            # Not opened: nothing was said on it.
            self.wire.close()
            self.tally.add("streams tried again")
            time.sleep(PAUSE_S)
        except Exception as error:  # a stream that ends in another way
            self.wire.close()
            self.tally.lose(f"stream {text}: {type(error).__name__}: {error}")


class NewsClient(SessionClient):
    """Keeps the GET stream of a session open, and comes back with Last-Event-ID."""

    kind = "news"

    def note_ids(self, chunk: bytes) -> None:
        for found in re.findall(rb"(?m)^id: ?(.+)$", chunk):
            self.seen = found.decode()

    def __init__(self, *given: object) -> None:
        super().__init__(*given)
        self.seen: str | None = None

    def one(self, text: str) -> None:
        try:
            self.wire.open()
            if self.session is None:
                self.begin()
                self.seen = None
                return
            resumes = {"Last-Event-ID": self.seen} if self.seen else {}
            status, told = self.wire.request("GET", {"Accept": "text/event-stream", **self.headers, **resumes})
            if status == 404:
                self.wire.close()
                self.session = None
                self.tally.add("news: sessions begun anew")
                return
            assert status == 200, f"status {status}"
            body = self.listened(self.note_ids)
            if body is not None:
                assert b"retry:" in body, f"it was not told when to come back: {body[-200:]!r}"
                self.tally.add("streams ended with a time to come back")
            self.wire.close()
        except (OSError, Cut):
            self.wire.close()
            self.tally.add("streams tried again")
            time.sleep(PAUSE_S)
        except Exception as error:  # a stream that ends in another way
            self.wire.close()
            self.tally.lose(f"stream {text}: {type(error).__name__}: {error}")


class Place:
    """One gateway of the two, always on the same ports."""

    def __init__(self, binary: str, folder: pathlib.Path, diary: pathlib.Path) -> None:
        folder.mkdir()
        self.binary, self.path, self.log = binary, folder / "ringgate.toml", folder / "gateway.log"
        self.port, self.http_port = free_port(), free_port()
        args = json.dumps([str(HERE / "servers" / "quick.py"), "--diary", str(diary)])
        self.path.write_text(
            f'[tcp]\nlisten = "127.0.0.1:{self.port}"\n[http]\nlisten = "127.0.0.1:{self.http_port}"\n'
            f'[shards]\ncount = 2\n[limits]\n{LIMITS}'
            f'[upstreams.quick]\ncommand = "{sys.executable}"\nargs = {args}\n[upstreams.local]\nbuiltin = true\n')
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([self.binary, "serve", "--config", str(self.path)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_S_MAX
        while get(self.http_port, "/ready")[0] != 200:
            assert self.process.poll() is None, self.log.read_text()[-600:]
            assert time.monotonic() < deadline, "it does not become ready"
            time.sleep(PAUSE_S)

    def end(self) -> float:
        """SIGTERM, and how long it took."""
        began = time.monotonic()
        self.process.terminate()
        code = self.process.wait(READY_S_MAX)
        assert code == 0, f"it ended with {code}: {self.log.read_text()[-600:]}"
        return time.monotonic() - began

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# Longer than HAProxy takes to notice (`inter` in its file).
LIMITS = 'notice = "2s"\ndrain = "10s"\n'


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S_MAX)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


class Balancer:
    """HAProxy with the file that the repository ships."""

    def __init__(self, folder: pathlib.Path, a: Place, b: Place) -> None:
        self.http_port, self.port, self.metrics_port = free_port(), free_port(), free_port()
        program, environ = haproxy()
        environ |= {"RINGGATE_FRONT_HTTP": f"127.0.0.1:{self.http_port}",
                    "RINGGATE_FRONT_LINES": f"127.0.0.1:{self.port}",
                    "RINGGATE_FRONT_METRICS": f"127.0.0.1:{self.metrics_port}"}
        for name, place in (("A", a), ("B", b)):
            environ |= {f"RINGGATE_{name}": f"127.0.0.1:{place.http_port}", f"RINGGATE_{name}_PORT": str(place.http_port),
                        f"RINGGATE_{name}_LINES": f"127.0.0.1:{place.port}"}
        self.log = folder / "haproxy.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([program, "-db", "-f", str(REPO / "tuning/haproxy/l4.cfg")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)

    def wait_up(self, server: str) -> None:
        """Until it sends connections there."""
        up = {f'haproxy_server_status{{proxy="{proxy}",server="{server}",state="UP"}} 1' for proxy in ("http", "lines")}
        deadline = time.monotonic() + READY_S_MAX
        while not up <= set(get(self.metrics_port, "/metrics")[1].splitlines()):
            assert self.process.poll() is None, self.log.read_text()[-600:]
            assert time.monotonic() < deadline, f"HAProxy does not see {server}"
            time.sleep(PAUSE_S)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def haproxy() -> tuple[str, dict[str, str]]:
    """The installed one, or that of scripts/setup with its libraries."""
    if found := shutil.which("haproxy"):
        return found, dict(os.environ)
    root = cache() / "debian"
    assert (root / "usr/sbin/haproxy").exists(), "haproxy is missing: install it, or run scripts/setup on Debian"
    libraries = next((root / "usr/lib").glob("*-linux-gnu"))
    return str(root / "usr/sbin/haproxy"), {**os.environ, "LD_LIBRARY_PATH": str(libraries)}


def a_rolling_restart_loses_no_request(binary: str, stage: Stage) -> str:
    diary = stage.dir / "diary"
    places: list[Place] = []
    balancer = None
    tally = Tally()
    try:
        for name in "ab":
            places.append(Place(binary, stage.dir / f"rolling-{name}", diary))
        balancer = Balancer(stage.dir, *places)
        for name in "ab":
            balancer.wait_up(name)
        numbers = iter(range(200))
        clients = [kind(tally, port, next(numbers)) for kind, port, count in (
            (ModernClient, balancer.http_port, MODERNS), (SessionClient, balancer.http_port, SESSIONS),
            (LinesClient, balancer.port, LINES), (ListenClient, balancer.http_port, LISTENERS),
            (NewsClient, balancer.http_port, LISTENERS)) for _ in range(count)]
        began = time.monotonic()
        for client in clients:
            client.start()
        drains = []
        for place, name, share in zip(places, "ab", (FIRST, SECOND), strict=True):
            wait_for(tally, share * REQUESTS)
            drains.append(place.end())
            place.start()
            balancer.wait_up(name)
        wait_for(tally, REQUESTS)
        took = time.monotonic() - began
        tally.ending.set()
        for client in clients:
            client.join(ANSWER_S_MAX)
        assert not any(client.is_alive() for client in clients), "a client waits for an answer"
        carried_out = set(diary.read_text().split("\n"))
        lost = tally.lost + [f"{text}: was carried out, and not answered" for text in tally.unanswered
                             if text in carried_out]
        counts = ", ".join(f"{count} {what}" for what, count in sorted(tally.counts.items()))
        told = f"{counts}; {took:.0f} s, drained in {', '.join(f'{drain:.1f}' for drain in drains)} s"
        assert not lost, f"{len(lost)} of {tally.answered + len(lost)} are lost: {lost[:4]}; {told}"
        for kind in ("modern", "session"):
            again = tally.counts[f"{kind} tried again"]
            assert not again, f"{again} requests over HTTP got no byte of a response; {told}"
        return told
    finally:
        tally.ending.set()
        for one in [balancer, *places]:
            if one:
                one.kill()


def wait_for(tally: Tally, answered: float) -> None:
    """Until so many are answered; that they are is progress, and that none is any more is a fault."""
    before, since = tally.answered, time.monotonic()
    while tally.answered < answered:
        time.sleep(PAUSE_S)
        if tally.answered > before:
            before, since = tally.answered, time.monotonic()
        assert time.monotonic() - since < ANSWER_S_MAX, f"nothing is answered any more: {tally.counts}, {tally.lost[:3]}"


ALL = {"rolling/a-rolling-restart-loses-no-request": a_rolling_restart_loses_no_request}
