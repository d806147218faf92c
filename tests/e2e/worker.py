"""Runs the SDK scenarios for one kind of client; the runner starts it under that client's Python.

Reads its setting as one JSON line from stdin and writes one JSON line a scenario.
"""

import json
import pathlib
import sys
import traceback

import anyio

import scenarios
from peer import Refused
from world import Setting, opened

SCENARIO_S_MAX = 90.0


def leaves(error: BaseException | None) -> list[BaseException]:
    """All that failed: task groups wrap failures in groups, and a failing exit hides what came before."""
    if error is None:
        return []
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    found = [leaf for part in (*inner, error.__context__) for leaf in leaves(part)]
    return found if inner else [error, *found]


def root_cause(error: BaseException) -> BaseException:
    """What really failed: the closing of a connection can add its own complaint to it."""
    telling = (AssertionError, Refused, TimeoutError)
    return min(leaves(error), key=lambda e: next((i for i, kind in enumerate(telling) if isinstance(e, kind)), 9))


async def run(setting: Setting, scenario: scenarios.Scenario) -> str | None:
    """Runs one scenario; returns why it failed."""
    try:
        with anyio.fail_after(SCENARIO_S_MAX):
            async with opened(setting) as world:
                await scenario.run(world)
                faults = [fault for peer in world.peers.values() for fault in peer.faults]
                assert not faults, f"the client was sent what is no message: {faults[0]}"
    except Exception as error:  # whatever a scenario raises is its verdict
        setting.log.open("a").write(traceback.format_exc())
        cause = root_cause(error)
        where = traceback.extract_tb(cause.__traceback__)
        mine = [frame for frame in where if pathlib.Path(frame.filename).parent.name == "scenarios"]
        line = f"{pathlib.Path(mine[-1].filename).name}:{mine[-1].lineno}: " if mine else ""
        return f"{line}{type(cause).__name__}: {cause}"
    return None


def main() -> None:
    told = json.loads(sys.stdin.readline())
    names = told.pop("scenarios")
    for key in ("files", "repo", "taps", "log"):
        told[key] = pathlib.Path(told[key])
    setting = Setting(**told)
    for scenario in scenarios.chosen(setting.kind, setting.direct):
        if scenario.name in names:
            why = anyio.run(run, setting, scenario)
            print(json.dumps({"name": scenario.name, "why": why}), flush=True)


if __name__ == "__main__":
    main()
