"""What stands in `tuning/` is what a program takes: every profile, balancer, manifest and script is run, or at least read
by the program that it is for. What cannot be run here, `tuning/README.md` names.
"""

import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from exchange import Door, Session, text_of
from lines import Lines
from lines import text_of as said
from rolling import haproxy
from several import House
from stage import HERE, READY_S_MAX, REPO, Gateway, Stage, cache, free_port

TUNING = REPO / "tuning"
PROFILES = ("development", "staging", "production", "dense")
QUICK = {"quick": {"command": sys.executable, "args": [str(HERE / "servers" / "quick.py")]}}
# What seccomp.json says, as libseccomp has it.
ACTIONS = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x00050000}
CHECK_S_MAX = 60.0


def ran(command: list[str], **more: object) -> str:
    """What a command says, that must end well."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CHECK_S_MAX, **more)
    assert done.returncode == 0, f"{pathlib.Path(command[0]).name} ended with {done.returncode}: {done.stdout[-500:]}"
    return done.stdout


def every_profile_is_a_configuration(binary: str, stage: Stage) -> None:
    folder = stage.dir / "profiles"
    shutil.copytree(TUNING / "profiles", folder)
    keys = ran([binary, "keys", "new", "somebody"]).splitlines()
    (folder / "keys.toml").write_text(next(line for line in keys if line.startswith('"')) + "\n")
    assert {path.stem for path in (TUNING / "profiles").iterdir()} == set(PROFILES)
    for profile in PROFILES:
        told = ran([binary, "check", "--config", str(folder / f"{profile}.toml")])
        assert "the configuration is right" in told and "warning" not in told, f"{profile}: {told}"


def the_configuration_of_the_pod_is_one(binary: str, stage: Stage) -> None:
    """With the environment that the Deployment sets, and the keys of a Secret."""
    yaml = [str(cache() / "tuning/bin/python"), "-c", "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"]

    def read(name: str) -> dict:
        return json.loads(ran(yaml, input=(TUNING / "kubernetes" / name).read_text()))

    folder = stage.dir / "pod"
    folder.mkdir()
    keys = ran([binary, "keys", "new", "somebody"]).splitlines()
    (folder / "keys.toml").write_text(next(line for line in keys if line.startswith('"')) + "\n")
    # A name of the cluster's is not known here.
    text = read("configmap.yaml")["data"]["ringgate.toml"].replace("search.default.svc.cluster.local", "127.0.0.1", 1)
    (folder / "ringgate.toml").write_text(text.replace("/etc/ringgate/keys.toml", str(folder / "keys.toml")))
    pod = read("deployment.yaml")["spec"]["template"]["spec"]
    secret = {"state_key": "07" * 32}
    environ = {one["name"]: one.get("value") or secret[one["valueFrom"]["secretKeyRef"]["key"]]
               for one in pod["containers"][0]["env"]}
    told = ran([binary, "check", "--config", str(folder / "ringgate.toml")], env={**os.environ, **environ})
    assert "the configuration is right" in told, told


def kubernetes_knows_every_field(_: str, __: Stage) -> str:
    program = cache() / "tuning/bin/kubernetes-validate"
    assert program.exists(), "kubernetes-validate is missing; run scripts/setup"
    files = sorted((TUNING / "kubernetes").glob("*.yaml"))
    for path in files:
        told = ran([str(program), "--strict", str(path)])
        assert "passed" in told, told
    return f"{len(files)} files against 1.37"


def nginx() -> tuple[list[str], dict[str, str]]:
    """nginx with its stream module: what is installed, or that of scripts/setup."""
    if found := shutil.which("nginx"):
        return [found], dict(os.environ)
    root = cache() / "debian"
    assert (root / "usr/sbin/nginx").exists(), "nginx is missing: install it, or run scripts/setup on Debian"
    return [str(root / "usr/sbin/nginx"), "-g", f"load_module {root}/usr/lib/nginx/modules/ngx_stream_module.so;"], dict(os.environ)


def moved(text: str, ports: dict[int, int]) -> str:
    """A file's text with ports of ours."""
    for old, new in ports.items():
        text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    return text


