"""The stage: what stands behind the gateway, where it keeps its files, and the gateway itself.

Nothing here knows a scenario or an SDK. The standard library is enough, so that the raw-socket
scenarios run under any Python.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
READY_S_MAX = 30.0
STOP_S_MAX = 10.0


def cache() -> pathlib.Path:
    """Where scripts/setup put the clients and servers."""
    return pathlib.Path(os.environ.get("RINGGATE_CACHE", REPO / ".cache")) / "e2e"


def client_python(kind: str) -> str:
    return str(cache() / ("client-1.30" if "1.30" in kind else "client-2.3") / "bin" / "python")


def gateway_binary(given: str | None) -> str:
    """The gateway under test: as told, else the newest build."""
    if given:
        return given
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
    built = [p for p in (target / "release" / "ringgate", target / "debug" / "ringgate") if p.exists()]
    if not built:
        sys.exit("e2e: no ringgate binary; build it first, or name one with --gateway")
    return str(max(built, key=lambda p: p.stat().st_mtime))


def config_text(port: int, http_port: int | None) -> str:
    """The gateway's configuration: its listeners. Every key the suites rely on is here.

    A client that is gone looks like one that only sends no more: calls of its that hang are waited for
    until the drain's time is over, which is made short.
    """
    http = "off" if http_port is None else f"127.0.0.1:{http_port}"
    return f'[tcp]\nlisten = "127.0.0.1:{port}"\n\n[http]\nlisten = "{http}"\n\n[limits]\ndrain = "3s"\n\n[admin]\nlisten = "off"\n'


def merged(config: str, more: str) -> str:
    """Two configurations as one: a section that both have takes the keys of both."""
    for section in filter(None, re.split(r"(?m)^\[", more)):
        name, _, keys = section.partition("]\n")
        head = f"[{name}]\n"
        config = config.replace(head, head + keys, 1) if head in config else f"{config}\n{head}{keys}"
    return config


def has_http(binary: str) -> bool:
    """Whether this gateway knows an HTTP listener."""
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "ringgate.toml"
        config.write_text(config_text(0, 0))
        return subprocess.run([binary, "check", "--config", str(config)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stage:
    """A temporary folder with files, a repository and the commands of the upstreams."""

    def __init__(self) -> None:
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ringgate-e2e-"))
        self.files = self.dir / "files"
        self.repo = self.dir / "repo"
        self.taps = self.dir / "taps"
        for folder in (self.files, self.repo, self.taps):
            folder.mkdir()
        (self.files / "hello.txt").write_text("hello from a file\n")
        self._make_repo()

    def _make_repo(self) -> None:
        who = {"GIT_AUTHOR_NAME": "E2E", "GIT_AUTHOR_EMAIL": "e2e@example.com",
               "GIT_COMMITTER_NAME": "E2E", "GIT_COMMITTER_EMAIL": "e2e@example.com"}
        environ = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

        def git(*args: str) -> None:
            subprocess.run(["git", *args], cwd=self.repo, env=environ, check=True, stdout=subprocess.DEVNULL)

        git("init", "--quiet", "--initial-branch=main")
        (self.repo / "a.txt").write_text("one\n")
        git("add", "a.txt")
        git("commit", "--quiet", "-m", "the first commit")
        (self.repo / "b.txt").write_text("untracked\n")

    def upstreams(self) -> dict[str, dict]:
        """The upstreams in the order in which the gateway must list them."""
        node = shutil.which("node")
        assert node, "node is missing; run scripts/setup"
        npm = cache() / "npm" / "node_modules" / ".bin"
        servers = cache() / "servers" / "bin"
        # server-everything runs behind a tap, so that a scenario can look at what the gateway sent it.
        everything = [str(HERE / "servers" / "tap.py"), str(self.taps),
                      node, str(npm / "mcp-server-everything"), "stdio"]
        return {
            "everything": {"command": sys.executable, "args": everything},
            "filesystem": {"command": node, "args": [str(npm / "mcp-server-filesystem"), str(self.files)]},
            "time": {"command": str(servers / "mcp-server-time"), "args": []},
            "git": {"command": str(servers / "mcp-server-git"), "args": ["--repository", str(self.repo)]},
            "asker": {"command": client_python("modern-2.3"),
                      "args": ["-W", "ignore", str(HERE / "servers" / "asker.py")]},
        }

    def remove(self) -> None:
        shutil.rmtree(self.dir, ignore_errors=True)


class Gateway:
    """One gateway process in front of some upstreams; started and stopped by its own pid."""

    def __init__(self, binary: str, folder: pathlib.Path, upstreams: dict[str, dict], http: bool = False,
                 config: str = "", prepare: Callable[[], None] | None = None,
                 environ: dict[str, str] | None = None, more: tuple[str, ...] = ()) -> None:
        """`HTTP_PORT` in `config` is the gateway's own. `prepare` runs in the process before the gateway does: what
        a host may forbid it; `more` are arguments."""
        self.port = free_port()
        self.http_port = free_port() if http else None
        folder.mkdir(exist_ok=True)
        self.mcp_json = mcp_json = folder / "mcp.json"
        self.config = path = folder / "ringgate.toml"
        self.log = folder / "gateway.log"
        mcp_json.write_text(json.dumps({"mcpServers": upstreams}, indent=2))
        text = merged(config_text(self.port, self.http_port), config)
        path.write_text(text.replace("HTTP_PORT", str(self.http_port)))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--config", str(path), "--mcp-json", str(mcp_json), *more],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=prepare,
                env={**os.environ, **(environ or {})},
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/mcp"

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while True:
            try:
                for port in (self.port, self.http_port):
                    if port is not None:
                        socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise RuntimeError(f"the gateway ended with {self.process.returncode}: {self.tail()}") from None
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the gateway does not listen: {self.tail()}") from None
                time.sleep(0.02)

    def wait_up(self) -> None:
        """Until every upstream has been reached, or could not be."""
        self.wait_ready()
        deadline = time.monotonic() + READY_S_MAX
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=READY_S_MAX)
            connection.request("GET", "/ready")
            status = connection.getresponse().status
            connection.close()
            if status == 200:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the gateway is not ready: {self.tail()}")
            time.sleep(0.02)

    def children(self, word: str) -> list[int]:
        """Pids below the gateway whose command line holds `word`."""
        found, front = [], [self.process.pid]
        while front:
            below: list[int] = []
            for pid in front:
                for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                    try:
                        below += [int(child) for child in task.read_text().split()]
                    except OSError:
                        continue  # the thread ended while we looked
            for pid in below:
                try:
                    line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if word in line:
                    found.append(pid)
            front = below
        return found

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-800:].strip().replace("\n", " | ")

    def stop(self) -> str | None:
        """Ends the gateway; returns what was wrong with how it ended."""
        if self.process.poll() is not None:
            return f"the gateway had already ended with {self.process.returncode}: {self.tail()}"
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"the gateway did not end within {STOP_S_MAX:.0f} s of SIGTERM"
        return None
