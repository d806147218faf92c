"""Stands between the gateway and a child and writes down every line that passes.

Usage: tap.py FOLDER COMMAND ARG...   One log a process: `> line` went to the child, `< line` came.
"""

import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)
folder, *command = sys.argv[1:]
# The child must not outlive us when we are killed: it would run on without anybody to end it.
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
log = (pathlib.Path(folder) / f"{os.getpid():010}.log").open("ab", buffering=0)
lock = threading.Lock()


def pump(source, sink, mark: bytes) -> None:
    for line in source:
        # Written before it is passed on: who sees the effect of a line finds it in the log.
        with lock:
            log.write(mark + line)
        try:
            sink.write(line)
            sink.flush()
        except OSError:
            return
    try:
        sink.close()
    except OSError:
        return


threading.Thread(target=pump, args=(sys.stdin.buffer, child.stdin, b"> "), daemon=True).start()
pump(child.stdout, sys.stdout.buffer, b"< ")
os._exit(child.wait() & 0xFF)
