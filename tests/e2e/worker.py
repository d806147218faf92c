"""Runs the SDK scenarios for one kind of client; the runner starts it under that client's Python.

Reads its setting as one JSON line from stdin and writes one JSON line a scenario.
"""

import json
import pathlib
import sys
import traceback

import anyio

import scenarios
from world import Setting, opened

SCENARIO_S_MAX = 90.0


def root_cause(error: BaseException) -> BaseException:
    """What really failed, out of the exception groups in which task groups wrap it."""
    while isinstance(error, BaseExceptionGroup):
        # The closing of a connection can add its own complaint to the failure that we want.
        inner = sorted(error.exceptions, key=lambda e: not isinstance(e, AssertionError | BaseExceptionGroup))
        error = inner[0]
    return error


async def run(setting: Setting, scenario: scenarios.Scenario) -> str | None:
    """Runs one scenario; returns why it failed."""
    try:
        with anyio.fail_after(SCENARIO_S_MAX):
            async with opened(setting) as world:
                await scenario.run(world)
    except Exception as error:  # whatever a scenario raises is its verdict
        setting.log.open("a").write(traceback.format_exc())
        cause = root_cause(error)
        where = traceback.extract_tb(cause.__traceback__)
        mine = [frame for frame in where if frame.filename == scenarios.__file__]
        line = f"scenarios.py:{mine[-1].lineno}: " if mine else ""
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
