"""TLS with a private authority: each transport and client, certificates of clients, a certificate that is replaced
under load, and what strangers do to a listener. Certificates are made by openssl."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator

from lines import MODERN, Closed, Lines, text_of
from stage import HERE, Gateway, Stage, client_python, free_port

REQUESTS, WORKERS = 20_000, 4
SUM = {"name": "add", "arguments": {"a": 2, "b": 3}}
FIVE = '{"sum":5}'


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    """A private authority in a folder, and what it signs."""

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ca = folder, folder / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
                "-subj", "/CN=an authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", str(folder / "ca.key"), "-out", str(self.ca))

    def sign(self, name: str, alternative: str, days: int = 60) -> tuple[pathlib.Path, pathlib.Path]:
        """Certificate and key of NAME; with negative days it has expired."""
        key, asked, made = (self.folder / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(asked))
        more = self.folder / f"{name}.ext"
        more.write_text(f"subjectAltName={alternative}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
                        "extendedKeyUsage=serverAuth,clientAuth\nauthorityKeyIdentifier=keyid\n")
        openssl("x509", "-req", "-in", str(asked), "-CA", str(self.ca), "-CAkey", str(self.folder / "ca.key"),
                "-CAcreateserial", "-days", str(days), "-extfile", str(more), "-out", str(made))
        key.chmod(0o600)
        return made, key

    def context(self, own: tuple[pathlib.Path, pathlib.Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if own:
            context.load_cert_chain(*map(str, own))
        return context


class Secure(Lines):
    """JSON lines over TLS."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(port)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")


class House:
    """A gateway whose listeners all speak TLS."""

    def __init__(self, binary: str, stage: Stage, more: str = "", upstreams: dict | None = None) -> None:
        self.folder = stage.dir / f"tls-{free_port()}"
        self.authority = Authority(self.folder)
        self.authority.sign("own", "DNS:localhost,IP:127.0.0.1")
        # Merged before the gateway's own sections are, so what `more` says of [tls] stands behind this.
        section = f'[tls]\ncert = "{self.folder}/own.pem"\nkey = "{self.folder}/own.key"\n'
        config = f"[tcp]\ntls = true\n[http]\ntls = true\nmetrics = true\n{section}" + more.replace("FOLDER", str(self.folder))
        self.gateway = Gateway(binary, self.folder, upstreams or {}, http=True, config=config)
        self.gateway.wait_ready()
        self.binary, self.port, self.http_port = binary, self.gateway.port, self.gateway.http_port
        self.url = f"https://localhost:{self.http_port}/mcp"
        self.context = self.authority.context()

    def lines(self, own: tuple[pathlib.Path, pathlib.Path] | None = None) -> Secure:
        return Secure(self.port, self.authority.context(own))

    def connection(self, own: tuple[pathlib.Path, pathlib.Path] | None = None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.http_port, timeout=20, context=self.authority.context(own))

    def counted(self, name: str) -> int:
        connection = self.connection()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith(f"ringgate_{name}{{"))


@contextlib.contextmanager
def house(binary: str, stage: Stage, more: str = "", upstreams: dict | None = None) -> Iterator[House]:
    made = House(binary, stage, more, upstreams)
    try:
        yield made
    finally:
        wrong = made.gateway.stop()
    assert wrong is None, wrong


