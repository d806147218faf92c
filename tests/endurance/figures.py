"""What a process holds, and whether it grows: medians of windows and a slope that single readings do not move."""

import collections
import contextlib
import dataclasses
import math
import pathlib
import statistics
import time

GROWTH_MAX = 0.01
# How sure it must be that there is a trend at all: one run in a thousand without one is taken for one.
SURE = 3.29


@dataclasses.dataclass
class Reading:
    """Of one quiet moment. Sizes in KiB."""

    at_s: float
    resident: int
    proportional: int
    private: int
    anonymous: int
    descriptors: int
    threads: int
    children: int

    @staticmethod
    def of(pid: int, began: float) -> "Reading":
        process = pathlib.Path(f"/proc/{pid}")
        sizes = {}
        for line in (process / "smaps_rollup").read_text().splitlines()[1:]:
            name, size, *_ = line.split()
            sizes[name] = int(size)
        tasks, children = list((process / "task").iterdir()), 0
        for task in tasks:
            # A thread may end while we look.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children += len((task / "children").read_text().split())
        return Reading(time.monotonic() - began, sizes["Rss:"], sizes["Pss:"], sizes["Private_Dirty:"], sizes["Anonymous:"],
                       len(list((process / "fd").iterdir())), len(tasks), children)

    def __str__(self) -> str:
        return (f"{self.at_s:7.0f} s  rss {self.resident} pss {self.proportional} private dirty {self.private} "
                f"anonymous {self.anonymous} KiB  fds {self.descriptors} threads {self.threads} children {self.children}")


def window(readings: list[Reading], figure: str, first: bool) -> float:
    """The median of the first or of the last third."""
    part = max(1, len(readings) // 3)
    return statistics.median(getattr(one, figure) for one in (readings[:part] if first else readings[-part:]))


def slope(readings: list[Reading], figure: str) -> float:
    """Theil and Sen's: the median of the slopes between all pairs, per second."""
    pairs = [(getattr(b, figure) - getattr(a, figure)) / (b.at_s - a.at_s)
             for n, a in enumerate(readings) for b in readings[n + 1:]]
    return statistics.median(pairs)


def trend(readings: list[Reading], figure: str) -> float:
    """Mann and Kendall's: by how many deviations more pairs rise than fall would if there were no trend."""
    values = [getattr(one, figure) for one in readings]
    rises = sum((b > a) - (b < a) for n, a in enumerate(values) for b in values[n + 1:])
    count = len(values)
    ties = sum(n * (n - 1) * (2 * n + 5) for n in collections.Counter(values).values())
    deviation = math.sqrt(max(1, count * (count - 1) * (2 * count + 5) - ties) / 18)
    return (rises - (rises > 0) + (rises < 0)) / deviation


@dataclasses.dataclass
class Growth:
    """Of one figure over readings: by windows, by the slope over the same time, and how sure that is."""

    before: float
    after: float
    by_windows: float
    by_slope: float
    trend: float

    @staticmethod
    def of(readings: list[Reading], figure: str) -> "Growth":
        before, after = window(readings, figure, True), window(readings, figure, False)
        span = readings[-1].at_s - readings[0].at_s
        return Growth(before, after, after / before - 1, slope(readings, figure) * span / before, trend(readings, figure))

    @property
    def is_growth(self) -> bool:
        """All say so: a high reading moves none, a step or chance not all of them, a leak does."""
        return min(self.by_windows, self.by_slope) >= GROWTH_MAX and self.trend >= SURE

    def __str__(self) -> str:
        return (f"{self.before:.0f} to {self.after:.0f} KiB, {self.by_windows:+.2%} by windows, {self.by_slope:+.2%} by slope, "
                f"trend {self.trend:+.1f}")
