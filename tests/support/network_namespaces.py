"""Machines that are network namespaces: each with an address of its own on one bridge, and a cable to cut.

Only root may make them. Everything else of the machine they share: files, processes, clock.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Of this run alone: machines of several share the folder for temporary files, where a node's has its address.
PREFIX = f"10.77.{os.getpid() % 250}"
_CLONE_NEWNET = 0x40000000


def cannot() -> str:
    """Why this process may not make any; empty for root, for whom it is a failure if it can't."""
    return "network namespaces need root" if os.geteuid() != 0 else ""


@dataclass(frozen=True)
class Machine:
    """name: of its namespace, and what `hostname` says there."""

    name: str
    address: str
    cable: str
    hub: str

    def command(self, words: Sequence[str]) -> list[str]:
        """What runs `words` there."""
        named = ["unshare", "--uts", "sh", "-c", f'hostname {self.name} && exec "$@"', "sh"]
        return ["ip", "netns", "exec", self.name, *named, *words]

    def start(
        self, words: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
    ) -> "subprocess.Popen[bytes]":
        """Begins it; both its streams go to the end of `log`."""
        with log.open("ab") as said:
            return subprocess.Popen(
                self.command(words),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def run(
        self, words: Sequence[str], *, seconds: float = 300, **more: Any
    ) -> "subprocess.CompletedProcess[str]":
        """To its end; both its streams are its stdout."""
        return subprocess.run(
            self.command(words),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            **more,
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and what it starts meanwhile, is in the machine's network."""
        with Path("/proc/self/ns/net").open() as own, Path("/run/netns", self.name).open() as theirs:
            _set_namespace(theirs.fileno())
            try:
                yield
            finally:
                _set_namespace(own.fileno())

    def cut(self) -> None:
        """Pulls its cable out: no packet comes or goes, and nobody is told."""
        _ip("-n", self.hub, "link", "set", self.cable, "down")

    def mend(self) -> None:
        _ip("-n", self.hub, "link", "set", self.cable, "up")


@contextmanager
def machines(*names: str) -> Iterator[list[Machine]]:
    """So many of them, in one network that nothing else is in. They go with whatever still runs in them."""
    assert shutil.which("ip"), "no `ip`: install iproute2"
    mark = f"ll{os.getpid() % 100000}"
    hub = f"{mark}hub"
    made = [hub]
    try:
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        found = []
        for number, name in enumerate(names, 1):
            machine = Machine(f"{mark}{name}", f"{PREFIX}.{number}", f"cable{number}", hub)
            made.append(machine.name)
            _plug_in(machine)
            found.append(machine)
        yield found
    finally:
        for name in made:
            _empty(name)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _set_namespace(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _plug_in(machine: Machine) -> None:
    _ip("netns", "add", machine.name)
    _ip("-n", machine.name, "link", "set", "lo", "up")
    ends = ("link", "add", "eth0", "netns", machine.name, "type", "veth", "peer", "name", machine.cable)
    _ip(*ends, "netns", machine.hub)
    _ip("-n", machine.hub, "link", "set", machine.cable, "master", "bridge")
    _ip("-n", machine.hub, "link", "set", machine.cable, "up")
    _ip("-n", machine.name, "address", "add", f"{machine.address}/24", "dev", "eth0")
    _ip("-n", machine.name, "link", "set", "eth0", "up")
    _ip("-n", machine.name, "route", "add", "default", "via", f"{PREFIX}.254")


def _empty(name: str) -> None:
    """Ends what runs in a namespace that is ours."""
    told = subprocess.run(["ip", "netns", "pids", name], check=False, capture_output=True, text=True)
    for pid in told.stdout.split():
        subprocess.run(["kill", "-KILL", pid], check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