def call(connection: http.client.HTTPSConnection, **more: str) -> tuple[int, bytes]:
    """One call of a modern client's."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**SUM, "_meta": MODERN}})
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream",
               "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "add", **more}
    connection.request("POST", "/mcp", body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def every_client_comes_over_tls(binary: str, stage: Stage) -> str:
    with house(binary, stage) as it:
        believing = {**os.environ, "SSL_CERT_FILE": str(it.authority.ca)}
        for kind in ("legacy-1.30", "modern-2.3"):
            done = subprocess.run([client_python(kind), "-B", "-W", "ignore", str(HERE / "clients/secure.py"), it.url],
                                  env=believing, capture_output=True, text=True, timeout=60)
            assert done.stdout.strip() == FIVE, f"{kind}: {done.stdout} {done.stderr[-400:]}"
        for version in ("--http1.1", "--http2"):
            done = subprocess.run(["curl", "-sS", version, "--cacert", str(it.authority.ca), "-D", "-", "-o", "/dev/null",
                                   f"https://localhost:{it.http_port}/health"], capture_output=True, text=True, timeout=20)
            assert f"HTTP/{version[6:]} 200" in done.stdout, done.stdout + done.stderr
            assert "strict-transport-security: max-age=31536000; includeSubDomains" in done.stdout, done.stdout
        for url in (it.url, f"wss://localhost:{it.http_port}/ws", f"tls://localhost:{it.port}"):
            done = subprocess.run([binary, "call", url, "add", json.dumps(SUM["arguments"])], env=believing,
                                  capture_output=True, text=True, timeout=60)
            assert done.stdout.strip() == FIVE, f"{url}: {done.stdout} {done.stderr}"
            stranger = subprocess.run([binary, "call", url, "add", "{}"], capture_output=True, text=True, timeout=60)
            assert stranger.returncode, f"{url}: nobody has said that this authority is believed"
        with it.lines() as lines:
            lines.initialize()
            assert text_of(lines.call(SUM["name"], SUM["arguments"])) == FIVE
            return f"{lines.socket.version()}, {lines.socket.cipher()[0]}"


def a_client_is_known_by_its_certificate(binary: str, stage: Stage) -> None:
    more = ('client_ca = "FOLDER/ca.pem"\nclient_auth = "required"\n'
            '[auth.certificates]\nalice = ["uri:spiffe://house.test/alice", "email:Alice@house.test"]\n'
            '[policy.agents.alice.allow]\nservers = ["*"]\ntools = { "*" = ["add"] }\n'
            '[policy.defaults]\ndeny_on_missing_agent = true\n')
    with contextlib.ExitStack() as stack:
        it = House(binary, stage, more)
        stack.callback(it.gateway.stop)
        stranger = Authority(it.folder / "stranger")
        good = [it.authority.sign("alice", "URI:spiffe://house.test/alice"),
                it.authority.sign("mail", "email:alice@house.test")]
        for own in good:
            assert call(it.connection(own))[0] == 200
            with it.lines(own) as lines:
                lines.initialize()
                assert text_of(lines.call("add", SUM["arguments"])) == FIVE
                assert lines.call("echo", {"text": "x"}).get("error"), "it is no other agent"
        bad = {"none": None, "of another authority": stranger.sign("alice", "URI:spiffe://house.test/alice"),
               "expired": it.authority.sign("old", "URI:spiffe://house.test/alice", -1)}
        for what, own in bad.items():
            for attempt in (lambda own=own: call(it.connection(own)), lambda own=own: it.lines(own).initialize()):
                try:
                    answer = attempt()
                except Exception:  # however the client's library puts it
                    continue
                raise AssertionError(f"{what}: {answer}")
        other = it.authority.sign("bob", "URI:spiffe://house.test/bob")
        assert call(it.connection(other))[0] == 401, "good, and nobody's"


def a_name_that_is_taken_away_ends_what_came_by_it(binary: str, stage: Stage) -> None:
    more = ('client_ca = "FOLDER/ca.pem"\nclient_auth = "required"\n'
            '[auth.certificates]\nalice = ["cn:alice", "cn:lost"]\n')
    with house(binary, stage, more) as it, contextlib.ExitStack() as stack:
        kept, lost = (it.authority.sign(name, "DNS:agent.test") for name in ("alice", "lost"))
        stays, goes = (stack.enter_context(it.lines(own)) for own in (kept, lost))
        web = {"kept": it.connection(kept), "lost": it.connection(lost)}
        streams = {"kept": it.connection(kept), "lost": it.connection(lost)}
        for one in (stays, goes):
            one.initialize()
        for name in web:
            assert call(web[name])[0] == 200
            streams[name].request("GET", "/sse", headers={"accept": "text/event-stream"})
            streams[name] = streams[name].getresponse()
            assert streams[name].status == 200
        text = it.gateway.config.read_text()
        assert '"cn:lost"' in text
        it.gateway.config.write_text(text.replace(', "cn:lost"', ""))
        it.gateway.process.send_signal(signal.SIGHUP)
        try:
            goes.next()
            raise AssertionError("lines go on")
        except (Closed, ssl.SSLError):
            pass
        try:
            while streams["lost"].read1():
                pass
        except (http.client.HTTPException, OSError):
            pass
        web["lost"].close()
        assert call(web["lost"])[0] == 401, "good, and nobody's"
        stays.alive()
        assert call(web["kept"])[0] == 200
        assert b"endpoint" in streams["kept"].readline(), "another's stream goes on"


def a_certificate_is_replaced_under_load(binary: str, stage: Stage) -> str:
    with house(binary, stage) as it:
        wrong: list[str] = []
        done = [0] * WORKERS

        def work(number: int) -> None:
            connection = it.connection()
            try:
                for n in range(REQUESTS // WORKERS):
                    if number == 0 and n % 50 == 0:
                        # Some shake hands meanwhile.
                        connection.close()
                    status, body = call(connection)
                    if status != 200 or b'"sum":5' not in body:
                        wrong.append(f"{status} {body[:200]!r}")
                    done[number] += 1
            except Exception as error:  # any failure is what we look for
                wrong.append(f"{type(error).__name__}: {error}")

        def shown() -> str:
            der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", it.http_port)))
            return hashlib.sha256(der).hexdigest()

        before = shown()
        with it.lines() as kept:
            kept.initialize()
            workers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(WORKERS)]
            for worker in workers:
                worker.start()
            seen, reloads = {before}, 0
            while any(worker.is_alive() for worker in workers) and reloads < 5:
                it.authority.sign("own", "DNS:localhost,IP:127.0.0.1")
                told = it.gateway.log.read_text(errors="replace").count("the configuration is used")
                it.gateway.process.send_signal(signal.SIGHUP)
                while it.gateway.log.read_text(errors="replace").count("the configuration is used") == told:
                    assert it.gateway.process.poll() is None, it.gateway.tail()
                seen.add(shown())
                reloads += 1
            for worker in workers:
                worker.join(120)
            assert not wrong, f"{len(wrong)} failed: {wrong[:3]}"
            assert sum(done) == REQUESTS, done
            assert len(seen) == reloads + 1 > 1, "each reload shows another certificate"
            kept.alive()
        # What does not fit together is refused, and what was there goes on.
        it.authority.sign("other", "DNS:localhost")
        last = shown()
        (it.folder / "own.key").write_bytes((it.folder / "other.key").read_bytes())
        it.gateway.process.send_signal(signal.SIGHUP)
        while "the one before stays" not in it.gateway.log.read_text(errors="replace"):
            assert it.gateway.process.poll() is None, it.gateway.tail()
        assert shown() == last
        assert "is not the key of" in it.gateway.log.read_text(errors="replace")
        return f"{REQUESTS} requests, {reloads} certificates, none failed"


def strangers_cost_their_own_connection_only(binary: str, stage: Stage) -> str:
    with house(binary, stage, "[limits]\ntls_handshake = \"2s\"\n") as it, it.lines() as neighbour:
        neighbour.initialize()
        slow = [socket.create_connection(("127.0.0.1", it.port), 20) for _ in range(1_000)]
        for one in slow[::2]:
            one.sendall(b"\x16\x03\x01\x02")
        neighbour.alive()
        victim = it.lines()
        victim.initialize()
        raw = socket.socket(fileno=os.dup(victim.socket.fileno()))
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"a" * 32)
        try:
            victim.ask("ping")
        except Exception as error:  # however the client's library puts it
            assert not isinstance(error, TimeoutError), "the connection went on"
        else:
            raise AssertionError("a record that is none was taken")
        plain = socket.create_connection(("127.0.0.1", it.port), 20)
        plain.sendall(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        assert plain.recv(100)[:1] == b"\x15", "an alert"
        neighbour.alive()
        for one in slow:
            assert one.recv(100) == b"", "a handshake that does not end is ended"
        neighbour.alive()
        assert it.counted("tls_failed_late_total") == 1_000, it.counted("tls_failed_late_total")
        assert it.counted("tls_violations_total") == 1 and it.counted("tls_failed_handshake_total") == 1
        assert it.counted("tls_certificate_days") in (58, 59, 60)
        told = it.gateway.log.read_text(errors="replace").count("TLS came to nothing")
        assert 1 <= told <= 20, f"{told} lines about it"
        return f"1,000 slow handshakes, {told} lines of log"


def upstreams_are_reached_over_tls_and_held_to_their_pins(binary: str, stage: Stage) -> None:
    with house(binary, stage) as behind:
        der = subprocess.run(["openssl", "x509", "-in", str(behind.folder / "own.pem"), "-pubkey", "-noout"],
                             capture_output=True, check=True).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=der, capture_output=True,
                             check=True).stdout
        pin = base64.b64encode(hashlib.sha256(der).digest()).decode()
        wrong = base64.b64encode(bytes(32)).decode()
        ca = f'ca = "{behind.authority.ca}"'
        urls = {"http": behind.url, "ws": f"wss://localhost:{behind.http_port}/ws", "lines": f"tls://localhost:{behind.port}"}
        text = ""
        for name, url in urls.items():
            text += f'[upstreams.{name}]\nurl = "{url}"\n'
            text += f'tls = {{ {ca}, pins = [{{ sha256 = "{pin}", until = "2999-01-01" }}] }}\n'
        text += f'[upstreams.h2]\nurl = "{behind.url}"\nhttp2 = true\ntls = {{ {ca} }}\n'
        text += f'[upstreams.pinned]\nurl = "{behind.url}"\n'
        text += f'tls = {{ {ca}, pins = [{{ sha256 = "{wrong}", until = "2999-01-01" }}] }}\n'
        text += f'[upstreams.unknown]\nurl = "{behind.url}"\n'
        text += f'[upstreams.misnamed]\nurl = "{behind.url}"\ntls = {{ {ca}, name = "elsewhere.test" }}\n'
        gateway = Gateway(binary, stage.dir / "tls-front", {}, http=True, config=text)
        try:
            gateway.wait_ready()
            with Lines(gateway.port) as lines:
                lines.initialize()
                for name in (*urls, "h2"):
                    assert text_of(lines.call(f"{name}__add", SUM["arguments"])) == FIVE, name
                for name in ("pinned", "unknown", "misnamed"):
                    answer = lines.call(f"{name}__add", SUM["arguments"])
                    assert "error" in answer, answer
            log = gateway.log.read_text(errors="replace")
            assert "pin" in log.lower() and "UnknownIssuer" in log, log[-2000:]
        finally:
            ended = gateway.stop()
        assert ended is None, ended


class Garbage(threading.Thread):
    """Answers each connection with what is no TLS."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(b"220 mail.test ESMTP\r\n")