@contextlib.contextmanager
def nginx_in_front(name: str, folder: pathlib.Path, ports: dict[int, int]) -> Iterator[None]:
    folder.mkdir()
    path = folder / name
    text = moved((TUNING / "nginx" / name).read_text(), ports).replace("/run/nginx-ringgate.pid", str(folder / "pid"))
    # As many files as this machine gives, and its own folder for what it would put down in Debian's.
    text = text.replace("worker_rlimit_nofile 65536;\n", "").replace("worker_connections 16384", "worker_connections 1024")
    temps = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path.write_text(text.replace("\nhttp {\n", f"\nhttp {{\n{temps}", 1))
    command, environ = nginx()
    command = [*command, "-p", str(folder), "-e", "stderr", "-c", str(path)]
    ran([*command, "-t"], env=environ)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(foreground(command), stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, env=environ)
    try:
        yield
    finally:
        process.terminate()
        process.wait(READY_S_MAX)


def foreground(command: list[str]) -> list[str]:
    """nginx takes one -g only."""
    if "-g" in command:
        at = command.index("-g") + 1
        return [*command[:at], f"{command[at]} daemon off;", *command[at + 1:]]
    return [*command, "-g", "daemon off;"]


@contextlib.contextmanager
def haproxy_in_front(name: str, folder: pathlib.Path, environ: dict[str, str]) -> Iterator[None]:
    folder.mkdir()
    program, usual = haproxy()
    command = [program, "-f", str(TUNING / "haproxy" / name)]
    ran([*command, "-c"], env={**usual, **environ})
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "-db"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**usual, **environ})
    try:
        yield
    finally:
        process.terminate()
        process.wait(READY_S_MAX)


def answers(port: int) -> None:
    """Until a gateway is reached through what is in front of it."""
    deadline = time.monotonic() + READY_S_MAX
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_S_MAX)
        try:
            connection.request("GET", "/ready", headers={"Host": "localhost"})
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        assert time.monotonic() < deadline, "nothing is reached through it"
        time.sleep(0.02)


def works(port: int) -> None:
    """Both eras, each request on a connection of its own; a stream that is told of at once; a WebSocket."""
    answers(port)
    door = Door(port)
    for n in range(8):
        reply = door.modern("tools/call", {"name": "echo", "arguments": {"message": f"modern {n}"}})
        assert text_of(reply.answer(n + 1)) == f"modern {n}", reply.body
    session = Session(door)
    for n in range(8):
        ident, reply = session.call("echo", {"message": f"legacy {n}"})
        assert text_of(reply.answer(ident)) == f"legacy {n}"
    stream = session.get()
    assert stream.status == 200 and stream.streams, stream.status
    stream.close()
    listening = door.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    first = next(listening.messages())
    assert first["method"] == "notifications/subscriptions/acknowledged", first
    listening.close()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "mcp"}
    reply = door.request("GET", upgrade, path="/ws")
    assert reply.status == 101, f"{reply.status} {reply.body[:200]!r}"
    reply.close()


def pair(binary: str, stage: Stage, name: str) -> list[House]:
    return [House(binary, stage.dir / f"{name}-{n}", "", http=True) for n in range(2)]


def through(front: str, name: str) -> Callable[[str, Stage], None]:
    """Two gateways behind a balancer, which runs the file of the repository."""
    def check(binary: str, stage: Stage) -> None:
        backs = pair(binary, stage, f"{front}-{name}")
        http_port, lines_port = free_port(), free_port()
        folder = stage.dir / f"{front}-{name}"
        try:
            if front == "nginx":
                ports = {7421: backs[0].http_port, 7521: backs[1].http_port, 7420: backs[0].port, 7520: backs[1].port,
                         7431: http_port, 7430: lines_port}
                running = nginx_in_front(f"{name}.conf", folder, ports)
            else:
                environ = {"RINGGATE_FRONT_HTTP": f"127.0.0.1:{http_port}", "RINGGATE_FRONT_LINES": f"127.0.0.1:{lines_port}",
                           "RINGGATE_FRONT_METRICS": f"127.0.0.1:{free_port()}"}
                for letter, back in zip("AB", backs, strict=True):
                    environ |= {f"RINGGATE_{letter}": f"127.0.0.1:{back.http_port}",
                                f"RINGGATE_{letter}_PORT": str(back.http_port),
                                f"RINGGATE_{letter}_LINES": f"127.0.0.1:{back.port}"}
                running = haproxy_in_front(f"{name}.cfg", folder, environ)
            with running:
                works(http_port)
                if name in ("l4", "stream"):
                    with Lines(lines_port) as lines:
                        lines.initialize()
                        assert said(lines.call("echo", {"message": "a line"})) == "a line"
                backs[0].stop()
                works(http_port)
        finally:
            for back in backs:
                back.stop()

    return check


