"""Two Docker engines on this machine, each in a network namespace of its own, joined by a cable.

It needs root on Linux, and Debian's docker.io. Nothing of it listens on this host's own addresses.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.network_namespaces import ip
from support.stack import wait_for

START_S = 90.0
CARRY_S = 3600.0
_CABLE, _HOST_CABLE = "10.98.7", "10.98.8"


@dataclass(frozen=True)
class Node:
    """An engine. namespace: of its network. address: where the other one reaches it."""

    name: str
    folder: Path
    namespace: str
    address: str

    @property
    def engine(self) -> str:
        """As DOCKER_HOST names it."""
        return f"unix://{self.folder}/docker.sock"

    def docker(self, *words: str, timeout: float = 300) -> str:
        """What a command of Docker's prints, stripped. Raises AssertionError: it failed."""
        done = subprocess.run(
            ["docker", "--host", self.engine, *words], capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, f"docker {' '.join(words)} on {self.name}: {done.stderr}"
        return done.stdout.strip()

    def within(self, *command: str) -> list[str]:
        """The command that runs another one on this node's network."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]


@dataclass(frozen=True)
class Engines:
    """Neither has an image yet. address: where this host reaches the first."""

    first: Node
    second: Node
    address: str


@contextmanager
def two_engines(folder: Path) -> Iterator[Engines]:
    """All of both is gone behind the block."""
    names = [f"engine{os.getpid()}{end}" for end in "ab"]
    nodes = [
        Node(f"node{number}", folder / f"node{number}", name, f"{_CABLE}.{number}")
        for number, name in enumerate(names, 1)
    ]
    with ExitStack() as left:
        for name in names:
            ip("netns", "add", name)
            left.callback(ip, "netns", "delete", name)
            ip("-n", name, "link", "set", "lo", "up")
        cable = ("type", "veth", "peer", "name", "cable", "netns", names[1])
        ip("link", "add", "cable", "netns", names[0], *cable)
        host_end = f"sw{os.getpid()}"
        ip("link", "add", host_end, "type", "veth", "peer", "name", "host", "netns", names[0])
        ip("address", "add", f"{_HOST_CABLE}.1/24", "dev", host_end)
        ip("link", "set", host_end, "up")
        ip("-n", names[0], "address", "add", f"{_HOST_CABLE}.2/24", "dev", "host")
        ip("-n", names[0], "link", "set", "host", "up")
        for node in nodes:
            ip("-n", node.namespace, "address", "add", f"{node.address}/24", "dev", "cable")
            ip("-n", node.namespace, "link", "set", "cable", "up")
            left.enter_context(_engine(node))
        first, second = nodes
        yield Engines(first, second, f"{_HOST_CABLE}.2")


def carry(node: Node, *images: str, come_from: str = "") -> None:
    """Has a node hold images of another engine, which DOCKER_HOST's form names; "" is this host's own."""
    there = ["docker", *(["--host", come_from] if come_from else [])]
    with subprocess.Popen([*there, "save", *images], stdout=subprocess.PIPE) as saving:
        load = ["docker", "--host", node.engine, "load", "--quiet"]
        loaded = subprocess.run(load, stdin=saving.stdout, capture_output=True, text=True, timeout=CARRY_S)
    assert saving.returncode == loaded.returncode == 0, f"{', '.join(images)}: {loaded.stderr}"


@contextmanager
def _engine(node: Node) -> Iterator[None]:
    """Its containers end with it, and its folder goes."""
    node.folder.mkdir(parents=True)
    words = [
        *("dockerd", "--data-root", f"{node.folder}/data", "--exec-root", f"{node.folder}/exec"),
        *("--pidfile", f"{node.folder}/pid", "--host", node.engine),
        *("--insecure-registry", f"{_CABLE}.0/24"),
    ]
    # A name of its own, by which `docker node ls` tells it.
    script = f'hostname {node.name}; exec "$@"'
    with (node.folder / "log").open("w") as log:
        engine = subprocess.Popen(
            node.within("unshare", "--uts", "sh", "-c", script, "sh", *words), stdout=log, stderr=log
        )
    try:
        wait_for(f"{node.name}'s engine", lambda: _answers(node), START_S)
        yield
    finally:
        if _answers(node):
            for each in node.docker("ps", "--quiet").split():
                node.docker("rm", "--force", each)
        engine.terminate()
        engine.wait(300)
        # Of containers that had the engine's own network.
        for place in reversed(_mounts_below(node.folder)):
            subprocess.run(["umount", "--lazy", place], check=True)
        subprocess.run(["rm", "--recursive", "--force", str(node.folder)])  # a hundred thousand files


def _mounts_below(folder: Path) -> list[str]:
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return [place for place in (line.split()[1] for line in mounts) if place.startswith(f"{folder}/")]


def _answers(node: Node) -> bool:
    try:
        done = subprocess.run(["docker", "--host", node.engine, "info"], capture_output=True, timeout=30)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
