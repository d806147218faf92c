"""A TLS client that shakes hands well and misbehaves behind that; runs under the Python that has tlslite-ng.

    records.py PORT     one JSON object a line: {"case": NAME, "ended": whether the gateway ended the connection}
"""

import json
import socket
import sys

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import AlertDescription, AlertLevel, ContentType
from tlslite.messages import Alert, ApplicationData, ChangeCipherSpec, ClientHello, KeyUpdate, Message

ANSWER_S_MAX = 10.0
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
HELLO = (b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
         b'"clientInfo":{"name":"records","version":"1"}}}\n')
V12, V13 = (3, 3), (3, 4)


def shaken(port: int, version: tuple[int, int]) -> TLSConnection:
    plain = socket.create_connection(("127.0.0.1", port), ANSWER_S_MAX)
    connection = TLSConnection(plain)
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = version
    connection.handshakeClientCert(serverName="localhost", settings=settings)
    connection.send(HELLO)
    assert b"protocolVersion" in connection.recv(1 << 14)
    return connection


def send(connection: TLSConnection, message: object) -> None:
    for _ in connection._recordLayer.sendRecord(message):
        pass


def key_updates(connection: TLSConnection) -> None:
    """Each wants one in return (RFC 8446 section 4.6.3)."""
    for _ in range(1_000):
        for _ in connection.send_keyupdate_request(1):
            pass


def change_cipher_specs(connection: TLSConnection) -> None:
    for _ in range(1_000):
        connection.sock.sendall(b"\x14\x03\x03\x00\x01\x01")


def change_cipher_specs_encrypted(connection: TLSConnection) -> None:
    send(connection, ChangeCipherSpec().create())


def renegotiations(connection: TLSConnection) -> None:
    """What TLS 1.2 has and nobody should take up."""
    for _ in range(100):
        hello = ClientHello().create(V12, bytearray(32), bytearray(), [0xC02B, 0xC02F], serverName="localhost")
        send(connection, hello)


def a_handshake_message_nobody_knows(connection: TLSConnection) -> None:
    send(connection, Message(ContentType.handshake, bytearray(b"\xfa\x00\x00\x01x")))


def a_key_update_cut_short(connection: TLSConnection) -> None:
    """And application data in the middle of it."""
    send(connection, Message(ContentType.handshake, KeyUpdate().create(1).write()[:3]))
    send(connection, ApplicationData().create(bytearray(PING)))


def a_record_that_is_too_long(connection: TLSConnection) -> None:
    connection.sock.sendall(b"\x17\x03\x03\xff\xff" + bytes(0xFFFF))


def a_record_in_clear(connection: TLSConnection) -> None:
    connection.sock.sendall(b"\x17\x03\x03" + len(PING).to_bytes(2, "big") + PING)


def garbage(connection: TLSConnection) -> None:
    connection.sock.sendall(b"\x99" * 1_000)


def warnings(connection: TLSConnection) -> None:
    for _ in range(1_000):
        send(connection, Alert().create(AlertDescription.user_canceled, AlertLevel.warning))


def records_without_content(connection: TLSConnection) -> None:
    for _ in range(5_000):
        send(connection, ApplicationData().create(bytearray()))


CASES = [(V13, key_updates), (V13, change_cipher_specs), (V13, change_cipher_specs_encrypted), (V12, renegotiations),
         (V13, a_handshake_message_nobody_knows), (V12, a_handshake_message_nobody_knows), (V13, a_key_update_cut_short),
         (V13, a_record_that_is_too_long), (V12, a_record_that_is_too_long), (V13, a_record_in_clear), (V12, a_record_in_clear),
         (V13, garbage), (V12, garbage), (V13, warnings), (V12, warnings), (V13, records_without_content),
         (V12, records_without_content)]


def ended(connection: TLSConnection, attack) -> bool:
    try:
        attack(connection)
        connection.send(PING)
        return b'"result"' not in connection.recv(1 << 14)
    except TimeoutError:
        raise
    except Exception:  # closed, reset, or an alert: however the library puts it
        return True


def main() -> None:
    for version, attack in CASES:
        connection = shaken(int(sys.argv[1]), version)
        name = f"{attack.__name__.replace('_', '-')}-in-1.{version[1] - 1}"
        print(json.dumps({"case": name, "ended": ended(connection, attack)}), flush=True)
        connection.sock.close()


if __name__ == "__main__":
    main()
