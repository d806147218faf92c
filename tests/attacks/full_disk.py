"""An audit log on a disk that is full: calls go on, what is lost is counted, and with room again it is written again."""

import ctypes
import json
import os
import pathlib

from lines import Lines
from siege import OverLines, Siege, others_are_served, stands, until
from skip import Skip
from stage import Stage

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
DISK_BYTES, ROOM_BYTES = 128 << 20, 256 << 10
# The writer's queue holds 65,536 records; what is beyond them is lost.
CALLS, BATCH, WAVES = 70_000, 500, 5
libc = ctypes.CDLL(None, use_errno=True)


def own_disk(path: pathlib.Path):
    """A small disk that the gateway alone sees, all but full."""
    def prepare() -> None:
        for done in (libc.unshare(CLONE_NEWNS), libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None),
                     libc.mount(b"tmpfs", str(path).encode(), b"tmpfs", 0, f"size={DISK_BYTES}".encode())):
            if done:
                raise OSError(ctypes.get_errno(), "no disk of its own")
        fill(path, DISK_BYTES - ROOM_BYTES)

    return prepare


def fill(disk: pathlib.Path, size: int) -> None:
    with open(disk / "filler", "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, size)


def many_calls(siege: Siege, count: int) -> None:
    """Each is answered."""
    with Lines(siege.gateway.port) as lines:
        lines.initialize()
        for _ in range(count // BATCH):
            calls = [json.dumps({"jsonrpc": "2.0", "id": n, "method": "tools/call",
                                 "params": {"name": "echo", "arguments": {"message": "x"}}}) for n in range(BATCH)]
            lines.line("\n".join(calls))
            for n in range(BATCH):
                answer = lines.answer()
                assert answer["id"] == n and "result" in answer, answer


def a_log_that_is_full(binary: str, stage: Stage) -> str:
    if os.geteuid() != 0:
        raise Skip("needs root, for a disk of its own")
    disk = stage.dir / "disk"
    disk.mkdir()
    with stands(binary, stage, "full-disk", f'[audit]\nto = "{disk}/audit.log"\n', upstreams={}, prepare=own_disk(disk)) as siege:
        seen = pathlib.Path(f"/proc/{siege.pid}/root{disk}")

        def lines_and_lost() -> int:
            return written(seen) + siege.count("audit_lost_total")

        good = OverLines(Lines(siege.gateway.port), argument="message")
        with others_are_served(siege, good):
            for wave in range(1, WAVES + 1):
                many_calls(siege, CALLS)
                siege.look()
                told = siege.gateway.log.read_text()
                assert told.count("the audit log cannot be written") == wave, told[-600:]
                lost = siege.count("audit_lost_total")
                assert lost > 0, "the queue has taken everything"
                size = (seen / "audit.log").stat().st_size
                (seen / "filler").unlink()
                many_calls(siege, BATCH)
                until("the log is not written again", lambda: (seen / "audit.log").stat().st_size > size)
                until("the queue does not empty", lambda: lines_and_lost() >= wave * (CALLS + BATCH))
                siege.wave_is_over()
                fill(seen, DISK_BYTES - ROOM_BYTES - (seen / "audit.log").stat().st_size)
            (seen / "filler").unlink()
        calls = WAVES * (CALLS + BATCH) + good.done
        until("calls are neither written nor counted as lost", lambda: lines_and_lost() == calls)
        lines, lost = written(seen), siege.count("audit_lost_total")
        for line in (seen / "audit.log").read_text().splitlines():
            assert json.loads(line)["method"] == "tools/call", line
        return f"{lines} written, {lost} lost and counted, of {calls}"


def written(disk: pathlib.Path) -> int:
    return (disk / "audit.log").read_bytes().count(b"\n")


ALL = {"full-disk/a-log-that-is-full": a_log_that_is_full}