def a_server_whose_handshakes_fail_is_refused_at_once_until_they_do_not(binary: str, stage: Stage) -> None:
    failures = 3
    limits = "[limits]\nkeep_alive = \"200ms\"\n"
    with house(binary, stage, limits) as behind:
        garbage = Garbage()
        garbage.start()
        ca = f'tls = {{ ca = "{behind.authority.ca}" }}\n'
        urls = {"http": behind.url, "garbage": f"https://localhost:{garbage.port}/mcp"}
        text = "".join(f'[upstreams.{name}]\nurl = "{url}"\n{ca}' for name, url in urls.items())
        text += f'[upstreams.misnamed]\nurl = "{behind.url}"\ntls = {{ ca = "{behind.authority.ca}", name = "elsewhere.test" }}\n'
        text += f'[shards]\ncount = 1\n[limits]\nbreaker_failures = {failures}\nbreaker_open = "1s"\n'
        front = Gateway(binary, stage.dir / "tls-doubt", {}, http=True, config=text)

        def ask(lines: Lines, name: str) -> dict:
            # Longer than an idle connection lives: so each call needs a handshake.
            time.sleep(0.5)
            return lines.call(f"{name}__add", SUM["arguments"])

        def renew(names: str) -> None:
            behind.authority.sign("own", names)
            told = behind.gateway.log.read_text(errors="replace").count("the configuration is used")
            behind.gateway.process.send_signal(signal.SIGHUP)
            while behind.gateway.log.read_text(errors="replace").count("the configuration is used") == told:
                assert behind.gateway.process.poll() is None, behind.gateway.tail()

        def until(lines: Lines, name: str) -> None:
            for _ in range(60):
                answer = ask(lines, name)
                if "result" in answer:
                    assert text_of(answer) == FIVE
                    return
                assert answer["error"]["data"]["code"] == "SERVER_UNAVAILABLE", answer
            raise AssertionError(f"{name} does not come back: {answer}")

        try:
            front.wait_ready()
            with Lines(front.port) as lines:
                lines.initialize()
                until(lines, "http")
                # Who could never be reached is refused at once, and nobody waits for a handshake.
                for name in ("garbage", "misnamed"):
                    answer = ask(lines, name)
                    assert answer["error"]["data"]["code"] == "SERVER_UNAVAILABLE", answer
                    assert answer["error"]["data"]["server"] == name, answer
                # Who was there, and shows another's certificate now: each call is a failed dial, until there are enough.
                renew("DNS:elsewhere.test")
                said = []
                while not said or "breaker_failures" not in said[-1]["message"]:
                    said.append(ask(lines, "http")["error"])
                    assert len(said) <= failures + 1, said
                assert all(error["data"]["code"] == "SERVER_UNAVAILABLE" for error in said), said
                assert len(said) > 1 and all("cannot be reached" in error["message"] for error in said[:-1]), said
                assert 0 < said[-1]["data"]["retryAfterMs"] <= 1_000, said
                until(lines, "misnamed")
                # Its own name again.
                renew("DNS:localhost,IP:127.0.0.1")
                until(lines, "http")
                for _ in range(2 * failures):
                    assert text_of(ask(lines, "http")) == FIVE
            log = front.log.read_text(errors="replace")
            assert "breaker_failures: calls are refused for a while" in log, log[-2000:]
            assert "calls are answered again" in log, log[-2000:]
        finally:
            ended = front.stop()
            garbage.socket.close()
        assert ended is None, ended


def who_asks_in_clear_is_sent_to_https(binary: str, stage: Stage) -> None:
    port = free_port()
    with house(binary, stage, f'[http]\nredirect = "127.0.0.1:{port}"\n') as it:
        connection = http.client.HTTPConnection("localhost", port, timeout=20)
        connection.request("GET", "/mcp?a=b")
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.getheader("location")) == (301, f"{it.url}?a=b")
        assert answer.getheader("strict-transport-security") is None, "in clear it means nothing (RFC 6797 7.2)"
        connection.request("GET", "/mcp", headers={"host": "evil.test"})
        assert connection.getresponse().status == 421


ALL = {f"tls/{check.__name__.replace('_', '-')}": check for check in (
    every_client_comes_over_tls, a_client_is_known_by_its_certificate,
    a_name_that_is_taken_away_ends_what_came_by_it, a_certificate_is_replaced_under_load,
    strangers_cost_their_own_connection_only, upstreams_are_reached_over_tls_and_held_to_their_pins,
    a_server_whose_handshakes_fail_is_refused_at_once_until_they_do_not,
    who_asks_in_clear_is_sent_to_https)}
