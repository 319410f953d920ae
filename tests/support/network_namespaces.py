"""Machines that are network namespaces: each with an address of its own on one bridge, and a cable to cut.

Only root may make them. Everything else of the machine they share: files, processes, clock.
"""

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
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

    def entered(self) -> AbstractContextManager[None]:
        """This thread, and what it starts meanwhile, is in the machine's network."""
        return entered(self.name)

    def cut(self) -> None:
        """Pulls its cable out: no packet comes or goes, and nobody is told."""
        ip("-n", self.hub, "link", "set", self.cable, "down")

    def mend(self) -> None:
        ip("-n", self.hub, "link", "set", self.cable, "up")


@contextmanager
def entered(name: str) -> Iterator[None]:
    """This thread, and what it starts meanwhile, is in a namespace."""
    with Path("/proc/self/ns/net").open() as own, Path("/run/netns", name).open() as theirs:
        _set_namespace(theirs.fileno())
        try:
            yield
        finally:
            _set_namespace(own.fileno())


@contextmanager
def machines(*names: str) -> Iterator[list[Machine]]:
    """So many of them, in one network that nothing else is in. They go with whatever still runs in them."""
    assert shutil.which("ip"), "no `ip`: install iproute2"
    mark = f"ll{os.getpid() % 100000}"
    hub = f"{mark}hub"
    made = [hub]
    try:
        ip("netns", "add", hub)
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        found = []
        for number, name in enumerate(names, 1):
            machine = Machine(f"{mark}{name}", f"{PREFIX}.{number}", f"cable{number}", hub)
            made.append(machine.name)
            _plug_in(machine)
            found.append(machine)
        yield found
    finally:
        for name in made:
            with suppress(subprocess.CalledProcessError):  # it was not made any more
                kill_all_in(name)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _set_namespace(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _plug_in(machine: Machine) -> None:
    ip("netns", "add", machine.name)
    ip("-n", machine.name, "link", "set", "lo", "up")
    ends = ("link", "add", "eth0", "netns", machine.name, "type", "veth", "peer", "name", machine.cable)
    ip(*ends, "netns", machine.hub)
    ip("-n", machine.hub, "link", "set", machine.cable, "master", "bridge")
    ip("-n", machine.hub, "link", "set", machine.cable, "up")
    ip("-n", machine.name, "address", "add", f"{machine.address}/24", "dev", "eth0")
    ip("-n", machine.name, "link", "set", "eth0", "up")
    ip("-n", machine.name, "route", "add", "default", "via", f"{PREFIX}.254")


def pids_in(name: str) -> list[int]:
    """What runs in a namespace."""
    told = subprocess.run(["ip", "netns", "pids", name], check=True, capture_output=True, text=True)
    return [int(word) for word in told.stdout.split()]


def kill_all_in(name: str) -> None:
    """kill -9 of all that runs in a namespace that is ours."""
    for pid in pids_in(name):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def ip(*words: str) -> None:
    """Raises AssertionError: the kernel refuses it, and why."""
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
