"""Ray's own programs on this machine: how they are started, for a head and for a node that joins."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from cluster.certificates import Certificate, issue
from cluster.place import NoPlace, Place, put
from labelloop.errors import Explained

OBJECT_STORE_BYTES = 200_000_000
"""Nothing large goes through it: images and checkpoints are on the shared volumes."""
WORKER_PORTS = (21, 120)
"""The ports of the programs that Ray starts here, counted from the first of the node."""
_SERVICES = {
    "node-manager-port": 1,
    "object-manager-port": 2,
    "runtime-env-agent-port": 3,
    "dashboard-agent-grpc-port": 4,
    "dashboard-agent-listen-port": 5,
    "metrics-export-port": 6,
}
_ANNOUNCE_SECONDS = 60.0


class NoAnnouncement(Explained):
    """This machine can't say which version of the code it has."""


@dataclass(frozen=True)
class Announcement:
    """What a node tells the others of itself: Ray's resources and labels."""

    resources: dict[str, float]
    labels: dict[str, str]


def announcement() -> Announcement:
    """What the trainer's code here says of its version.

    Raises:
        NoAnnouncement: it says nothing.
    """
    command = [sys.executable, "-m", "trainer.cluster.announce"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_ANNOUNCE_SECONDS)
    try:
        told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return Announcement(dict(told["resources"]), dict(told["labels"]))
    except (ValueError, KeyError, IndexError) as error:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NoAnnouncement(f"{' '.join(command)} ended with {done.returncode}: {said}") from error


def certify(place: Place) -> None:
    """Gives this node a certificate for its present address, from the authority that is there."""
    authority = Certificate(place.authority.read_bytes(), place.authority_key.read_bytes())
    made = issue(authority, [place.address, "127.0.0.1"])
    put(place.certificate, made.certificate)
    put(place.key, made.key)


def scratch(place: Place) -> Path:
    """For sockets and logs of one node: short, since a socket's path has 107 bytes at most, of which Ray's
    names take 64. Ray opens its own folder to all; the one around it is closed (`clear`).
    """
    of = hashlib.sha256(f"{os.getuid()} {place.here}".encode()).hexdigest()[:12]
    return Path(gettempdir(), f"labelloop-ray-{of}", "r")


def start_words(
    place: Place, announced: Announcement, environment: Mapping[str, str], head: str = ""
) -> list[str]:
    """The command that starts this machine's node and stays until it ends.

    head: the one to join; without it, the node is a head.
    """
    whose = [f"--address={head}"] if head else ["--head", f"--port={place.port}", "--include-dashboard=false"]
    least, most = (place.port + offset for offset in WORKER_PORTS)
    cores = environment.get("THREADS") or str(len(os.sched_getaffinity(0)))
    return [
        *(str(Path(sys.executable).with_name("ray")), "start", "--block", *whose),
        f"--node-ip-address={place.address}",
        *(f"--{name}={place.port + offset}" for name, offset in _SERVICES.items()),
        *(f"--min-worker-port={least}", f"--max-worker-port={most}"),
        f"--num-cpus={cores}",
        *([] if environment.get("ACCELERATOR") == "cuda" else ["--num-gpus=0"]),
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--resources={json.dumps(announced.resources)}",
        f"--labels={','.join(f'{name}={value}' for name, value in announced.labels.items())}",
        f"--temp-dir={scratch(place)}",
        # It would send what programs print to whoever started them; a round's processes have own logs.
        "--include-log-monitor=false",
        "--disable-usage-stats",
    ]


def clear(place: Place) -> None:
    """Makes this node's folder anew, closed to all but its owner.

    Raises:
        NoPlace: somebody else's is there.
    """
    folder = scratch(place).parent
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError as error:
        raise NoPlace(f"{folder} is there and can't be deleted. Whose is it? Delete it.") from error
