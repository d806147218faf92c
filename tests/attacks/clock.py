"""The host's calendar jumps while the gateway runs: what waits goes on waiting, tokens expire by the calendar.

libfaketime moves the gateway's calendar and leaves its monotonic clock alone, as a host that is set right does.
"""

import contextlib
import datetime
import json
import os
import pathlib
import time
from unittest import mock

import identity
from exchange import Door, Session, text_of
from lines import Lines
from siege import OverHttp, OverLines, others_are_served, stands, until
from stage import REPO, Stage

CACHE = pathlib.Path(os.environ.get("RINGGATE_CACHE", REPO / ".cache")) / "attacks" / "debian"
DAY_S = 86_400
# A call that its server never answers ends after this, by the gateway's monotonic clock, and not before.
REQUEST_S = 3
JUMPS_S = [DAY_S, -DAY_S, 400 * DAY_S, 0]


class Calendar:
    """What the gateway takes for the calendar."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        library = next(CACHE.glob("usr/lib/*/faketime/libfaketimeMT.so.1"), None)
        assert library, "libfaketime is missing; run scripts/setup"
        self.environ = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(path), "FAKETIME_NO_CACHE": "1",
                        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """To so many seconds from what it is; at once, since it is looked up each time."""
        draft = self.path.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n")
        draft.rename(self.path)


def last_written(audit: pathlib.Path) -> str:
    return json.loads(audit.read_text().splitlines()[-1])["time"]


def jumps(binary: str, stage: Stage) -> str:
    """Sessions and calls under way, across jumps of a day and of a year, forth and back."""
    audit = stage.dir / "clock-audit.log"
    calendar = Calendar(stage.dir / "calendar")
    config = f'[limits]\nrequest = "{REQUEST_S}s"\nsession_idle = "60s"\n[audit]\nto = "{audit}"\n'
    with stands(binary, stage, "clock", config, environ=calendar.environ) as siege:
        door = Door(siege.gateway.http_port)
        session = Session(door)
        with others_are_served(siege, OverLines(Lines(siege.gateway.port)), OverHttp(siege.gateway.http_port)), \
                Lines(siege.gateway.port) as lines:
            lines.initialize()
            for seconds in JUMPS_S:
                began = time.monotonic()
                hangs = lines.begin("tools/call", {"name": "hang", "arguments": {}})
                assert text_of(lines.call("echo", {"text": "under way"})) == "under way"
                calendar.jump(seconds)
                assert session.ask("ping")["result"] == {}, "the session did not outlive the jump"
                assert text_of(session.ask("tools/call", {"name": "echo", "arguments": {"text": "x"}})) == "x"
                while not any(one.get("id") == hangs for one in lines.seen):
                    lines.next()
                waited = time.monotonic() - began
                assert waited >= REQUEST_S, f"a call was given up after {waited:.1f} s of {REQUEST_S}"
                day = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
                until(f"the audit log goes by another calendar: {last_written(audit)}",
                      lambda day=day: last_written(audit)[:10] == day.isoformat()[:10])
        return f"{len(JUMPS_S)} jumps"


def tokens_expire_by_the_calendar(binary: str, stage: Stage) -> None:
    """One that is good until soon is not tomorrow, and is again when tomorrow was a mistake; and one of tomorrow's."""
    calendar = Calendar(stage.dir / "calendar-of-tokens")
    with contextlib.ExitStack() as stack:
        with mock.patch.dict(os.environ, calendar.environ):
            one = stack.enter_context(identity.house(binary, stage))
        now = int(time.time())
        today, tomorrow = one.signed(exp=now + 600), one.signed(nbf=now + DAY_S - 600, exp=now + DAY_S + 600)
        one.soon(today, 200)
        for seconds, good, bad in ((0, today, tomorrow), (DAY_S, tomorrow, today), (0, today, tomorrow), (-DAY_S, today, tomorrow)):
            calendar.jump(seconds)
            # The calendar is looked up once a second.
            one.soon(good, 200)
            one.soon(bad, 401)


ALL = {"clock/jumps": jumps, "clock/tokens-expire-by-the-calendar": tokens_expire_by_the_calendar}
