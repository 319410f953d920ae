"""The stack under Docker Compose."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Optional, Union

from labelloop import layout
from lifecycle import engine
from lifecycle.backup import service as backup_service
from lifecycle.console import Board, Failure, note
from lifecycle.home import Home
from lifecycle.runtime import container_state
from lifecycle.runtime.zone import host_zone
from lifecycle.shell import answer, ask, converse, phrases, run, watch

START_SECONDS = 900.0
PATIENCE_SECONDS = 120.0
"""How long a service may be unhealthy once those that it waits for are healthy."""
_LOG_LINES = "25"
_MORE = "`make logs` shows more; `make up` tries again."


class DockerStack:
    """Start, stop, wait for and speak to the three services' containers.

    front: whether a proxy is before several of Label Studio's. worker: whether this is but a machine that has
    joined a cluster.
    """

    def __init__(
        self,
        home: Home,
        project: str,
        *,
        own_postgres: bool = False,
        front: bool = False,
        worker: bool = False,
    ) -> None:
        self._home = home
        self._project = project
        self._own_postgres = own_postgres
        self._alone = ("--no-deps", "worker") if worker else ()
        self._services = (
            ("worker",)
            if worker
            else (
                *(("postgres",) if own_postgres else ()),
                *engine.SERVICES,
                *(("front",) if front else ()),
            )
        )

    def start(self) -> None:
        """Starts what isn't running and waits until every service is healthy; a live line for each.

        Raises:
            Failure: a service is unhealthy, restarts again and again, or isn't healthy in START_SECONDS.
        """
        self._restart_unhealthy()
        started = time.monotonic()
        board = Board(list(self._services))
        turns: dict[str, float] = {}
        up = subprocess.Popen(
            engine.compose("up", "--detach", "--no-build", "--remove-orphans", *self._alone),
            cwd=self._home.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            while True:
                ended = up.poll()
                states = self.states()
                seconds = time.monotonic() - started
                board.show({name: states.get(name, "waiting") for name in self._services}, seconds)
                self._note_turns(states, seconds, turns)
                if ended == 0 and all(states.get(name) == "healthy" for name in self._services):
                    return
                # Compose itself waits for the database until its health check gives it up.
                if ended is not None or seconds > START_SECONDS or "failing" in states.values():
                    self._give_up_if_hopeless(states, seconds, turns)
                if ended:
                    output = up.stdout.read() if up.stdout else ""
                    raise Failure(f"docker compose up failed: {output[-2000:].strip()}", do=_way_out(output))
                time.sleep(1)
        finally:
            if up.poll() is None:
                up.terminate()

    def containers(self) -> list[dict[str, Any]]:
        """`docker inspect` of the stack's containers on this host."""
        return engine.containers(self._project)

    def states(self) -> dict[str, str]:
        """Service → healthy, starting, unhealthy, failing (it ends again and again), exited, …

        Of a service with several containers, how the one is that is worst off.
        """
        found: dict[str, str] = {}
        for container in engine.containers(self._project):
            service, state = engine.service_of(container), container_state.of(container)
            found[service] = min(found.get(service, state), state, key=container_state.badness)
        return found

    def is_there(self) -> bool:
        """Whether there is any container to stop. An engine that does not answer may have some."""
        return bool(self.states()) or engine.engine_version() is None

    def runs_here(self) -> bool:
        """Whether a container of this checkout runs."""
        return any(
            container["State"]["Running"] and engine.folder_of(container) == str(self._home.root)
            for container in engine.containers(self._project)
        )

    def stop(self) -> None:
        run(engine.compose("down", "--remove-orphans"), what="stopping the stack", cwd=self._home.root)

    def logs(self, follow: bool) -> NoReturn:
        if not self.is_there():
            raise Failure("there are no logs", do="`make up` starts the stack.")
        self._become(engine.compose("logs", "--tail", "200", *(["--follow"] if follow else [])))

    def labelloop(self, arguments: Sequence[str], project: Optional[str]) -> NoReturn:
        """Becomes `labelloop …` in the trainer's container, so that Ctrl-C and the terminal reach it."""
        self._require_trainer()
        self._become(self._within("trainer", "labelloop", *arguments, told=_environment(project)))

    def labelloop_reading(
        self,
        arguments: Sequence[Union[str, Path]],
        project: Optional[str],
        readable: Sequence[Path],
        variable: Optional[str],
    ) -> NoReturn:
        """Becomes `labelloop …` in a container of its own beside the trainer's, which may read some paths of
        the host and write into volumes/images, what the trainer may not.

        arguments: a path in them is one of `readable`; the command gets the place where it is in the
        container. variable: the name of an environment variable to hand on.

        Raises:
            Failure: the trainer isn't running, or Compose can't take a path.
        """
        self._require_trainer()
        images = (self._home.volumes / layout.IMAGES).resolve()
        places, mounts = {}, []
        for number, path in enumerate(readable):
            if path.is_relative_to(images):  # the trainer sees it as it is
                places[path] = Path("/labelloop/volumes", layout.IMAGES) / path.relative_to(images)
                continue
            place = places[path] = Path("/given", str(number), path.name)
            source, target = (path, place) if path.is_dir() else (path.parent, place.parent)
            if ":" in str(source):
                raise Failure(str(source), found="a colon", needed="a path without, which Docker can mount")
            mounts += ["--volume", f"{source}:{target}:ro"]
        into = Path("/given/images")
        mounts += ["--volume", f"{self._home.volumes / layout.IMAGES}:{into}"]
        options = [
            *([] if on_a_terminal() else ["-T"]),
            *_environment(project),
            *(["--env", variable] if variable else []),
        ]
        given = [str(places[argument]) if isinstance(argument, Path) else argument for argument in arguments]
        program = ["trainer", "labelloop", *given, "--into", str(into)]
        self._become(engine.compose("run", "--rm", "--no-deps", *options, *mounts, *program))

    def ask(self, arguments: Sequence[str], seconds: float) -> str:
        """What `labelloop …` prints in the trainer's container.

        Raises:
            Failure: it isn't running, ends with another status than 0, or takes longer than `seconds`.
        """
        command = self._within("trainer", "labelloop", *arguments, told=_environment(None), quiet=True)
        return ask(command, cwd=self._home.root, seconds=seconds)

    def complaint(self, service: str) -> str:
        """What the service's health check last said, of one that is not healthy first; else the last line of
        its log.
        """
        found = engine.containers(self._project)
        for container in sorted(found, key=lambda one: container_state.health(one) == "healthy"):
            checks = (container["State"].get("Health") or {}).get("Log") or []
            if engine.service_of(container) == service and container["State"]["Running"] and checks:
                return str(checks[-1].get("Output", "")).strip()[-500:]
        return self.last_words(service).splitlines()[-1]

    def provision(self, seconds: int, look: Callable[[], None]) -> tuple[int, str]:
        """Runs the provisioner to its end, with a `look` every second. Returns: exit status, last words."""
        return watch(
            self._within("labelstudio", "python", "-m", "provisioner", "--wait", str(seconds), quiet=True),
            look,
            cwd=self._home.root,
        )

    def backup_service(self, arguments: Sequence[str], stdin: bytes = b"") -> str:
        """What `lifecycle.backup_service …` prints, in a container of its own; the stack need not run."""
        program = ("backup", *backup_service.PROGRAM, *arguments)
        with self.database():
            done = subprocess.run(
                engine.compose("run", "--rm", "--no-deps", "-T", *program),
                cwd=self._home.root,
                input=stdin,
                stdout=subprocess.PIPE,
            )
        if not done.stdout:
            raise Failure(
                f"the backup service ended with {done.returncode}",
                do="Its reason is above; `make build` makes a missing image.",
            )
        return done.stdout.decode()

    @contextmanager
    def database(self) -> Iterator[None]:
        """Has the stack's own PostgreSQL run, if it has one; alone, where nothing of the stack does.

        Raises:
            Failure: it does not start.
        """
        states = self.states() if self._own_postgres else {}
        if not self._own_postgres or states.get("postgres") == "healthy":
            yield
            return
        run(
            engine.compose("up", "--detach", "--no-build", "--wait", "postgres"),
            cwd=self._home.root,
            what="starting the database",
            do="`docker compose logs postgres` says more.",
            quiet=True,
        )
        try:
            yield
        finally:
            if not states:
                run(engine.compose("down"), cwd=self._home.root, what="stopping the database", quiet=True)

    def orphans(self, label_config: str, project: Optional[str] = None) -> Optional[list[str]]:
        """What a project's annotations hold that the label config (XML) lacks; None when Label Studio doesn't
        answer. By default the project is that of LABEL_CONFIG.
        """
        if self.states().get("labelstudio") != "healthy":
            return None
        given = [project] if project else []
        return phrases(self._studio("would_orphan", *given), label_config, cwd=self._home.root)

    def left_alone(self) -> Optional[list[str]]:
        """The projects that the loop doesn't serve, and why; None when Label Studio doesn't answer."""
        if self.states().get("labelstudio") != "healthy":
            return None
        return phrases(self._studio("left_alone"), "", cwd=self._home.root)

    def move_database(self) -> dict[str, Any]:
        """Fills the PostgreSQL of these settings from SQLite's file: see `provisioner.move_database`.

        The stack must be stopped.

        Raises:
            Failure: why it can't be; it is as it was.
        """
        program = ("labelstudio", "python", "-m", "provisioner.move_database")
        with self.database():
            return converse(
                engine.compose("run", "--rm", "--no-deps", "-T", *program), "", cwd=self._home.root
            )

    def rename(self, order: str) -> dict[str, Any]:
        """Renames labels in Label Studio: see `provisioner.rename`, which reads the order.

        Raises:
            Failure: it doesn't run, or why they can't be renamed.
        """
        state = self.states().get("labelstudio", "not there")
        if state != "healthy":
            raise Failure("Label Studio", found=state, needed="healthy", do="`make up` starts it.")
        return converse(self._studio("rename"), order, cwd=self._home.root)

    def _studio(self, program: str, *arguments: str) -> list[str]:
        """The command that runs one of the provisioner's programs in Label Studio's container."""
        return self._within("labelstudio", "python", "-m", f"provisioner.{program}", *arguments, quiet=True)

    def _within(
        self, service: str, *program: str, told: Sequence[str] = (), quiet: bool = False
    ) -> list[str]:
        """The command that runs a program in a service's container, on this terminal if we have one.

        told: options that give it environment variables. quiet: not on the terminal.
        """
        options = [*([] if not quiet and on_a_terminal() else ["-T"]), *told]
        return engine.compose("exec", *options, service, *program)

    def last_words(self, service: str) -> str:
        """The end of the service's log."""
        told = answer(
            engine.compose("logs", "--no-color", "--no-log-prefix", "--tail", _LOG_LINES, service),
            cwd=self._home.root,
        )
        return told or "(no log)"

    def _require_trainer(self) -> None:
        state = self.states().get("trainer", "not there")
        if state not in ("healthy", "starting", "unhealthy"):
            raise Failure("the trainer", found=state, needed="running", do="`make up` starts it.")

    def _restart_unhealthy(self) -> None:
        """Compose starts what is stopped but leaves what runs badly as it is."""
        for service, state in self.states().items():
            if state in ("unhealthy", "failing"):
                note(f"{service} is {state}: restarting it")
                run(
                    engine.compose("restart", service),
                    cwd=self._home.root,
                    what=f"restarting {service}",
                    quiet=True,
                )

    def _note_turns(self, states: dict[str, str], seconds: float, turns: dict[str, float]) -> None:
        """Adds to `turns` the services whose turn has come, and when: all those before them are healthy."""
        for name in self._services:
            turns.setdefault(name, seconds)
            if states.get(name) != "healthy":
                return

    def _give_up_if_hopeless(self, states: dict[str, str], seconds: float, turns: dict[str, float]) -> None:
        """Raises Failure: a service can't become healthy any more. The first of them is named, since those
        behind it wait for it.
        """
        for name in self._services:
            state = states.get(name, "not started")
            late = seconds > START_SECONDS and state != "healthy"
            waits = name not in turns or seconds - turns[name] < PATIENCE_SECONDS
            if late or state in ("failing", "exited", "dead") or (state == "unhealthy" and not waits):
                raise Failure(
                    f"{name} is {state} after {seconds:.0f} s. Its last words:\n\n{self.last_words(name)}\n",
                    do=_MORE,
                )

    def _become(self, command: Sequence[str]) -> NoReturn:
        os.chdir(self._home.root)
        os.execvp(command[0], list(command))


def on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _way_out(output: str) -> str:
    """What to do about words of `docker compose up`."""
    if "could not select device driver" in output:
        return (
            "Install NVIDIA's Container Toolkit, by which Docker reaches the GPU (docs/how-to/gpu.md); "
            "`make up ACCELERATOR=cpu` goes without it meanwhile."
        )
    return _MORE


def _environment(project: Optional[str]) -> list[str]:
    """What a command in a container is told of the host, as options of Compose."""
    zone = host_zone()
    told = [*([f"PROJECT={project}"] if project else []), *([f"TZ={zone}"] if zone else [])]
    return [word for value in told for word in ("--env", value)]
