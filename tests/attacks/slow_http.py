"""Clients of HTTP that take all the time there is, by slowhttptest: heads, bodies and answers that never come to an end."""

import os
import pathlib
import re
import subprocess

from lines import Lines
from siege import OverHttp, OverLines, others_are_served, stands, until
from stage import REPO, Stage

PROGRAM = pathlib.Path(os.environ.get("RINGGATE_CACHE", REPO / ".cache")) / "attacks" / "debian" / "usr" / "bin" / "slowhttptest"
CONNECTIONS, RATE, LASTS_S, RUN_S_MAX = 1_000, 400, 12, 90
# As short as the attack; by default they are 10, 30 and 75 s.
LIMITS = '[limits]\nhead = "3s"\nbody = "3s"\nkeep_alive = "3s"\nblocked = "3s"\n'
# Heads of GET without end, bodies of POST without end, and answers that are read 5 bytes at a time.
MODES = {"heads": ["-H", "-i", "1", "-x", "24"], "bodies": ["-B", "-i", "1", "-s", "8192", "-x", "10"],
         "answers": ["-X", "-k", "3", "-n", "1", "-w", "10", "-y", "20", "-z", "5"]}


def slow(mode: str):
    def attack(binary: str, stage: Stage) -> str:
        assert PROGRAM.exists(), "slowhttptest is missing; run scripts/setup"
        with stands(binary, stage, f"slow-{mode}", LIMITS) as siege:
            url = f"http://127.0.0.1:{siege.gateway.http_port}/{'tools' if mode == 'answers' else 'mcp'}"
            command = [str(PROGRAM), *MODES[mode], "-c", str(CONNECTIONS), "-r", str(RATE), "-l", str(LASTS_S), "-p", "5", "-u", url]
            with others_are_served(siege, OverLines(Lines(siege.gateway.port)), OverHttp(siege.gateway.http_port)):
                log = stage.dir / f"slow-{mode}.log"
                with log.open("wb") as out:
                    attacker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
                try:
                    until("slowhttptest does not end", lambda: siege.look() or attacker.poll() is not None, RUN_S_MAX)
                finally:
                    attacker.kill()
                    attacker.wait()
                until("slow connections stay", lambda: siege.count("connections") <= 2)
            told = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))
            available = re.findall(r"service available:\s*(\w+)", told)
            assert available and set(available) == {"YES"}, f"its own probe was not served: {available} {told[-300:]}"
            return f"{len(available)} looks of its own were served"

    return attack


ALL = {f"slow-http/{mode}": slow(mode) for mode in MODES}
