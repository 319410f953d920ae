"""The host's time zone, for programs in containers, whose clock is in UTC."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Optional

_LOCALTIME = Path("/etc/localtime")
_ZONES = Path("/usr/share/zoneinfo")
_RULE = re.compile(r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)[+-]?\d[\w<>+,./:-]*")


def host_zone(localtime: Path = _LOCALTIME) -> Optional[str]:
    """The host's zone as a rule such as "CET-1CEST,M3.5.0,M10.5.0/3", which needs no list of zones where it
    is read; None where it is not known.

    TZ in the environment counts before the host's own zone, as everywhere. localtime: the host's own.
    """
    chosen = os.environ.get("TZ", "").lstrip(":")
    if _RULE.fullmatch(chosen):
        return chosen
    try:
        data = (_ZONES / chosen if chosen else localtime).read_bytes()
    except OSError:
        return None
    rule = data[:-1].rpartition(b"\n")[2].decode("ascii", "replace")
    return rule if data.startswith(b"TZif") and _RULE.fullmatch(rule) else None