def the_seccomp_profile_lets_the_gateway_work(binary: str, stage: Stage) -> str:
    """The very profile, by libseccomp, as a container runtime would: io_uring works, and a child over stdio too."""
    try:
        seccomp = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return "not judged: no libseccomp here"
    profile = json.loads((TUNING / "docker/seccomp.json").read_text())

    def prepare() -> None:
        seccomp.seccomp_init.restype = ctypes.c_void_p
        context = ctypes.c_void_p(seccomp.seccomp_init(ACTIONS[profile["defaultAction"]] | profile["defaultErrnoRet"]))
        for rule in profile["syscalls"]:
            for name in rule["names"]:
                number = seccomp.seccomp_syscall_resolve_name(name.encode())
                # Those of other architectures have negative numbers.
                if number >= 0 and seccomp.seccomp_rule_add(context, ACTIONS[rule["action"]], number, 0):
                    os._exit(99)
        if seccomp.seccomp_load(context):
            os._exit(98)

    gateway = Gateway(binary, stage.dir / "seccomp", QUICK, prepare=prepare, environ={"RINGGATE_SHARDS__DRIVER": "io_uring"})
    try:
        gateway.wait_ready()
        with Lines(gateway.port) as lines:
            lines.initialize()
            assert said(lines.call("echo", {"text": "behind a filter"})) == "behind a filter"
        # It is in force: mode 2 is a filter.
        status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
        assert "Seccomp:\t2" in status, "no filter"
    finally:
        wrong = gateway.stop()
    assert wrong is None, wrong
    return ""


def the_health_check_of_the_image_knows_the_dead_from_the_living(binary: str, stage: Stage) -> None:
    text = (TUNING / "docker/Dockerfile").read_text()
    line = next(line for line in text.splitlines() if line.startswith("HEALTHCHECK"))
    command = json.loads(line.partition(" CMD ")[2])
    gateway = Gateway(binary, stage.dir / "healthcheck", {}, http=True)
    gateway.wait_ready()
    command = [one.replace("7421", str(gateway.http_port)) for one in command]
    ran(command)
    gateway.stop()
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=CHECK_S_MAX).returncode != 0


def the_unit_is_one(binary: str, stage: Stage) -> str:
    program = shutil.which("systemd-analyze")
    if not program:
        return "not judged: no systemd-analyze here"
    text = (TUNING / "systemd/ringgate.service").read_text().replace("/usr/local/bin/ringgate", binary)
    path = stage.dir / "ringgate.service"
    # A user that is here.
    path.write_text(text.replace("User=ringgate", "User=daemon").replace("Group=ringgate", "Group=daemon"))
    told = ran([program, "verify", str(path)]).strip()
    assert str(path.name) not in told, told
    security = ran([program, "security", "--offline=yes", "--no-pager", str(path)])
    return security.strip().splitlines()[-1].partition("for ringgate.service: ")[2]


def the_seccomp_profile_is_what_makes_it(_: str, __: Stage) -> str:
    profile = json.loads((TUNING / "docker/seccomp.json").read_text())
    (rule,) = profile["syscalls"]
    assert {"io_uring_setup", "io_uring_enter", "io_uring_register"} <= set(rule["names"])
    assert not {"mount", "ptrace", "bpf", "kexec_load", "init_module", "setns", "unshare", "keyctl"} & set(rule["names"])
    if not shutil.which("systemd-analyze"):
        return "not made anew: no systemd-analyze here"
    made = set(json.loads(ran([str(TUNING / "docker/seccomp-profile")]))["syscalls"][0]["names"])
    here = set(rule["names"])
    return "the same" if made == here else f"this systemd has {len(made - here)} more and {len(here - made)} fewer"


def sysctls() -> dict[str, str]:
    """Each key of the file and what it is set to here."""
    found = {}
    for line in (TUNING / "sysctl.d/90-ringgate.conf").read_text().splitlines():
        if line and not line.startswith("#"):
            key, is_pair, value = line.partition(" = ")
            assert is_pair and all(part.isdigit() for part in value.split()), line
            path = pathlib.Path("/proc/sys", *key.split("."))
            found[key] = path.read_text() if path.exists() else ""
    return found


