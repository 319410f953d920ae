"""Measures how many of the machine's cores a process can use."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# Another thread pays off if at least this share of a core is free for it.
ENOUGH = 0.7
_STAT = Path("/proc/stat")


class Usage(NamedTuple):
    """Clock time, this process's CPU time, and the idle time of the cores that it may run on; in seconds."""

    now: float
    used: float
    idle: float


def usage() -> Usage:
    """The usage by all threads of this process. Raises OSError where there is no /proc/stat."""
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    rows = (line.split() for line in _STAT.read_text(encoding="ascii").splitlines())
    ticks = sum(int(row[4]) + int(row[5]) for row in rows if row and row[0] in ours)
    return Usage(time.monotonic(), time.process_time(), ticks / os.sysconf("SC_CLK_TCK"))


class Cores:
    """Measures the cores that this process used, or could have used, between two calls."""

    def __init__(self, look: Callable[[], Usage] = usage) -> None:
        self._look = look
        self._seen = look()

    def threads(self, limit: int) -> int:
        """The number of threads, from 1 to `limit`, for which there were cores since the last call."""
        before, self._seen = self._seen, self._look()
        had = self._seen.used - before.used + self._seen.idle - before.idle
        return max(1, min(limit, int(had / (self._seen.now - before.now) + 1 - ENOUGH)))
