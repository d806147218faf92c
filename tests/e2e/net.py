"""Servers that a client can reach over a network without the gateway: the control for HTTP, SSE and WebSocket."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

from stage import HERE, READY_S_MAX, cache, client_python, free_port


class Started:
    """Processes that end with the block; all their words go to one log."""

    def __init__(self, log: pathlib.Path) -> None:
        self.processes: list[subprocess.Popen] = []
        self.log = log

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            if process.stdout:
                process.stdout.close()

    def start(self, *command: str, pipe: bool = False, **environ: str) -> subprocess.Popen:
        with self.log.open("ab") as log:
            self.processes.append(subprocess.Popen(
                command, env={**os.environ, **environ}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else log, stderr=log, text=pipe or None))
        return self.processes[-1]

    def first_line(self, *command: str) -> str:
        """Starts what prints its address first."""
        line = self.start(*command, pipe=True).stdout.readline().strip()
        assert line, f"a server did not start; see {self.log}"
        return line

    def over_websocket(self, *command: str) -> str:
        """Puts a stdio server behind a WebSocket."""
        port = free_port()
        self.start(client_python("legacy-1.30"), str(HERE / "servers" / "over_websocket.py"), str(port), *command)
        self.wait(port)
        return f"ws://127.0.0.1:{port}/ws"

    def wait(self, port: int) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                    raise RuntimeError(f"a server did not start; see {self.log}") from None
                time.sleep(0.05)


@contextlib.contextmanager
def servers(over: str, upstreams: dict[str, dict], log: pathlib.Path) -> Iterator[dict[str, dict]]:
    """server-everything and the asker, listening on one transport."""
    node, everything = shutil.which("node"), cache() / "npm" / "node_modules" / ".bin" / "mcp-server-everything"
    asker = [client_python("modern-2.3"), "-W", "ignore", str(HERE / "servers" / "asker.py")]
    with Started(log) as started:
        if over == "ws":
            yield {name: {"url": started.over_websocket(upstreams[name]["command"], *upstreams[name]["args"])}
                   for name in ("everything", "asker")}
            return
        theirs, ours, path = {"http": ("streamableHttp", "streamable-http", "mcp"), "sse": ("sse", "sse", "sse")}[over]
        ports = {"everything": free_port(), "asker": free_port()}
        started.start(node, str(everything), theirs, PORT=str(ports["everything"]))
        started.start(*asker, ours, str(ports["asker"]))
        for port in ports.values():
            started.wait(port)
        yield {name: {"url": f"http://127.0.0.1:{port}/{path}"} for name, port in ports.items()}
