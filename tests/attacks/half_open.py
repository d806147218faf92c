"""Ten thousand connections that say nothing, or half of something: each is ended by its limit, and costs nobody else anything."""

import os
import pathlib
import struct
import subprocess
import socket
import sys
from collections.abc import Callable

import tls
from lines import Lines
from siege import GONE_S_MAX, OverHttp, OverLines, Siege, close_all, descriptors, many, others_are_served, stands, until
from skip import Skip
from stage import Stage

EACH, WAVES = 2_000, 2
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32))
HALF_HEAD = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Le"
HALF_BODY = (b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, "
             b"text/event-stream\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\"")
# As long as they are by default, all this would take a minute; who is ended by them is the same.
LIMITS = 'tls_handshake = "6s"\nhead = "6s"\nbody = "6s"\nkeep_alive = "6s"\nclients_max = 20000\n'
SYNS = 10_000


def ten_thousand(binary: str, stage: Stage) -> str:
    """Over TLS nothing and half a handshake, over HTTP nothing, half a head, half a body."""
    folder = stage.dir / "half-open"
    authority = tls.Authority(folder)
    authority.sign("own", "DNS:localhost,IP:127.0.0.1")
    config = (f'[tcp]\ntls = true\nmax_connections = 20000\n[http]\nmax_connections = 20000\n[limits]\n{LIMITS}'
              f'[tls]\ncert = "{folder}/own.pem"\nkey = "{folder}/own.key"\n')
    with stands(binary, stage, "half-open", config) as siege:
        secure, plain = siege.gateway.port, siege.gateway.http_port
        context = authority.context()
        good = OverLines(tls.Secure(secure, context))
        kinds = [(secure, b""), (secure, HALF_HELLO), (plain, b""), (plain, HALF_HEAD), (plain, HALF_BODY)]
        with others_are_served(siege, good, OverHttp(plain)):
            own = [wave(siege, kinds, lambda: tls.Secure(secure, context)) for _ in range(WAVES)]
        late = siege.count("tls_failed_late_total")
        assert late == WAVES * 2 * EACH, f"{late} handshakes took too long, and there were {WAVES * 2 * EACH}"
        return f"{own[0]} descriptors at once, {siege.heights[0] >> 20} MiB at most"


def wave(siege: Siege, kinds: list[tuple[int, bytes]], newcomer: Callable[[], Lines]) -> int:
    """All of them, until the gateway has ended them; how many it had at once."""
    crowd = []
    for port, what in kinds:
        crowd += many(port, EACH, what)
        siege.look()
        # Whoever comes now is let in.
        with newcomer() as lines:
            lines.initialize()
    had = descriptors(siege.pid)
    until("half-open connections stay", lambda: siege.count("connections") <= 3)
    for one in crowd:
        one.setblocking(False)
    open_still = sum(not is_ended(one) for one in crowd)
    assert not open_still, f"{open_still} were not ended"
    close_all(crowd)
    siege.wave_is_over()
    return had


def is_ended(one) -> bool:
    """It was closed or reset; what it was told before does not matter."""
    try:
        while one.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def syns(binary: str, stage: Stage) -> str:
    """Ten thousand SYNs that nothing follows, from addresses that are nobody's, in a network of its own."""
    if os.geteuid() != 0:
        raise Skip("needs root, for a network namespace")
    done = subprocess.run(["unshare", "--net", sys.executable, "-B", __file__, binary, str(stage.dir)], text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, timeout=GONE_S_MAX * 2)
    assert done.returncode == 0, (done.stdout + done.stderr)[-900:]
    return done.stdout.strip()


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source: bytes, port: int, number: int) -> bytes:
    """An IPv4 packet with a TCP segment that begins a connection (RFC 9293 section 3.1)."""
    target = bytes([127, 0, 0, 1])
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, number & 0xFFFF, 0, 64, 6, 0, source, target)

    def tcp(check: int) -> bytes:
        return struct.pack(">HHIIBBHHH", 1024 + number % 60_000, port, number, 0, 5 << 4, 2, 65_535, check, 0)

    return ip + tcp(checksum(source + target + struct.pack(">BBH", 0, 6, 20) + tcp(0)))


def inside(binary: str, stage: Stage) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with stands(binary, stage, "syns") as siege:
        with others_are_served(siege, OverLines(Lines(siege.gateway.port)), OverHttp(siege.gateway.http_port)):
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
                for number in range(SYNS):
                    source = bytes([127, 66, number >> 8 & 0xFF, number & 0xFF])
                    raw.sendto(syn(source, (siege.gateway.port, siege.gateway.http_port)[number % 2], number), ("127.0.0.1", 0))
            print(f"{siege.count('connections')} connections beside {SYNS} SYNs")


class Given:
    """A stage that somebody else has made."""

    def __init__(self, folder: str) -> None:
        self.dir = pathlib.Path(folder)


ALL = {"half-open/ten-thousand": ten_thousand, "half-open/syns": syns}

if __name__ == "__main__":
    inside(sys.argv[1], Given(sys.argv[2]))
