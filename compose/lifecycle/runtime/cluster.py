"""The cluster's nodes, asked by a program beside the trainer, or beside a machine's own node."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from labelloop.cluster_node import ALIVE, Node, counted
from lifecycle import engine
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime.host_environment import environment
from lifecycle.runtime.host_stack import HostStack
from lifecycle.runtime.runtime import Stack
from lifecycle.settings.settings import Settings
from lifecycle.shell import converse

ASK_SECONDS = 90.0
START_SECONDS = 180.0


def nodes(home: Home, settings: Settings, stack: Stack, *, running: bool = True) -> list[Node]:
    """running: whether this machine's own node runs; without it the head is asked all the same.

    Raises:
        Failure: they can't be told, and why.
    """
    program = ["-m", "cluster.nodes"]
    if isinstance(stack, HostStack):
        command = [str(home.venvs / "ml/bin/python"), *program]
        told = converse(command, "", cwd=home.root, env=environment(home, settings), seconds=ASK_SECONDS)
    else:
        service = "worker" if settings.cluster_head else "trainer"
        how = ("exec", "-T") if running else ("run", "--rm", "--no-deps", "-T")
        command = engine.compose(*how, service, "python", *program)
        told = converse(command, "", cwd=home.root, seconds=ASK_SECONDS)
    rows: list[dict[str, Any]] = told.get("nodes", [])
    return [Node(**row) for row in rows]


def wait_for_head(home: Home, settings: Settings, stack: Stack, seconds: float = START_SECONDS) -> list[Node]:
    """The nodes, once the head answers.

    Raises:
        Failure: it does not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = nodes(home, settings, stack)
            if any(node.is_head and node.state == ALIVE for node in found):
                return found
            why = "it is not among its own nodes yet"
        except Failure as error:
            why = error.text
        if time.monotonic() > deadline:
            raise Failure(
                f"the cluster's head does not answer after {seconds:.0f} s: {why}",
                do="`make logs` says more; `make up CLUSTER=none` goes without it.",
            )
        time.sleep(2)


def total(found: Sequence[Node]) -> str:
    """What the alive ones have together."""
    alive = [node for node in found if node.state == ALIVE]
    cores, gpus = sum(node.cores for node in alive), sum(node.gpus for node in alive)
    return f"{counted(len(alive), 'machine')}, {counted(cores, 'core')}, {counted(gpus, 'GPU')}"
