"""A cluster's head and machines that join it, each in a network namespace: the host runtime's programs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.network_namespaces import Machine, kill_all_in
from support.stack import Stack, wait_for

from labelloop import layout, ray_environment
from lifecycle.home import Home
from lifecycle.settings import settings

SHARED = ("images", "models", "rounds", "cache")
JOIN_S = 240
SEEN_S = 120
START_S = 400
PORT = 6379

_TASKS = """
import json, sys, time, ray
here = sys.argv[1].partition(":")[0]
ray.init(address=sys.argv[1], _node_ip_address=here, log_to_driver=False, logging_level="ERROR")

@ray.remote(num_cpus=1, max_retries=20)
def where(seconds):
    time.sleep(seconds)
    return ray.util.get_node_ip_address()

print(json.dumps(ray.get([where.remote(float(sys.argv[3])) for _ in range(int(sys.argv[2]))], timeout=400)))
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of a program of the host runtime, without the settings of whoever runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    folders = ("images/base", "images/trainer", "images/cluster", "compose")
    return {
        **kept,
        "LABELLOOP_HOME": str(home),
        "SECRETS_DIR": str(home / "volumes/run/secrets"),
        "PYTHONPATH": os.pathsep.join(str(home / folder) for folder in folders),
        "THREADS": "1",
        "RUNTIME": "host",
        "ACCELERATOR": "cpu",
        **more,
    }


@dataclass
class Head:
    """The program that `make up CLUSTER=ray` runs beside the trainer, alone."""

    machine: Machine
    home: Path
    running: "subprocess.Popen[bytes] | None" = None

    @property
    def place(self) -> str:
        return f"{self.machine.address}:{PORT}"

    @property
    def environment(self) -> dict[str, str]:
        code = settings.code_version(Home(self.home))
        return environment(self.home, CLUSTER_BIND=self.machine.address, CLUSTER_CODE=code)

    def start(self) -> None:
        command = [sys.executable, "-m", "cluster.head"]
        log = self.home / "head.log"

        def answers() -> bool:
            """Ray gives its programs 30 s to start; on a busy machine supervisord would try again."""
            if self.running is None or self.running.poll() is not None:
                self.running = self.machine.start(command, env=self.environment, cwd=self.home, log=log)
            return bool(self.nodes())

        try:
            wait_for("the head to answer", answers, START_S)
        except AssertionError:
            print(log.read_text()[-4000:])
            raise

    def kill(self) -> None:
        """kill -9 of it and all that it started."""
        kill_all_in(self.machine.name)
        assert self.running is not None
        self.running.wait(30)

    def nodes(self) -> list[dict[str, Any]]:
        """Empty while it does not answer."""
        command = [sys.executable, "-m", "cluster.nodes"]
        done = self.machine.run(["sh", "-c", 'exec "$@" 2>/dev/null', "sh", *command], env=self.environment)
        lines = done.stdout.strip().splitlines()
        return list(json.loads(lines[-1]).get("nodes", [])) if lines else []

    def states(self) -> dict[str, str]:
        """Address → state."""
        return {node["address"]: node["state"] for node in self.nodes()}

    def compute(self, count: int, seconds: float = 0.2) -> "subprocess.Popen[str]":
        """Begins so many tasks of a core and so many seconds; see `ran`."""
        command = [sys.executable, "-c", _TASKS, self.place, str(count), str(seconds)]
        return subprocess.Popen(
            self.machine.command(command),
            env={**self.environment, **ray_variables(self.home)},
            stdout=subprocess.PIPE,
            text=True,
        )


def ran(computing: "subprocess.Popen[str]", seconds: float = 500) -> list[str]:
    """Where each task ran, once all have. Ray says of each retry before."""
    said, _ = computing.communicate(timeout=seconds)
    return list(json.loads(said.strip().splitlines()[-1]))


def ray_variables(home: Path) -> dict[str, str]:
    run = home / "volumes/run"
    return ray_environment.variables(run / "cluster", run / "secrets/CLUSTER_TOKEN")


@dataclass
class Worker:
    """A clone on a machine, which joins by `make join`."""

    machine: Machine
    home: Path
    heads: Path
    """The head's checkout."""

    def make(
        self, target: str, *settings: str, seconds: float = JOIN_S
    ) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        return self.machine.run(
            ["make", "--no-print-directory", target, *settings],
            cwd=self.home,
            env={**kept, "RUNTIME": "host", "ACCELERATOR": "cpu", "COMPOSE_PROJECT_NAME": self.machine.name},
            seconds=seconds,
        )

    def join(self, file: Path | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
        file = file or self.heads / "volumes/run/cluster/join.json"
        words = [f"{name}={value}" for name, value in {"THREADS": "1", **more}.items()]
        return self.make("join", f"TOKEN_FILE={file}", *words)

    def joined(self) -> "Worker":
        done = self.join()
        assert done.returncode == 0, done.stdout
        return self


def clone(home: Path) -> Path:
    Stack.copy_of_work_tree(home, home.name)
    return home


def sharing(home: Path, heads: Path) -> Path:
    """A clone of what the head's checkout has, which shares with it what machines of a cluster do."""
    _code(home, heads)
    (home / "configs").symlink_to(heads / "configs")
    for name in SHARED:
        shared, own = heads / "volumes" / name, home / "volumes" / name
        shared.mkdir(exist_ok=True)
        own.symlink_to(shared)
    return home


@contextmanager
def mounted(home: Path, heads: Path) -> Iterator[Path]:
    """A clone as `sharing` makes it, but with the shared folders mounted, as docs/how-to/several-machines.md
    has them.
    """
    _code(home, heads)
    with ExitStack() as left:
        for name in ("configs", *(f"volumes/{name}" for name in (*SHARED, layout.UPLOADS))):
            (home / name).mkdir(parents=True)
            subprocess.run(["mount", "--bind", heads / name, home / name], check=True)
            left.callback(subprocess.run, ["umount", home / name], check=True)
        yield home


def _code(home: Path, heads: Path) -> None:
    """What the head's checkout has, less what is shared and what is its own."""
    left_out = shutil.ignore_patterns("volumes", ".env", ".venv", "configs", "*.log")
    shutil.copytree(heads, home, ignore=left_out)
    (home / ".venv").symlink_to((heads / ".venv").resolve())
    (home / "volumes").mkdir()
