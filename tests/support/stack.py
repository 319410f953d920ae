"""A whole stack of its own for tests and benchmarks: a copy of the work tree, its own name, port and volumes,
run by `make`."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from support.ports import free_port

from labelloop.studio import Studio

REPO = Path(__file__).parents[2]
MAKE_S = 900

_QUERY = """
import json, sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=30) as database:
    print(json.dumps(database.execute(sys.argv[2]).fetchall()))
"""

T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], T], seconds: float, every: float = 1.0) -> T:
    """The probe's first true answer; fails, naming what was waited for and the last answer, after
    `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}; last answer: {answer!r}")
        time.sleep(every)
    return answer


def engine_answers() -> bool:
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "info"], check=False, capture_output=True).returncode == 0
    )


def default_runtime() -> str:
    """RUNTIME if it names one, else `docker` when an engine answers, else `host`."""
    chosen = os.environ.get("RUNTIME", "auto")
    if chosen in ("docker", "host"):
        return chosen
    return "docker" if engine_answers() else "host"


@dataclass
class Stack:
    """The appliance in `home`, driven as a person drives it."""

    home: Path
    name: str
    port: int = field(default_factory=partial(free_port, 2))
    """Of Label Studio; the dashboard's is the next."""
    runtime: str = field(default_factory=default_runtime)
    inside: tuple[str, ...] = ()
    """What `make` is a program of: the command that runs it on another network."""
    host: str = "127.0.0.1"
    """Where the stack's ports are."""

    @classmethod
    def copy_of_work_tree(cls, home: Path, name: str) -> "Stack":
        """What git tracks, and what it would: as a fresh clone with the work tree's changes."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPO,
            check=True,
            capture_output=True,
            text=True,
        )
        for relative in filter(None, listed.stdout.split("\0")):
            if (REPO / relative).is_file():
                (home / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPO / relative, home / relative)
        if (REPO / ".venv").is_dir():
            (home / ".venv").symlink_to(REPO / ".venv")
        return cls(home, name)

    def start(self, target: str, **settings: object) -> "subprocess.Popen[str]":
        """Begins `make target NAME=value …`; both its streams are its stdout."""
        given = ((name, str(value)) for name, value in settings.items())
        return subprocess.Popen(
            [*self.inside, "make", "--no-print-directory", target, *map("=".join, given)],
            cwd=self.home,
            env={**os.environ, "COMPOSE_PROJECT_NAME": self.name, "RUNTIME": self.runtime},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, target: str, *, check: bool = True, timeout: float = MAKE_S, **settings: object) -> str:
        """`make target NAME=value …` to its end; its output, both streams.

        Raises:
            AssertionError: it failed (unless check is False) or took longer than `timeout` seconds.
        """
        with self.start(target, **settings) as making:
            try:
                output, _ = making.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                making.terminate()
                output, _ = making.communicate()
                raise AssertionError(f"make {target} did not end within {timeout:.0f} s:\n{output}") from None
        if check and making.returncode:
            raise AssertionError(f"make {target} ended with {making.returncode}:\n{output}")
        return output

    def kill(self, service: str) -> bool:
        """kill -9 of a service, its container or its program; whether there was anything to kill."""
        if self.runtime == "docker":
            command = self._compose("kill", "--signal", "KILL", service)
        else:
            command = self._supervisorctl("signal", "KILL", service)
        done = subprocess.run(command, cwd=self.home, check=False, capture_output=True, text=True, timeout=60)
        return done.returncode == 0 and "ERROR" not in done.stdout

    def crash(self, service: str) -> bool:
        """A running service's first process dies, as of a fault of its own; whether it ran.

        What restarts a crashed service does so. (`docker kill` is an operator's act: the engine leaves the
        container down until the next `make up`.) On Docker this needs root on the engine's own machine.
        """
        if self.runtime != "docker":
            return self.kill(service)
        pid = self._first_pid(service)
        if not pid:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_for("the engine to notice", lambda: self._first_pid(service) != pid, 60, every=0.1)
        return True

    def runs(self, service: str) -> bool:
        """Whether its program runs; it need not answer yet."""
        return self._first_pid(service) > 0

    @contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """A running service, with all its processes, stands still meanwhile (SIGSTOP, SIGCONT)."""
        if self.runtime == "docker":
            subprocess.run(self._compose("pause", service), cwd=self.home, check=True, capture_output=True)
            try:
                yield
            finally:
                thawing = self._compose("unpause", service)
                subprocess.run(thawing, cwd=self.home, check=True, capture_output=True)
            return
        pid = self._first_pid(service)
        if pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if pid:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGCONT)

    def pids(self, service: str) -> list[int]:
        """Of a service's program and its children; host runtime alone."""
        pid = self._first_pid(service)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def _first_pid(self, service: str) -> int:
        """On this machine; 0 when the service doesn't run."""
        if self.runtime == "docker":
            said = self._output(self._compose("ps", "--quiet", service))
            said = said and self._output(["docker", "inspect", "--format", "{{.State.Pid}}", said])
        else:
            said = self._output(self._supervisorctl("pid", service))
        return int(said) if said.isdigit() else 0

    def _compose(self, *arguments: str) -> list[str]:
        return ["docker", "compose", "--project-name", self.name, *arguments]

    def _supervisorctl(self, *arguments: str) -> list[str]:
        """The last argument names a service; the trainer's program is its worker."""
        *action, service = arguments
        config = str(self.home / "volumes" / "run" / "supervisord.conf")
        program = "worker" if service == "trainer" else service
        return [".venv/ml/bin/supervisorctl", "--configuration", config, *action, program]

    def _output(self, command: list[str]) -> str:
        done = subprocess.run(command, cwd=self.home, check=False, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def query(self, service: str, database: str, sql: str) -> list[list[Any]]:
        """The rows that a service sees in a SQLite file below volumes/.

        Asked by its own user: root would own the write-ahead log a while, so the service could not write.
        """
        home = "/labelloop" if self.runtime == "docker" else str(self.home)
        asked = ["python", "-c", _QUERY, f"{home}/volumes/{database}", sql]
        if self.runtime == "docker":
            asked = self._compose("exec", "-T", service, *asked)
        else:
            asked[0] = ".venv/ml/bin/python"
        done = subprocess.run(asked, cwd=self.home, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{service} could not answer {sql!r}: {done.stderr}"
        return json.loads(done.stdout)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def archives(self) -> set[Path]:
        """What `make backup` has made."""
        return set((self.home / "volumes/backups").glob("labelloop-2*"))

    @property
    def images(self) -> Path:
        return self.home / "volumes" / "images"

    def env(self) -> dict[str, str]:
        lines = (line.partition("=") for line in (self.home / ".env").read_text().splitlines())
        return {
            key.strip(): value.strip().strip("'\"")
            for key, _, value in lines
            if value and not key.startswith("#")
        }

    def studio(self) -> Studio:
        return Studio(self.url, self.env()["API_TOKEN"])

    def predictions(self, project: int = 1) -> dict[int, list[dict[str, Any]]]:
        """Every task's predictions, oldest first."""
        tasks = self.studio().iter_tasks(project, fields="all", page_size=100)
        return {task["id"]: sorted(task["predictions"], key=lambda row: row["id"]) for task in tasks}
