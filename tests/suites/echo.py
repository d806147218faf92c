"""The echo server that the field's suites judge: started for one suite, on a port of its own."""

import contextlib
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def served(what: str) -> Iterator[str]:
    """`HOST:PORT` of what is judged: `what` itself, or that of the program it names."""
    if "/" not in what:
        yield what
        return
    process = subprocess.Popen([what, "--listen", "127.0.0.1:0"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline().split()
        assert said[:1] == ["listening"], f"{what} did not say where it listens: {said}"
        yield said[1].removeprefix("http://")
    finally:
        process.stdin.close()
        process.wait(30)
