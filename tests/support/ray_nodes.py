"""Real nodes of a Ray cluster on this machine, each with an address of its own in one network namespace."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from support.network_namespaces import ip, kill_all_in, pids_in

from labelloop.cluster_node import VERSION_LABEL
from trainer.cluster.announce import announcement

NETWORK = "10.78.0"
PORT = 6379
START_S = 600
OBJECTS_BYTES = 100_000_000
MARK = "TESTS_NODE"


class Nodes:
    """Node 1 is the head. All share this machine's files, and LABELLOOP_HOME is `home` on each."""

    def __init__(self, namespace: str, home: Path, folder: Path) -> None:
        self.namespace, self.home, self._folder = namespace, home, folder

    @property
    def head(self) -> str:
        return f"{NETWORK}.1:{PORT}"

    def variables(self, number: int, home: Path | None = None) -> dict[str, str]:
        """What programs on a node's machine are told."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            "LABELLOOP_HOME": str(home or self.home),
            "RAY_TMPDIR": str(self._folder / str(number)),
            "RAY_USAGE_STATS_ENABLED": "0",
            # A machine that is busy beside is slow to start them.
            "RAY_raylet_start_wait_time_s": str(START_S),
            "RAY_agent_register_timeout_ms": str(START_S * 1000),
            "RAY_worker_register_timeout_seconds": str(START_S),
            "RAY_health_check_failure_threshold": "5",
        }

    def start(self, number: int, *, version: str | None = None, home: Path | None = None) -> None:
        """Starts a node with one core. version: of its code, as it says; by default ours."""
        (self._folder / str(number)).mkdir(parents=True, exist_ok=True)
        found = announcement()
        if version is not None:
            found = {"resources": {f"labelloop-code-{version}": 1000}, "labels": {VERSION_LABEL: version}}
        labels = found["labels"]
        assert isinstance(labels, dict)
        place = ["--head", f"--port={PORT}"] if number == 1 else [f"--address={self.head}"]
        command = [
            *(str(Path(sys.executable).with_name("ray")), "start", *place),
            *(f"--node-ip-address={NETWORK}.{number}", "--num-cpus=1", "--num-gpus=0"),
            f"--resources={json.dumps(found['resources'])}",
            f"--labels={','.join(f'{name}={value}' for name, value in labels.items())}",
            *(f"--object-store-memory={OBJECTS_BYTES}", "--disable-usage-stats"),
            *(["--include-dashboard=false"] if number == 1 else []),
        ]
        done = self.run(command, self.variables(number, home) | {MARK: self._mark(number)}, START_S)
        assert done.returncode == 0, done.stdout

    def run(
        self, command: list[str], variables: Mapping[str, str], seconds: float
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command],
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )

    def popen(
        self, command: list[str], variables: Mapping[str, str], output: IO[str]
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, *command],
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kill(self, number: int) -> None:
        """Kills all of a node's own programs at once, and what runs in them."""
        mark = f"{MARK}={self._mark(number)}".encode()
        for pid in pids_in(self.namespace):
            try:
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)
            except OSError:  # it has ended
                continue

    def _mark(self, number: int) -> str:
        return f"{self.namespace}-{number}"


@contextmanager
def nodes(home: Path, folder: Path) -> Iterator[Nodes]:
    """They go with the namespace, and so does whatever else runs in it."""
    namespace = f"llray{os.getpid() % 100000}"
    ip("netns", "add", namespace)
    try:
        ip("-n", namespace, "link", "set", "lo", "up")
        for number in range(1, 5):
            ip("-n", namespace, "address", "add", f"{NETWORK}.{number}/32", "dev", "lo")
        yield Nodes(namespace, home, folder)
    finally:
        kill_all_in(namespace)
        ip("netns", "delete", namespace)
