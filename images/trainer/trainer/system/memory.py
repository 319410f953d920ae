"""How much memory the trainer may take."""

import os
from pathlib import Path

CONTAINERS_LIMIT = Path("/sys/fs/cgroup/memory.max")
SHARE = 0.8
"""Of the machine's memory, where no limit is set; `make` limits the container to the same share."""


def usable_gb(limit: Path = CONTAINERS_LIMIT) -> float:
    """The container's limit, and at most SHARE of the machine's memory; in units of 10^9 bytes."""
    share = SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = limit.read_text().strip()
    except OSError:
        text = ""
    return min(share, float(text) if text.isdigit() else share) / 1e9
