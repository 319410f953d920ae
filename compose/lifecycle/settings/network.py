"""A subnet for the stack that nothing on this host uses; and which addresses and ports are free."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable
from pathlib import Path

from lifecycle.console import Failure
from lifecycle.shell import answer

_CANDIDATES = ipaddress.ip_network("10.213.0.0/16")


def free_subnet() -> str:
    """A /24 that neither a Docker network nor a route of this host uses.

    Raises:
        Failure: all 256 candidates are taken.
    """
    taken = [*_docker_subnets(), *_routes()]
    for candidate in _CANDIDATES.subnets(new_prefix=24):
        if not any(candidate.overlaps(other) for other in taken):
            return str(candidate)
    raise Failure(
        f"a free subnet in {_CANDIDATES}",
        found="all taken",
        needed="one /24",
        do="Give one: `make up SUBNET=a.b.c.0/24`.",
    )


def is_here(address: str) -> bool:
    """Whether this host has that IPv4 address, so that something can listen on it."""
    return port_is_free(address, 0)


def port_is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _docker_subnets() -> Iterable[ipaddress.IPv4Network]:
    ids = answer(["docker", "network", "ls", "--quiet", "--filter", "driver=bridge"])
    if not ids:
        return
    for network in json.loads(answer(["docker", "network", "inspect", *ids.split()]) or "[]"):
        for config in network["IPAM"]["Config"] or []:
            subnet = ipaddress.ip_network(config["Subnet"], strict=False)
            if isinstance(subnet, ipaddress.IPv4Network):
                yield subnet


def _routes(table: Path = Path("/proc/net/route")) -> Iterable[ipaddress.IPv4Network]:
    if not table.exists():
        return
    for row in table.read_text().splitlines()[1:]:
        fields = row.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[index]), "little") for index in (1, 7))
        if mask:
            yield ipaddress.IPv4Network((destination, bin(mask).count("1")), strict=False)


def free_port(first: int) -> int:
    """`first`, or the next port that is free on 127.0.0.1."""
    return next(port for port in range(first, 65536) if port_is_free("127.0.0.1", port))
