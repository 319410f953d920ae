"""How a container is, from what `docker inspect` says of it."""

from __future__ import annotations

from typing import Any, Optional

from lifecycle.shell import answer

FAILING_AFTER = 3
"""Restarts after which a container that ends is not waited for any longer."""
_WORST_FIRST = (
    *("failing", "dead", "exited", "unhealthy", "restarting", "created", "starting"),
    *("running", "healthy"),
)
_GAVE_UP = "entered FATAL state"


def badness(state: str) -> int:
    """The worse, the lower. A state that is not listed, such as paused, is the worst."""
    return _WORST_FIRST.index(state) if state in _WORST_FIRST else -1


def of(container: dict[str, Any]) -> str:
    """healthy, starting, unhealthy, failing (it ends again and again), exited, …"""
    state = container["State"]
    if container["RestartCount"] >= FAILING_AFTER and state["Status"] in ("restarting", "exited"):
        return "failing"
    found = health(container) if state["Status"] == "running" else None
    if found == "starting" and _gave_up(container):
        return "failing"
    return str(found or state["Status"])


def health(container: dict[str, Any]) -> Optional[str]:
    """What the health check says; None where there is none."""
    return (container["State"].get("Health") or {}).get("Status")


def _gave_up(container: dict[str, Any]) -> bool:
    """Whether the container's supervisord said since its start that a program ends again and again.

    Docker itself calls such a container "starting" until its health check's start period is over.
    """
    told = answer(["docker", "logs", "--since", container["State"]["StartedAt"], container["Id"]])
    return told is not None and _GAVE_UP in told
