"""Handshakes that are malformed, slow or endless, and records that are none: each costs its connection, and is counted."""

import contextlib
import json
import os
import pathlib
import socket
import ssl
import subprocess
from collections.abc import Iterator

import tls
from siege import ANSWER_S_MAX, OverHttp, OverLines, Siege, close_all, others_are_served, stands, until
from stage import REPO, Stage

PYTHON = pathlib.Path(os.environ.get("RINGGATE_CACHE", REPO / ".cache")) / "attacks" / "tlslite" / "bin" / "python"
RECORDS_S_MAX = 120
# What a handshake may be at most (RFC 8446 section 4: 24 bits of length), in records of this size.
LONGEST, RECORD = 0xFF_FF_FF, 16_384
# What rustls keeps of a message that is not whole; a few of these are sent at once.
ENDLESS = 20


@contextlib.contextmanager
def tls_house(binary: str, stage: Stage, name: str) -> Iterator[tuple[Siege, tls.Authority]]:
    """Lines over TLS, HTTP in clear beside it."""
    folder = stage.dir / name
    authority = tls.Authority(folder)
    authority.sign("own", "DNS:localhost,IP:127.0.0.1")
    config = (f'[tcp]\ntls = true\n[limits]\ntls_handshake = "4s"\n[tls]\ncert = "{folder}/own.pem"\n'
              f'key = "{folder}/own.key"\n')
    with stands(binary, stage, name, config) as siege:
        yield siege, authority


def record(kind: int, payload: bytes, length: int | None = None) -> bytes:
    return bytes([kind]) + b"\x03\x01" + (len(payload) if length is None else length).to_bytes(2, "big") + payload


def message(kind: int, body: bytes, length: int | None = None) -> bytes:
    return bytes([kind]) + (len(body) if length is None else length).to_bytes(3, "big") + body


