"""What `make status` says of a cluster: its nodes, a line each."""

from __future__ import annotations

from lifecycle.console import Failure, heading, line
from lifecycle.home import Home
from lifecycle.runtime.cluster import nodes, total
from lifecycle.runtime.runtime import Stack
from lifecycle.settings.settings import Settings


def say_nodes(home: Home, settings: Settings, stack: Stack) -> None:
    """A head that does not tell is said to, too: the rest of the status has to be seen then."""
    heading("Cluster")
    try:
        found = nodes(home, settings, stack)
    except Failure as error:
        line("head", f"does not tell its nodes: {error.text}")
        return
    for node in found:
        line(node.address, node.told)
    line("together", total(found))
