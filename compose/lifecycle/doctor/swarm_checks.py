"""What a swarm must have before anything is changed on it."""

from __future__ import annotations

from collections.abc import Iterator

from labelloop.findings import Finding, ok, warning
from lifecycle import engine
from lifecycle.console import Failure, line
from lifecycle.doctor.findings import of_failure
from lifecycle.home import Home
from lifecycle.runtime import swarm
from lifecycle.runtime.stack_file import EVERYWHERE
from lifecycle.settings.settings import Settings

PRIVILEGES = "name=no-new-privileges"
LEAST_HEARTBEAT_S = 30
_MISSED = 3
"""Heartbeats, before a node counts as lost."""


def check(home: Home, settings: Settings) -> None:
    """A manager here, addresses as Swarm publishes them, and no stack of that name from elsewhere.

    Raises:
        Failure: the first thing that is missing.
    """
    swarm.this_node()
    check_bind(settings)
    check_cluster(settings)
    check_folder(home, settings)
    line("swarm", in_words())


def check_bind(settings: Settings) -> None:
    """Raises Failure: the pages are to be on one address, which Swarm can't do."""
    if settings.bind != EVERYWHERE:
        raise Failure(
            "BIND",
            found=f"{settings.bind}, one address",
            needed=f"{EVERYWHERE}, since Swarm publishes on all addresses of a node",
            do=f"`make stack BIND={EVERYWHERE}` says that this is meant; a firewall can close "
            f"{settings.port} and {settings.dashboard_port} to others.",
        )


def check_cluster(settings: Settings) -> None:
    """Raises Failure: other machines are to join a Ray cluster, whose head is on the host's own network."""
    if settings.cluster_bind:
        raise Failure(
            "CLUSTER_BIND",
            found=f"{settings.cluster_bind}, for a head on the host's own network",
            needed="none on a swarm, whose services have a network of their own",
            do="`make stack CLUSTER_BIND=` has one machine alone, `make up RUNTIME=docker` has several.",
        )


def check_folder(home: Home, settings: Settings) -> None:
    """Raises Failure: a stack of that name was deployed from another checkout."""
    folders = {one.folder for one in swarm.services(settings.project_name)} - {str(home.root)}
    if folders:
        raise Failure(
            f"the name {settings.project_name}",
            found=f"a stack of that name from {', '.join(sorted(folders)) or 'elsewhere'}",
            needed="a free name",
            do=f"`make down` there, or `make stack COMPOSE_PROJECT_NAME={settings.project_name}2` here.",
        )


def in_words() -> str:
    """Where the stack goes."""
    backends = swarm.nodes_with(swarm.BACKEND_LABEL)
    label = f"{swarm.BACKEND_LABEL}=true"
    if not backends:
        return f"all on this node; ML backends go to nodes with the label {label}, and none has it"
    return f"ML backends on {', '.join(sorted(backends.values()))} ({label}), all else on this node"


def findings(home: Home, settings: Settings) -> Iterator[Finding]:
    """For `make doctor`."""
    try:
        swarm.this_node()
        check_bind(settings)
        check_cluster(settings)
        check_folder(home, settings)
        yield ok("swarm", in_words())
    except Failure as error:
        yield of_failure("swarm", error)
    heartbeat_s = swarm.heartbeat_s()
    if heartbeat_s is not None and heartbeat_s < LEAST_HEARTBEAT_S:
        yield warning(
            "heartbeat",
            f"a node whose engine says nothing for {_MISSED * heartbeat_s:.0f} s is taken for lost, and all "
            "on it is ended and started anew: training stops, pages are away. A busy one can be so silent",
            f"`docker swarm update --dispatcher-heartbeat {LEAST_HEARTBEAT_S}s` waits for "
            f"{_MISSED * LEAST_HEARTBEAT_S} s.",
            "docker info --format '{{.Swarm.Cluster.Spec.Dispatcher.HeartbeatPeriod}}'",
        )
    if PRIVILEGES not in (engine.engine_info().get("SecurityOptions") or ()):
        yield warning(
            "privileges",
            "containers may gain privileges by setuid programs: Swarm can't forbid it for one service",
            '"no-new-privileges": true in /etc/docker/daemon.json of each node forbids it for all.',
            "docker info --format '{{.SecurityOptions}}'",
        )
