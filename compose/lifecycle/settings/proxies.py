"""The proxy for what is outside the host."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lifecycle.settings.known import PROXIES


def proxies(settings: Mapping[str, str], reach: str) -> dict[str, str]:
    """The environment that names the proxy: the settings', else this shell's. Ours are asked without it.

    reach: the address of Label Studio.
    """
    found = {name: settings.get(name) or _exported(name) for name in (*PROXIES, "NO_PROXY")}
    exempt = found["NO_PROXY"].split(",")
    direct = dict.fromkeys(filter(None, ["localhost", "127.0.0.1", "::1", reach, *exempt]))
    found["NO_PROXY"] = ",".join(direct)
    return {spelling: value for name, value in found.items() for spelling in (name, name.lower())}


def _exported(name: str) -> str:
    """A proxy's variable of the shell, in capitals or not."""
    return os.environ.get(name) or os.environ.get(name.lower()) or ""
