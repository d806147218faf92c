"""Listeners that a reload moves, takes away, adds, or has speak TLS: clients of the old ones are let go in good order, to
come back by the new ones, and no request is lost."""

import json
import pathlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

from exchange import Door
from http_older import Socket
from lines import Closed, Lines, text_of
from reload import ended, quick, reload, until
from rolling import ANSWER_S_MAX, LISTENERS, LinesClient, ListenClient, ModernClient, NewsClient, SessionClient, Tally
from stage import Gateway, Stage, free_port, merged
from tls import Authority, Secure

MOVES = 3
# Of each kind, and requests that are answered before the listeners move again.
MODERNS, SESSIONS, LINES_CLIENTS, BETWEEN = 6, 4, 4, 3_000


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def rewrite(gateway: Gateway, change: Callable[[str], str]) -> str:
    """Another configuration; what the gateway says of it."""
    gateway.config.write_text(change(gateway.config.read_text()))
    told = reload(gateway)
    assert "the configuration is used" in told, told
    return told


def move(gateway: Gateway) -> tuple[int, int]:
    """Has both listeners move to other ports; the old ones."""
    old = gateway.port, gateway.http_port
    gateway.port, gateway.http_port = free_port(), free_port()
    ports = zip(old, (gateway.port, gateway.http_port), strict=True)

    def change(text: str) -> str:
        for before, after in ports:
            text = text.replace(f'"127.0.0.1:{before}"', f'"127.0.0.1:{after}"')
        return text

    told = rewrite(gateway, change)
    assert f"listening on http://127.0.0.1:{gateway.http_port}" in told and "tcp: moved" in told, told
    return old


def under_load_listeners_move_and_no_request_is_lost(binary: str, stage: Stage) -> str:
    diary = stage.dir / "moving-diary"
    config = '[limits]\nnotice = "1s"\n[upstreams.local]\nbuiltin = true\n'
    gateway = Gateway(binary, stage.dir / "moving", {"quick": quick("--diary", str(diary))}, http=True, config=config)
    tally = Tally()
    clients: list = []
    try:
        gateway.wait_up()
        numbers = iter(range(200))
        clients = [kind(tally, getattr(gateway, port), next(numbers)) for kind, port, count in (
            (ModernClient, "http_port", MODERNS), (SessionClient, "http_port", SESSIONS),
            (LinesClient, "port", LINES_CLIENTS), (ListenClient, "http_port", LISTENERS),
            (NewsClient, "http_port", LISTENERS)) for _ in range(count)]
        for client in clients:
            client.start()
        left: list[int] = []
        for turn in range(1, MOVES + 1):
            reached(tally, gateway, lambda: tally.answered >= turn * BETWEEN)
            left += move(gateway)
            for client in clients:
                client.wire.port = gateway.port if isinstance(client, LinesClient) else gateway.http_port
            # Every stream was ended, and opened anew by the other way.
            reached(tally, gateway, lambda: all(tally.counts[what] >= turn * LISTENERS for what in (
                "streams ended with a time to come back", "streams ended with their result")))
            until("a listener is left", lambda: all(map(refuses, left)), gateway)
        reached(tally, gateway, lambda: tally.answered >= (MOVES + 1) * BETWEEN)
        tally.ending.set()
        for client in clients:
            client.join(ANSWER_S_MAX)
        assert not any(client.is_alive() for client in clients), "a client waits for an answer"
        carried_out = set(diary.read_text().split("\n"))
        lost = tally.lost + [f"{text}: was carried out, and not answered" for text in tally.unanswered
                             if text in carried_out]
        told = ", ".join(f"{count} {what}" for what, count in sorted(tally.counts.items()))
        assert not lost, f"{len(lost)} are lost: {lost[:4]}; {told}"
        again = [what for what in tally.counts if what in (
            "modern tried again", "session tried again", "sessions begun anew", "news: sessions begun anew")]
        assert not again, f"over HTTP nothing is asked twice, and sessions go on: {told}"
        return told
    finally:
        tally.ending.set()
        wrong = gateway.stop()
        assert wrong is None, wrong


def reached(tally: Tally, gateway: Gateway, is_so: Callable[[], bool]) -> None:
    """Waits as long as anything is answered."""
    before, since = -1, time.monotonic()
    while not is_so():
        if sum(tally.counts.values()) > before:
            before, since = sum(tally.counts.values()), time.monotonic()
        assert time.monotonic() - since < ANSWER_S_MAX, f"nothing goes on: {tally.counts}, {tally.lost[:3]}, {gateway.tail()}"
        time.sleep(0.02)


