"""A machine of a cluster, as its head knows it.

This module needs only Python's standard library.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

VERSION_LABEL = "labelloop-version"
"""Ray's label of a node that says the version of its code."""
ALIVE, LEFT, LOST = "alive", "left", "lost"


@dataclass(frozen=True)
class Node:
    """address: IPv4. is_here: whether it is this machine's. memory: in bytes. version: of its code. since: of
    its start, in seconds since 1970. detectors: how many make pre-labels there now.

    state: ALIVE; LEFT, when it said so; LOST, when it no longer answered and none is at its address since.
    """

    address: str
    name: str
    is_head: bool
    is_here: bool
    cores: float
    gpus: float
    memory: float
    version: str
    since: float
    state: str
    detectors: int = 0

    @property
    def brings(self) -> str:
        """For example `8 cores, 1 GPU, 31 GB`."""
        gpus = f", {counted(self.gpus, 'GPU')}" if self.gpus else ""
        return f"{counted(self.cores, 'core')}{gpus}, {self.memory / 1e9:.0f} GB"

    @property
    def told(self) -> str:
        """All of it, on one line."""
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        what = "the head, " if self.is_head else ""
        how = f"since {since}" if self.state == ALIVE else f"{self.state}; it was here from {since}"
        makes = f"; {counted(self.detectors, 'detector')} for pre-labels" if self.detectors else ""
        return f"{what}{self.name}: {self.brings}; version {self.version or 'unknown'}; {how}{makes}"


def counted(number: float, what: str) -> str:
    """
    >>> counted(1, "core"), counted(2.0, "core")
    ('1 core', '2 cores')
    """
    return f"{number:g} {what}{'' if number == 1 else 's'}"
