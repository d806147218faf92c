"""Header blocks that RFC 7541 forbids; each is a connection error of type COMPRESSION_ERROR."""

from cases import case, connection_error
from wire import COMPRESSION_ERROR, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, Connection, length


def _refused(section: str, name: str, tail: bytes, before: bytes = b"") -> None:
    def run(c: Connection) -> str | None:
        c.send(HEADERS, END_STREAM | END_HEADERS, 1, before + c.block(c.fields()) + tail)
        return connection_error(c, COMPRESSION_ERROR, PROTOCOL_ERROR)

    run.__name__ = name
    case(section)(run)


def _huffman(value: bytes) -> bytes:
    """A field `x` whose value claims to be Huffman coded."""
    return b"\x00\x01x" + bytes([0x80 | len(value)]) + value


for _section, _name, _tail, _before in (
    ("7541/2.3.3", "an-index-beyond-both-tables", b"\xfe", b""),
    ("7541/2.3.3", "a-name-from-beyond-both-tables", b"\x7e\x01y", b""),
    ("7541/4.2", "a-table-size-after-a-field", b"\x20", b""),
    ("7541/5.1", "an-integer-without-end", b"\xff" + b"\xff" * 12, b""),
    ("7541/5.2", "a-string-longer-than-the-block", b"\x00\x7fx", b""),
    ("7541/5.2", "padding-of-more-than-seven-bits", _huffman(b"\x1f\xff"), b""),
    ("7541/5.2", "padding-that-is-not-ones", _huffman(b"\x18"), b""),
    ("7541/5.2", "the-end-of-string-inside-a-string", _huffman(b"\xff\xff\xff\xfc"), b""),
    ("7541/6.1", "index-zero", b"\x80", b""),
    ("7541/6.3", "a-table-larger-than-the-setting", b"", bytes([0x20 | 0x1F]) + length((1 << 20) - 31, 8)),
):
    _refused(_section, _name, _tail, _before)
