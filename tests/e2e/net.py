"""Servers that a client can reach over a network without the gateway: the control for HTTP, SSE and WebSocket."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

from stage import HERE, READY_S_MAX, cache, client_python, free_port


class Servers:
    """server-everything and the asker, listening on one transport; started and stopped by their own pids."""

    def __init__(self, over: str, upstreams: dict[str, dict], log: pathlib.Path) -> None:
        self.processes: list[subprocess.Popen] = []
        self.log = log
        node, everything = shutil.which("node"), cache() / "npm" / "node_modules" / ".bin" / "mcp-server-everything"
        asker = [client_python("modern-2.3"), "-W", "ignore", str(HERE / "servers" / "asker.py")]
        ports = {"everything": free_port(), "asker": free_port()}
        if over == "ws":
            for name, port in ports.items():
                entry = upstreams[name]
                self._start(client_python("legacy-1.30"), str(HERE / "servers" / "over_websocket.py"), str(port),
                            entry["command"], *entry["args"])
        else:
            kinds = {"http": ("streamableHttp", "streamable-http"), "sse": ("sse", "sse")}[over]
            self._start(node, str(everything), kinds[0], PORT=str(ports["everything"]))
            self._start(*asker, kinds[1], str(ports["asker"]))
        scheme, path = {"http": ("http", "mcp"), "sse": ("http", "sse"), "ws": ("ws", "ws")}[over]
        self.upstreams = {name: {"url": f"{scheme}://127.0.0.1:{port}/{path}"} for name, port in ports.items()}
        for port in ports.values():
            self._wait(port)

    def _start(self, *command: str, **environ: str) -> None:
        with self.log.open("ab") as log:
            self.processes.append(subprocess.Popen(
                command, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                    self.stop()
                    raise RuntimeError(f"a server did not start; see {self.log}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