def what_is_under_way_is_answered_and_all_is_closed_in_good_order(binary: str, stage: Stage) -> None:
    folder = stage.dir / "moving"
    slow = folder / "slow"
    gateway = Gateway(binary, folder, {"one": quick("--slow", str(slow))}, http=True)
    try:
        gateway.wait_up()
        door = Door(gateway.http_port)
        answers: dict = {}

        def ask() -> None:
            reply = door.modern("tools/call", {"name": "echo", "arguments": {"text": "post"}}, ident=1)
            answers["post"] = text_of(reply.answer(1)), reply.header("connection")

        with Lines(gateway.port) as lines, Lines(gateway.port) as idle, Socket(door) as ws, \
                socket.create_connection(("127.0.0.1", gateway.http_port), ANSWER_S_MAX) as sse:
            sse.sendall(b"GET /sse HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
            said = b""
            while b"event: endpoint" not in said:
                said += sse.recv(1 << 16)
            for one in (lines, idle):
                one.initialize()
                text_of(one.call("echo", {"text": "before"}))
            ws.hello()
            slow.touch()
            begun = lines.begin("tools/call", {"name": "echo", "arguments": {"text": "lines"}})
            ws.send(1, json.dumps({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {
                "name": "echo", "arguments": {"text": "socket"}}}).encode())
            asking = threading.Thread(target=ask, daemon=True)
            asking.start()
            seen = len(gateway.children("quick.py"))
            assert seen >= 1
            # Answered by the built-in of nobody: what was sent before has been read.
            lines.alive()
            old = move(gateway)
            answer = lines.answer()
            while answer.get("id") != begun:
                answer = lines.answer()
            assert text_of(answer) == "lines", answer
            for one in (lines, idle):
                try:
                    one.next()
                except Closed:
                    continue
                raise AssertionError(f"{one.seen[-1]} on a connection whose listener is closed")
            kind, payload = ws.next()
            assert kind == 1 and json.loads(payload)["result"]["content"][0]["text"] == "socket", payload
            assert ws.closed_with() == 1001
            while data := sse.recv(1 << 16):
                said += data
            assert said.endswith(b"0\r\n\r\n"), f"the stream did not end well: {said[-200:]!r}"
            asking.join(ANSWER_S_MAX)
            assert answers["post"][0] == "post", answers
            until("a listener is left", lambda: all(map(refuses, old)), gateway)
        with Lines(gateway.port) as lines:
            lines.initialize()
            # What does not end by itself is ended when limits.drain is over; another listener's goes on.
            lines.begin("tools/call", {"name": "hang"})
            lines.alive()
            kept = Socket(Door(gateway.http_port)).hello()
            port = free_port()
            rewrite(gateway, lambda text: text.replace(f'"127.0.0.1:{gateway.port}"', f'"127.0.0.1:{port}"'))
            try:
                while True:
                    lines.next()
            except Closed:
                pass
            assert kept.ask(3, "ping")["result"] == {}
            kept.socket.close()
            gateway.port = port
    finally:
        wrong = gateway.stop()
        assert wrong is None, wrong


def a_listener_that_cannot_be_had_changes_nothing(binary: str, stage: Stage) -> None:
    gateway = Gateway(binary, stage.dir / "moving", {"one": quick(), "two": quick()}, http=True)
    try:
        gateway.wait_ready()
        right = gateway.config.read_text()
        with socket.socket() as taken, Lines(gateway.port) as lines:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            lines.initialize()
            busy, free = taken.getsockname()[1], free_port()
            moved = right.replace(str(gateway.port), str(free)).replace(str(gateway.http_port), str(busy))
            gateway.config.write_text(moved)
            told = reload(gateway, {"one": quick(), "three": quick()})
            line = 1 + moved[:moved.index(f'"127.0.0.1:{busy}"')].count("\n")
            assert f"{gateway.config}:{line}: http.listen: cannot listen on 127.0.0.1:{busy}" in told, told
            assert "the one before stays" in told and "choose another" in told, told
            assert refuses(free), "a part of it was used"
            assert sorted(tool["name"] for tool in lines.ask("tools/list")["result"]["tools"])[-1].startswith("two__")
            with Lines(gateway.port) as another:
                another.initialize()
            gateway.config.write_text(right)
            assert "upstreams.three: added" in reload(gateway)
            lines.alive()
    finally:
        wrong = gateway.stop()
        assert wrong is None, wrong


class Local(Lines):
    """JSON lines over a Unix socket."""

    def __init__(self, path: pathlib.Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_S_MAX)
        self.socket.connect(str(path))
        self.seen, self.at, self._rest, self._ids = [], 0, b"", iter(range(1, 1_000))


def a_unix_socket_comes_moves_and_goes(binary: str, stage: Stage) -> None:
    folder = stage.dir / "moving"
    first, second = folder / "a.sock", folder / "b.sock"
    gateway = Gateway(binary, folder, {"one": quick()}, http=True)
    try:
        gateway.wait_ready()

        def at(path: pathlib.Path | None, mode: str = "0600") -> None:
            section = f'[unix]\nlisten = "{path}"\nmode = "{mode}"\n' if path else ""
            rewrite(gateway, lambda text: text.partition("[unix]")[0] + section)

        with Lines(gateway.port) as steady:
            steady.initialize()
            at(first)
            with Local(first) as lines:
                lines.initialize()
                at(first, "0660")
                assert first.stat().st_mode & 0o777 == 0o660
                # Another mode is no other listener.
                lines.alive()
                at(second)
                assert not first.exists(), "its file is left"
                try:
                    lines.next()
                    raise AssertionError("a connection of a listener that is closed goes on")
                except Closed:
                    pass
            with Local(second) as lines:
                lines.initialize()
                # Somebody takes the path; it is theirs.
                second.unlink()
                with socket.socket(socket.AF_UNIX) as other:
                    other.bind(str(second))
                    other.listen()
                    at(None)
                    assert second.exists(), "a socket of somebody else was removed"
            steady.alive()
    finally:
        wrong = gateway.stop()
        assert wrong is None, wrong


def tls_begins_and_ends_at_the_same_address(binary: str, stage: Stage) -> None:
    folder = stage.dir / "moving-tls"
    authority = Authority(folder)
    cert, key = authority.sign("own", "DNS:localhost,IP:127.0.0.1")
    gateway = Gateway(binary, folder, {"one": quick()}, http=True)
    try:
        gateway.wait_ready()
        plain_config = gateway.config.read_text()
        for _ in range(2):
            with Lines(gateway.port) as plain:
                plain.initialize()
                section = f'[tls]\ncert = "{cert}"\nkey = "{key}"\n'
                rewrite(gateway, lambda text: merged(text, f"[tcp]\ntls = true\n[http]\ntls = true\n{section}"))
                try:
                    plain.next()
                    raise AssertionError("it goes on in clear")
                except Closed:
                    pass
            with Secure(gateway.port, authority.context()) as secure:
                secure.initialize()
                assert text_of(secure.call("echo", {"text": "x"})) == "x"
                rewrite(gateway, lambda _: plain_config)
                try:
                    secure.next()
                    raise AssertionError("it goes on with TLS")
                except (Closed, ssl.SSLError):
                    pass
    finally:
        wrong = gateway.stop()
        assert wrong is None, wrong


def files_that_a_reload_brings_are_watched_too(binary: str, stage: Stage) -> None:
    folder = stage.dir / "moving-watch"
    authority = Authority(folder)
    cert, key = authority.sign("own", "DNS:localhost,IP:127.0.0.1")
    gateway = Gateway(binary, folder, {"one": quick()}, http=True, more=("--watch",))

    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", gateway.port))

    try:
        gateway.wait_ready()
        before = ended(gateway)
        section = f'[tcp]\ntls = true\n[tls]\ncert = "{cert}"\nkey = "{key}"\n'
        draft = folder / "draft"
        draft.write_text(merged(gateway.config.read_text(), section))
        draft.rename(gateway.config)
        until("the configuration is not seen", lambda: ended(gateway) > before, gateway)
        first = shown()
        # Certificate and key one after the other, as tools do that renew them.
        authority.sign("own", "DNS:localhost,IP:127.0.0.1")
        until("the certificate is not seen", lambda: shown() != first, gateway)
    finally:
        wrong = gateway.stop()
        assert wrong is None, wrong


ALL = {f"moving/{check.__name__.replace('_', '-')}": check for check in (
    under_load_listeners_move_and_no_request_is_lost,
    what_is_under_way_is_answered_and_all_is_closed_in_good_order,
    a_listener_that_cannot_be_had_changes_nothing,
    a_unix_socket_comes_moves_and_goes,
    tls_begins_and_ends_at_the_same_address,
    files_that_a_reload_brings_are_watched_too,
)}
