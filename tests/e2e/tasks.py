"""Tasks through the gateway: SDK clients of both eras in front of server-everything (tasks of 2025-11-25) and of a
server of the extension (`../suites/servers/tasker.py`), as children and over HTTP.

What each client does is in `clients/tasks_1_30.py` and `clients/tasks_2_3.py`; each ends well or says why.
"""

import shutil
import subprocess

from net import Started
from stage import HERE, REPO, Gateway, Stage, cache, client_python, free_port

CLIENT_S_MAX = 120.0
TASKER = [client_python("modern-2.3"), "-W", "ignore", "-B", str(REPO / "tests" / "suites" / "servers" / "tasker.py")]


def clients(binary: str, gateway: Gateway) -> None:
    """Each SDK over a pipe and over HTTP."""
    pipe = [binary, "connect", f"tcp://127.0.0.1:{gateway.port}"]
    for kind, script in (("legacy-1.30", "tasks_1_30.py"), ("modern-2.3", "tasks_2_3.py")):
        for where in (pipe, [gateway.url]):
            command = [client_python(kind), "-W", "ignore", "-B", str(HERE / "clients" / script), *where]
            done = subprocess.run(command, cwd=HERE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=CLIENT_S_MAX)
            assert done.returncode == 0, f"{script} at {where[-1]}: {done.stdout[-900:]}"


def everything(how: str) -> list[str]:
    node = shutil.which("node")
    assert node, "node is missing; run scripts/setup"
    return [node, str(cache() / "npm" / "node_modules" / ".bin" / "mcp-server-everything"), how]


def through(binary: str, stage: Stage, name: str, upstreams: dict[str, dict]) -> None:
    gateway = Gateway(binary, stage.dir / name, upstreams, http=True)
    try:
        gateway.wait_up()
        clients(binary, gateway)
    finally:
        wrong = gateway.stop()
    assert wrong is None, wrong


def of_children(binary: str, stage: Stage) -> None:
    """Both servers as children of the gateway."""
    theirs, ours = everything("stdio"), TASKER
    through(binary, stage, "tasks", {"everything": {"command": theirs[0], "args": theirs[1:]},
                                     "tasker": {"command": ours[0], "args": ours[1:]}})


def of_servers_over_http(binary: str, stage: Stage) -> None:
    """Both over Streamable HTTP, where a legacy server keeps its tasks by session."""
    port = free_port()
    with Started(stage.dir / "tasks-servers.log") as started:
        started.start(*everything("streamableHttp"), PORT=str(port))
        started.wait(port)
        tasker = started.first_line(*TASKER, "--http", "0")
        through(binary, stage, "tasks-http", {"everything": {"url": f"http://127.0.0.1:{port}/mcp"},
                                              "tasker": {"url": tasker}})


ALL = {
    "tasks/of-children": of_children,
    "tasks/of-servers-over-http": of_servers_over_http,
}
