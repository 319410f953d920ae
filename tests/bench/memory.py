"""Memory and time of processes, from /proc."""

import os
from pathlib import Path


def peak_mb(pid: int | str = "self") -> float:
    """The most resident memory that a process has had so far, in MB.

    ru_maxrss would know of the process that started it, too.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"process {pid} tells no VmHWM: peak memory can be measured on Linux alone")


def resident_mb(pid: int) -> float:
    """The resident memory that a process has now, in MB; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except FileNotFoundError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor_s(pid: int, ended: bool = False) -> float:
    """The processor's time that a process has taken so far; 0 when it is gone. ended: with that of processes
    which it had started, and which have ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended else 13])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes that a process has started, and which run."""
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
