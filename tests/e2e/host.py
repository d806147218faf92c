"""Hosts that forbid: io_uring behind a seccomp filter, or with hardly any locked memory.

The filter and the limit are those that containers have; the kernel is the real one.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys

from lines import Lines, text_of
from stage import HERE, Gateway, Stage

QUICK = {"quick": {"command": sys.executable, "args": [str(HERE / "servers" / "quick.py")]}}
IO_URING_SETUP = 425
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 22, 38, 24
CAP_IPC_LOCK = 14
# seccomp_data.nr and .arch, and what filters answer (linux/seccomp.h, linux/audit.h).
AT_NR, AT_ARCH = 0, 4
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# What containers limit locked memory to by default, in bytes.
MEMLOCK = 64 << 10

libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *rest: object) -> None:
    # Every argument is a long; a Python int would be passed as an int.
    if libc.prctl(option, *(ctypes.c_ulong(value) if isinstance(value, int) else value for value in rest)):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def forbids_io_uring(code: int):
    """A seccomp filter that answers io_uring_setup with `code`, as the default profile of Docker does."""
    def instruction(op: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("HBBI", op, yes, no, value)

    load, equal, answer = 0x20, 0x15, 0x06
    program = b"".join([
        instruction(load, 0, 0, AT_ARCH),
        instruction(equal, 0, 3, ARCHITECTURES[platform.machine()]),
        instruction(load, 0, 0, AT_NR),
        instruction(equal, 0, 1, IO_URING_SETUP),
        instruction(answer, 0, 0, ERRNO | code),
        instruction(answer, 0, 0, ALLOW),
    ])
    held = ctypes.create_string_buffer(program)

    def prepare() -> None:
        head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        prctl(PR_SET_SECCOMP, 2, ctypes.c_char_p(head))

    return prepare


def locks_little() -> None:
    """Locked memory as containers have it. Root would be let off: the capability goes too."""
    if os.geteuid() == 0:
        prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (MEMLOCK, MEMLOCK))


def serves(gateway: Gateway) -> None:
    gateway.wait_ready()
    with Lines(gateway.port) as lines:
        lines.initialize()
        answer = lines.call("echo", {"text": "here"})
        assert text_of(answer) == "here", answer


def a_filter_that_forbids_io_uring(code: int, words: tuple[str, ...]):
    def check(binary: str, stage: Stage) -> str:
        gateway = Gateway(binary, stage.dir / f"host-{code}", QUICK, prepare=forbids_io_uring(code))
        try:
            serves(gateway)
            log = gateway.log.read_text()
            assert "epoll" in log, f"no word of the driver: {log[:600]}"
            for word in words:
                assert word in log, f"the cause is not told by {word!r}: {log[:900]}"
        finally:
            wrong = gateway.stop()
        assert wrong is None, wrong
        return "served by epoll"

    return check


def io_uring_or_no_start(binary: str, stage: Stage) -> None:
    """Who asks for io_uring by name is not given something else in silence."""
    gateway = Gateway(binary, stage.dir / "host-only", QUICK, prepare=forbids_io_uring(errno.EPERM),
                      environ={"RINGGATE_SHARDS__DRIVER": "io_uring"})
    try:
        assert gateway.process.wait(30) != 0, "it ended as if all were well"
        assert "io_uring cannot be used" in gateway.log.read_text(), gateway.tail()
    finally:
        if gateway.process.poll() is None:
            gateway.process.kill()
            gateway.process.wait()


def hardly_any_locked_memory(binary: str, stage: Stage) -> str:
    """64 KiB: every shard serves, with a smaller ring or without."""
    gateway = Gateway(binary, stage.dir / "host-memlock", QUICK, prepare=locks_little)
    try:
        serves(gateway)
        log = gateway.log.read_text()
    finally:
        wrong = gateway.stop()
    assert wrong is None, wrong
    return "served by epoll" if "epoll" in log else "served by io_uring"


ALL = {
    "host/a-filter-that-forbids-io-uring": a_filter_that_forbids_io_uring(errno.EPERM, ("seccomp",)),
    "host/a-filter-that-hides-io-uring": a_filter_that_forbids_io_uring(errno.ENOSYS, ("io_uring_setup",)),
    "host/io-uring-or-no-start": io_uring_or_no_start,
    "host/hardly-any-locked-memory": hardly_any_locked_memory,
}