def hello(context: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO, bytes]:
    """A client whose bytes somebody else carries, and the record that it begins with."""
    taken, given = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(taken, given, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return client, taken, given, given.read()


def malformed(whole: bytes) -> dict[str, bytes]:
    """What may come in place of a ClientHello; none of it is one."""
    body = whole[9:]
    return {
        "nothing-we-know": os.urandom(200),
        "zeros": bytes(200),
        "a-request-in-clear": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "sslv2": bytes([0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16]) + bytes(37),
        "a-record-of-unknown-type": record(99, whole[5:]),
        "a-record-of-an-unknown-version": b"\x16\x09\x09" + whole[3:],
        "a-record-without-content": record(22, b""),
        "a-record-that-is-too-long": record(22, bytes(0xFFFF), 0xFFFF),
        "application-data-first": record(23, b"early"),
        "an-alert-first": record(21, b"\x02\x28"),
        "alerts-without-end": record(21, b"\x01\x5a") * 1_000,
        "change-cipher-specs-first": record(20, b"\x01") * 1_000,
        "a-server-hello": record(22, message(2, body)),
        "a-finished": record(22, message(20, bytes(32))),
        "a-key-update": record(22, message(24, b"\x01")),
        "a-message-longer-than-it-says": record(22, message(1, body, len(body) - 5)),
        "extensions-that-are-cut": record(22, message(1, body[:-20])),
        "a-session-id-longer-than-may-be": record(22, message(1, body[:34] + b"\xff" + body[35:])),
        "garbage-behind-the-hello": whole + os.urandom(500),
        "two-hellos": whole + whole,
    }


def answered(one: socket.socket) -> bool:
    """Ended by the gateway: an alert, or the end, and not one byte of a handshake that goes on for ever."""
    one.settimeout(ANSWER_S_MAX)
    try:
        while one.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True


def exchange(one: socket.socket, client: ssl.SSLObject, taken: ssl.MemoryBIO, given: ssl.MemoryBIO) -> None:
    """The rest of a handshake that has begun."""
    while True:
        try:
            client.do_handshake()
            one.sendall(given.read())
            return
        except ssl.SSLWantReadError:
            one.sendall(given.read())
            taken.write(one.recv(1 << 16))


def failed(siege: Siege) -> int:
    return sum(siege.count(f"tls_failed_{kind}_total") for kind in ("handshake", "left", "late", "certificate"))


def of_strangers(binary: str, stage: Stage) -> str:
    """Instead of a handshake."""
    with tls_house(binary, stage, "handshakes") as (siege, authority):
        context = authority.context()
        with others_are_served(siege, OverLines(tls.Secure(siege.gateway.port, context)), OverHttp(siege.gateway.http_port)):
            cases, before = malformed(hello(context)[3]), failed(siege)
            for number, (name, what) in enumerate(cases.items(), 1):
                with socket.create_connection(("127.0.0.1", siege.gateway.port), ANSWER_S_MAX) as one:
                    try:
                        one.sendall(what)
                    except ConnectionError:
                        pass  # it has heard enough
                    if name != "a-record-without-content":
                        assert answered(one), name
                until(f"{name} is not counted once: {failed(siege)}", lambda number=number: failed(siege) - before == number)
            # A hello in a thousand pieces is one.
            for cut in (lambda whole: [whole[at:at + 1] for at in range(len(whole))],
                        lambda whole: [record(22, whole[at:at + 7]) for at in range(5, len(whole), 7)]):
                client, taken, given, whole = hello(context)
                with socket.create_connection(("127.0.0.1", siege.gateway.port), ANSWER_S_MAX) as one:
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for piece in cut(whole):
                        one.sendall(piece)
                    exchange(one, client, taken, given)
        assert failed(siege) - before == len(cases), f"{len(cases)} failed, {failed(siege) - before} are counted"
        return f"{len(cases)} cases"


def that_never_end(binary: str, stage: Stage) -> str:
    """A hello of 16 MiB, in small change: what is kept of it is bounded, and its time ends it."""
    with tls_house(binary, stage, "endless") as (siege, authority):
        context = authority.context()
        with others_are_served(siege, OverLines(tls.Secure(siege.gateway.port, context)), OverHttp(siege.gateway.http_port)):
            crowd, sent = [], 0
            for _ in range(ENDLESS):
                one = socket.create_connection(("127.0.0.1", siege.gateway.port), ANSWER_S_MAX)
                try:
                    one.sendall(record(22, message(1, b"", LONGEST)))
                    for _ in range(LONGEST // RECORD):
                        one.sendall(record(22, bytes(RECORD)))
                        sent += RECORD
                except ConnectionError:
                    pass  # it has heard enough
                crowd.append(one)
                siege.look()
            until("endless handshakes stay", lambda: siege.count("connections") <= 2)
            close_all(crowd)
        return f"{sent >> 10} KiB were taken of {ENDLESS} times 16 MiB"


def of_acquaintances(binary: str, stage: Stage) -> str:
    """Behind a good handshake: each is ended, and a violation is counted for each."""
    assert PYTHON.exists(), "tlslite-ng is missing; run scripts/setup"
    with tls_house(binary, stage, "records") as (siege, authority):
        context = authority.context()
        with others_are_served(siege, OverLines(tls.Secure(siege.gateway.port, context)), OverHttp(siege.gateway.http_port)):
            done = subprocess.run([PYTHON, "-B", pathlib.Path(__file__).parent / "records.py", str(siege.gateway.port)],
                                  capture_output=True, text=True, timeout=RECORDS_S_MAX)
            assert done.returncode == 0, (done.stdout + done.stderr)[-900:]
        cases = [json.loads(line) for line in done.stdout.splitlines()]
        # RFC 8446 section 6.1: it says nothing, so it need not end anything. In 1.2 an empty record is a record.
        may_go_on = {"warnings-in-1.3", "warnings-in-1.2", "records-without-content-in-1.3", "records-without-content-in-1.2"}
        stayed = [case["case"] for case in cases if not case["ended"] and case["case"] not in may_go_on]
        assert not stayed, f"not ended: {stayed}"
        ended, counted = sum(case["ended"] for case in cases), siege.count("tls_violations_total")
        assert counted == ended, f"{ended} were ended, {counted} violations are counted"
        return f"{len(cases)} cases, {ended} ended"


ALL = {f"handshakes/{attack.__name__.replace('_', '-')}": attack for attack in (of_strangers, that_never_end, of_acquaintances)}
