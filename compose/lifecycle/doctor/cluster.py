"""The cluster: what its head needs of this host, and how its nodes are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from labelloop.cluster_node import ALIVE, LOST, Node
from labelloop.findings import LOGS, Finding, ok, problem, warning
from labelloop.join_file import JoinFile, Mark, NotJoinable
from lifecycle.console import Failure, line
from lifecycle.doctor.findings import of_failure
from lifecycle.home import Home
from lifecycle.runtime.cluster import nodes, total
from lifecycle.runtime.runtime import Stack
from lifecycle.settings.network import is_here, port_is_free
from lifecycle.settings.settings import Settings


def check(settings: Settings, runtime: str, *, running: bool) -> None:
    """What CLUSTER asks of this host. running: whether this stack may hold the port itself.

    Raises:
        Failure: what is in the way.
    """
    _check_not_joined(settings)
    if settings.get("CLUSTER_BIND") and not settings.cluster:
        raise Failure("CLUSTER_BIND", found="no cluster", needed="CLUSTER=ray", do="`make up CLUSTER_BIND=`.")
    if not settings.cluster:
        return
    address, port = settings.cluster_bind, settings.cluster_port
    if address and not is_here(address):
        raise Failure(
            "CLUSTER_BIND",
            found=f"{address}, which is no address of this host",
            needed="one that is, and that the other machines reach",
            do="`ip -4 address` lists them.",
        )
    if address and runtime == "docker" and settings.backends > 1:
        raise Failure(
            f"BACKENDS={settings.backends}",
            found="a cluster of several machines, whose trainer is on the host's own network",
            needed="BACKENDS=1, since there it finds one ML backend",
            do="`make up BACKENDS=1`; or `make up CLUSTER_BIND=`, a cluster of this machine alone.",
        )
    open_to_others = address or runtime == "host"
    if open_to_others and not running and not port_is_free(address or "0.0.0.0", port):
        raise Failure(
            f"port {port}",
            found="another program listening, perhaps another cluster's head, or Redis",
            needed="a free port for CLUSTER_PORT, and some hundred behind it",
            do=f"`make up CLUSTER_PORT={port + 200}`.",
        )
    line("cluster", f"head on {address or 'this machine alone'}, port {port}")


def check_own(home: Home, settings: Settings) -> None:
    """For what changes or deletes state: a machine that trains for another's stack has that one's folders.

    Raises:
        Failure: this machine has joined a cluster, or volumes/rounds is that of a head that lives elsewhere.
    """
    _check_not_joined(settings)
    if settings.cluster:
        return
    try:
        mark = Mark.read(home.cluster_mark)
    except NotJoinable:
        return
    if mark.clock_difference() or _own_mark(home) == mark.mark:
        return
    raise Failure(
        f"{home.cluster_mark}",
        found="the sign of life of another machine's stack, so the labels and models here are that one's",
        needed="volumes/ of this checkout's own",
        do="`make` there does it. To do it here, unmount that one's folders first.",
    )


def _own_mark(home: Home) -> str:
    try:
        return JoinFile.read(home.join_file).mark
    except NotJoinable:
        return ""


def _check_not_joined(settings: Settings) -> None:
    if settings.cluster_head:
        raise Failure(
            "this checkout",
            found=f"a machine that has joined the cluster of {settings.cluster_head}",
            needed="one that has not, for a stack of its own",
            do="`make leave` first; `make join` starts it again as what it is.",
        )


def findings(home: Home, settings: Settings, stack: Stack) -> Iterator[Finding]:
    """The nodes, of which lost ones and those with another version are worth a look."""
    if not settings.in_cluster:
        return
    try:
        found = nodes(home, settings, stack)
    except Failure as error:
        yield of_failure("cluster", Failure(f"the head does not tell its nodes: {error.text}", do=error.do))
        return
    yield from of_nodes(found)


def of_nodes(found: Sequence[Node]) -> Iterator[Finding]:
    head = next((node for node in found if node.is_head and node.state == ALIVE), None)
    if head is None:
        yield problem("cluster", "its head is not among its nodes", *LOGS)
        return
    yield ok("cluster", total(found))
    idle = [node for node in found if node.state == ALIVE and node.gpus] if not head.gpus else []
    if idle:
        text = f"the head has no GPU, so rounds train on cores, and the GPU of {idle[0].name} stays idle"
        fix = "Have the stack on a machine with a GPU; GPUs train where the head has one, too."
        yield warning("cluster", text, fix, "make status")
    for node in found:
        if node.state == LOST:
            fix = "Look at that machine and the network; it comes back by itself. "
            fix += "Gone for good, it is forgotten with the head's next start."
            yield warning(
                "cluster", f"{node.name} at {node.address} is lost: {node.told}", fix, "make status"
            )
        elif node.state == ALIVE and node.version != head.version:
            theirs = f"{node.name} at {node.address} has version {node.version}"
            text = f"{theirs}, and the head {head.version}: it gets no work"
            fix = "Have the head's version there, and join again."
            yield problem("cluster", text, fix, "git pull && make join")
