"""An agent gateway from its own files: an `mcp.json` with servers and a JSON file of rules, as other gateways have
them; a stock client says by `agent_id` who it is, and reaches everything by three tools."""

import json
import os
import pathlib
import subprocess

from stage import HERE, Gateway, Stage, client_python

RULES = {
    "agents": {
        "researcher": {
            "allow": {"servers": ["time", "filesystem"], "tools": {"filesystem": ["read_*", "list_*"]}},
            "deny": {"tools": {"filesystem": ["read_media_*"]}},
        },
        "backend": {"allow": {"servers": ["git"], "tools": {"git": ["*"]}},
                    "deny": {"servers": ["time"], "tools": {"git": ["git_reset", "*_commit"]}}},
        "default": {"deny": {"servers": ["*"]}},
    },
    "defaults": {"deny_on_missing_agent": True},
}
ENVIRON = {"RINGGATE_POLICY__FILE": "rules.json", "RINGGATE_GATEWAY__EXPOSE": "gateway-tools",
           "RINGGATE_GATEWAY__TRUST_AGENT_ID": "true"}


def asked(command: list[str], calls: list, environ: dict[str, str], cwd: pathlib.Path) -> list:
    python = client_python("legacy-1.30")
    done = subprocess.run([python, "-W", "ignore", "-B", str(HERE / "clients" / "agent.py"), *command], cwd=cwd,
                          input=json.dumps(calls) + "\n", text=True, capture_output=True, timeout=90,
                          env={**os.environ, **environ})
    assert done.returncode == 0, done.stderr[-600:]
    return json.loads(done.stdout.splitlines()[-1])


def the_story(stage: Stage) -> list:
    """What is asked, and what each answer must be."""
    hello = str(stage.files / "hello.txt")
    return [
        (["list_servers", {"agent_id": "researcher"}],
         lambda it: [s["name"] for s in it["structuredContent"]["servers"]] == ["filesystem", "time"]),
        (["list_servers", {"agent_id": "backend"}],
         lambda it: [s["name"] for s in it["structuredContent"]["servers"]] == ["git"]),
        (["get_server_tools", {"agent_id": "researcher", "server": "filesystem", "pattern": "read_*"}],
         lambda it: {t["name"] for t in it["structuredContent"]["tools"]}
         == {"read_file", "read_text_file", "read_multiple_files"}),
        (["get_server_tools", {"agent_id": "backend", "server": "git", "names": "git_status,git_commit"}],
         lambda it: [t["name"] for t in it["structuredContent"]["tools"]] == ["git_status"]),
        (["execute_tool", {"agent_id": "researcher", "server": "filesystem", "tool": "read_text_file",
                           "args": {"path": hello}}], lambda it: "hello from" in it["content"][0]["text"]),
        (["execute_tool", {"agent_id": "researcher", "server": "time", "tool": "get_current_time",
                           "args": {"timezone": "UTC"}, "timeout_ms": 20_000}],
         lambda it: "datetime" in it["content"][0]["text"]),
        (["execute_tool", {"agent_id": "backend", "server": "git", "tool": "git_status",
                           "args": {"repo_path": str(stage.repo)}}], lambda it: "b.txt" in it["content"][0]["text"]),
        (["execute_tool", {"agent_id": "researcher", "server": "filesystem", "tool": "write_file",
                           "args": {"path": hello, "content": "gone"}}],
         lambda it: it["error"]["code"] == -32000 and it["error"]["data"]["agent"] == "researcher"
         and it["error"]["data"]["rule"].startswith("agents.researcher.allow.tools.filesystem")),
        (["execute_tool", {"agent_id": "backend", "server": "git", "tool": "git_commit",
                           "args": {"repo_path": str(stage.repo), "message": "x"}}],
         lambda it: it["error"]["code"] == -32000 and "*_commit" in it["error"]["data"]["rule"]),
        (["execute_tool", {"agent_id": "researcher", "server": "git", "tool": "git_status", "args": {}}],
         lambda it: it["error"]["code"] == -32000),
        (["execute_tool", {"agent_id": "researcher", "server": "nowhere", "tool": "x"}],
         lambda it: it["error"]["code"] == -32001),
        (["execute_tool", {"agent_id": "researcher", "server": "filesystem", "tool": "read_nothing"}],
         lambda it: it["isError"] and "not found" in it["content"][0]["text"]),
        (["execute_tool", {"agent_id": "intruder", "server": "git", "tool": "git_status"}],
         lambda it: it["error"]["code"] == -32003),
        (["execute_tool", {"server": "git", "tool": "git_status"}], lambda it: it["error"]["code"] == -32003),
    ]


def tell(answers: list, story: list) -> None:
    names, *answers = answers
    assert names == ["list_servers", "get_server_tools", "execute_tool"], names
    assert len(answers) == len(story), answers
    for answer, (call, is_right) in zip(answers, story, strict=True):
        try:
            right = is_right(answer)
        except (KeyError, IndexError, TypeError):
            right = False
        assert right, f"{call} was answered {json.dumps(answer)[:400]}"


def files(stage: Stage, folder: pathlib.Path) -> dict[str, dict]:
    folder.mkdir(exist_ok=True)
    (folder / "rules.json").write_text(json.dumps(RULES, indent=2))
    return {name: spec for name, spec in stage.upstreams().items() if name in ("filesystem", "time", "git")}


def its_own_files_drive_a_stock_client_over_http(binary: str, stage: Stage) -> None:
    folder = stage.dir / "agents-http"
    servers = files(stage, folder)
    environ = {**ENVIRON, "RINGGATE_POLICY__FILE": str(folder / "rules.json")}
    gateway = Gateway(binary, folder, servers, http=True, environ=environ)
    try:
        gateway.wait_up()
        story = the_story(stage)
        tell(asked(["http", gateway.url], [call for call, _ in story], {}, folder), story)
    finally:
        wrong = gateway.stop()
    assert wrong is None, wrong


def its_own_files_drive_a_stock_client_over_stdio(binary: str, stage: Stage) -> None:
    folder = stage.dir / "agents-stdio"
    (servers := files(stage, folder))
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    story = the_story(stage)
    command = ["stdio", binary, "serve", "--stdio", "--mcp-json", "mcp.json"]
    tell(asked(command, [call for call, _ in story], ENVIRON, folder), story)


ALL = {f"agents/{check.__name__.replace('_', '-')}": check for check in (
    its_own_files_drive_a_stock_client_over_http,
    its_own_files_drive_a_stock_client_over_stdio,
)}