def snapshot(root: pathlib.Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def apply(*args: str) -> str:
    return ran([str(TUNING / "apply"), *args])


def nothing_is_changed_without_being_told_to(_: str, __: Stage) -> str:
    before = sysctls()
    assert before
    told = apply()
    assert sysctls() == before
    assert "nothing was changed" in told or "nothing is to be changed" in told, told
    return told.strip().splitlines()[-1]


def a_host(root: pathlib.Path) -> None:
    """What the script looks at of a host with a NIC of two queues and four cores."""
    files = {"proc/sys/net/core/somaxconn": "128", "proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t33554432",
             "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999", "proc/sys/fs/nr_open": "1048576",
             "proc/sys/net/ipv4/tcp_keepalive_time": "7200", "proc/sys/kernel/io_uring_disabled": "2",
             "proc/net/route": "Iface\tDestination\neth7\t00000000\n", "sys/devices/system/cpu/online": "0-3",
             "proc/interrupts": " CPU0\n 30: 1 PCI-MSIX virtio2-config\n 31: 1 PCI-MSIX virtio2-input.0\n 32: 1 PCI-MSIX "
                                "virtio2-output.0\n 33: 1 PCI-MSIX virtio2-input.1\n 34: 1 PCI-MSIX virtio2-output.1\n",
             "etc/security/limits.d/90-ringgate.conf": "# of another version\n"}
    files |= {f"proc/irq/{irq}/smp_affinity_list": "0-3" for irq in range(30, 35)}
    files |= {f"sys/class/net/eth7/device/msi_irqs/{irq}": "msix" for irq in range(30, 35)}
    files |= {f"sys/class/net/eth7/queues/rx-{n}/rps_cpus": "0" for n in range(2)}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")


def what_is_applied_can_be_undone(_: str, stage: Stage) -> None:
    """On a host made of files: what changes, what is good enough, and that all of it is put back."""
    root = stage.dir / "host"
    a_host(root)
    before = snapshot(root)
    told = apply("--root", str(root))
    assert snapshot(root) == before, "something was changed without --apply"
    assert "io_uring_disabled is 2" in told, told
    apply("--root", str(root), "--apply", "--cores", "1-3")
    after = {name: text.strip() for name, text in snapshot(root).items()}
    assert after["proc/sys/net/core/somaxconn"] == "4096"
    assert after["proc/sys/net/ipv4/tcp_rmem"] == before["proc/sys/net/ipv4/tcp_rmem"].strip(), "it was better before"
    assert after["proc/sys/kernel/io_uring_disabled"] == "2", "that is not ours to change"
    assert [after[f"proc/irq/{irq}/smp_affinity_list"] for irq in range(30, 35)] == ["0-3", "1", "1", "2", "2"], after
    assert after["sys/class/net/eth7/queues/rx-0/rps_cpus"] == "e"
    assert after["etc/sysctl.d/90-ringgate.conf"] == (TUNING / "sysctl.d/90-ringgate.conf").read_text().strip()
    # Applied again, with nothing left to do, it still knows what was there first.
    assert "nothing is to be changed" in apply("--root", str(root), "--apply", "--cores", "1-3")
    apply("--root", str(root), "--undo")
    undone = {name: " ".join(text.split()) for name, text in snapshot(root).items()}
    assert undone == {name: " ".join(text.split()) for name, text in before.items()}


def the_scripts_are_clean(_: str, __: Stage) -> None:
    program = shutil.which("shellcheck") or str(cache().parent / "check/bin/shellcheck")
    assert pathlib.Path(program).exists(), "shellcheck is missing; scripts/check installs it"
    ran([program, *(str(TUNING / name) for name in ("apply", "docker/seccomp-profile", "ipvs/setup"))])
    told = ran([str(TUNING / "ipvs/setup"), "10.0.0.100", "7421", "10.0.0.7", "10.0.0.8"])
    assert told.count("--add-server") == 2, told


CHECKS = (
    every_profile_is_a_configuration, the_configuration_of_the_pod_is_one, kubernetes_knows_every_field,
    the_seccomp_profile_lets_the_gateway_work, the_seccomp_profile_is_what_makes_it, the_unit_is_one,
    the_health_check_of_the_image_knows_the_dead_from_the_living, nothing_is_changed_without_being_told_to,
    what_is_applied_can_be_undone, the_scripts_are_clean,
)
ALL = {f"tuning/{check.__name__.replace('_', '-')}": check for check in CHECKS} | {
    f"tuning/{front}-{name}-serves-both-eras-and-a-gateway-may-go": through(front, name)
    for front, name in (("haproxy", "l4"), ("haproxy", "l7"), ("nginx", "stream"), ("nginx", "http"))}
