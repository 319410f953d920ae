"""Facts of this host that settings are made of: who runs the services, cores, memory."""

from __future__ import annotations

import os
import sys

from lifecycle.home import Home

UNPRIVILEGED_ID = 10001
"""Runs the containers of a checkout of root's."""
# The share of the host's memory that a service may take, and what it may in any case, in MiB: the host is
# spared a process that grows without end, and a small one still trains.
_SHARES = {"TRAINER_MEMORY": (0.8, 2560), "MLBACKEND_MEMORY": (0.5, 1536)}


def services_user(home: Home) -> tuple[int, int]:
    """Our own user and group; for root the checkout's owner's, so that `sudo make up` shuts nobody out."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    owner = home.root.stat()
    return (owner.st_uid, owner.st_gid) if owner.st_uid != 0 else (UNPRIVILEGED_ID, UNPRIVILEGED_ID)


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_limit(name: str) -> str:
    """As Compose writes it, for example 6144m; 0, no limit, where the host's memory isn't known."""
    share, least = _SHARES[name]
    total = host_memory() / 2**20
    return f"{max(int(total * share), least)}m" if total else "0"


def host_memory() -> float:
    """In bytes; 0 where it can't be told."""
    if sys.platform != "linux":
        return 0.0
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
