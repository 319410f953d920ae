"""How many of the machine's cores there are for a process."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# A thread more is worth while from this share of a core on.
ENOUGH = 0.7
_STAT = Path("/proc/stat")


class Usage(NamedTuple):
    """Seconds: the time, this process's processor time, and the idle time of the cores that it may run on."""

    now: float
    used: float
    idle: float


def usage() -> Usage:
    """Of all the process's threads. Raises OSError where there is no /proc/stat."""
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    rows = (line.split() for line in _STAT.read_text(encoding="ascii").splitlines())
    ticks = sum(int(row[4]) + int(row[5]) for row in rows if row and row[0] in ours)
    return Usage(time.monotonic(), time.process_time(), ticks / os.sysconf("SC_CLK_TCK"))


class Cores:
    """The cores that this process had, or could have had, between two looks."""

    def __init__(self, look: Callable[[], Usage] = usage) -> None:
        self._look = look
        self._seen = look()

    def threads(self, limit: int) -> int:
        """From 1 to `limit`, as many as there was a core for since the last call."""
        before, self._seen = self._seen, self._look()
        had = self._seen.used - before.used + self._seen.idle - before.idle
        return max(1, min(limit, int(had / (self._seen.now - before.now) + 1 - ENOUGH)))
