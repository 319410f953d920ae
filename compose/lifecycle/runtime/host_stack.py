"""The stack without Docker: supervisord runs the same program definitions as the images, on 127.0.0.1."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Optional, Union

from lifecycle.backup import service as backup_service
from lifecycle.build.venvs import CODE, stamps
from lifecycle.console import Board, Failure, note
from lifecycle.engine import SERVICES
from lifecycle.home import Home
from lifecycle.inputs import inputs_hash
from lifecycle.runtime import orphans, own_postgres, supervisord
from lifecycle.runtime.host_environment import environment
from lifecycle.settings.settings import Settings
from lifecycle.shell import answer, ask, converse, phrases, watch

START_SECONDS = 900.0
STOP_SECONDS = 90.0
LAUNCH_SECONDS = 20.0
HEALTH_SECONDS = 60.0
LOG_BYTES = 20_000_000
_HEALTH = {
    "labelstudio": "provisioner.health",
    "trainer": "trainer.health.probe",
    "mlbackend": "mlbackend.probe",
    "worker": "cluster.probe",
}


class HostStack:
    """Start, stop, wait for and speak to the programs under this checkout's own supervisord."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._services = ("worker",) if settings.cluster_head else SERVICES

    @property
    def _log(self) -> Path:
        return self._home.run / "labelloop.log"

    def start(self) -> None:
        """Starts supervisord unless it runs with these settings; waits until every service is healthy.

        Raises:
            Failure: a service's health isn't good in START_SECONDS; its last log lines are in the message.
        """
        self._home.run.mkdir(exist_ok=True)
        fingerprint = self._fingerprint()
        marker = self._home.run / "settings"
        if self.is_running() and (not marker.is_file() or marker.read_text() != fingerprint):
            self.stop()
        if not self.is_running():
            orphans.end(self._home.run)
            self._launch()
            marker.write_text(fingerprint)
        elif given_up := self._programs_given_up():
            note(f"{', '.join(given_up)} ended again and again: another try")
            self._supervisorctl("start", *given_up)
        self._wait()

    def is_running(self) -> bool:
        return self._pid() is not None

    def is_there(self) -> bool:
        """Whether there is anything to stop."""
        return self.holds_ports()

    def holds_ports(self) -> bool:
        """Whether programs of this checkout are there, with their supervisord or without."""
        return self.is_running() or bool(orphans.find(self._home.run))

    def states(self) -> dict[str, str]:
        """Service → healthy or unhealthy; empty when nothing runs."""
        if not self.is_running():
            return {}
        return {service: "unhealthy" if self._complaint(service) else "healthy" for service in self._services}

    def stop(self) -> None:
        """Stops the programs and supervisord itself; the programs get their own stop times."""
        pid = self._pid()
        if pid is None:
            orphans.end(self._home.run)
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._pid() is not None:
            if time.monotonic() > deadline:
                raise Failure(
                    f"supervisord (process {pid}) still runs after {STOP_SECONDS:.0f} s",
                    do=f"See {self._home.run}.",
                )
            time.sleep(0.2)

    def logs(self, follow: bool) -> NoReturn:
        if not self._log.exists():
            raise Failure(f"there is no {self._log}", do="`make up` starts the stack.")
        os.execvp("tail", ["tail", "-n", "200", *(["-F"] if follow else []), str(self._log)])

    def labelloop(self, arguments: Sequence[str], project: Optional[str]) -> NoReturn:
        """Becomes `labelloop …`, so that Ctrl-C and the terminal reach it."""
        if not self.is_running():
            raise Failure("the trainer", found="not running", needed="running", do="`make up` starts it.")
        program = str(self._home.venvs / "ml" / "bin" / "labelloop")
        os.execve(
            program,
            [program, *arguments],
            {**self._environment(), **({"PROJECT": project} if project else {})},
        )

    def labelloop_reading(
        self,
        arguments: Sequence[Union[str, Path]],
        project: Optional[str],
        readable: Sequence[Path],
        variable: Optional[str],
    ) -> NoReturn:
        """As `labelloop`. On the host it reads any path, and its environment is this process's."""
        self.labelloop([str(argument) for argument in arguments], project)

    def ask(self, arguments: Sequence[str], seconds: float) -> str:
        """What `labelloop …` prints.

        Raises:
            Failure: it isn't running, ends with another status than 0, or takes longer than `seconds`.
        """
        if not self.is_running():
            raise Failure("the trainer", found="not running", needed="running", do="`make up` starts it.")
        command = [str(self._home.venvs / "ml" / "bin" / "labelloop"), *arguments]
        return ask(command, cwd=self._home.root, env=self._environment(), seconds=seconds)

    def complaint(self, service: str) -> str:
        """What the service's health check says, or why it can't be asked."""
        try:
            return self._complaint(service)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)

    def provision(self, seconds: int, look: Callable[[], None]) -> tuple[int, str]:
        """Runs the provisioner to its end, with a `look` every second. Returns: exit status, last words."""
        return watch(
            [str(self._home.venvs / "labelstudio/bin/python"), "-m", "provisioner", "--wait", str(seconds)],
            look,
            cwd=self._home.root,
            env=self._environment(),
        )

    def backup_service(self, arguments: Sequence[str], stdin: bytes = b"") -> str:
        """What `lifecycle.backup_service …` prints; the stack need not run."""
        with self.database():
            done = subprocess.run(
                [sys.executable, *backup_service.PROGRAM[1:], *arguments],
                cwd=self._home.root,
                env=self._environment(),
                input=stdin,
                stdout=subprocess.PIPE,
            )
        if not done.stdout:
            raise Failure(f"the backup service ended with {done.returncode}", do="Its reason is above.")
        return done.stdout.decode()

    @contextmanager
    def database(self) -> Iterator[dict[str, str]]:
        """Has the stack's own PostgreSQL run, if it has one; alone, where nothing of the stack does.

        Gives: the environment of programs that ask it.

        Raises:
            Failure: it does not start.
        """
        programs = self._environment()
        if not self._settings.own_postgres or self.is_running():
            yield programs
            return
        orphans.end(self._home.run)
        with own_postgres.serving(self._home, programs, self._log):
            yield programs

    def orphans(self, label_config: str, project: Optional[str] = None) -> Optional[list[str]]:
        """What a project's annotations hold that the label config (XML) lacks; None when Label Studio doesn't
        answer. By default the project is that of LABEL_CONFIG.
        """
        if not self.is_running():
            return None
        command = self._studio("would_orphan", *([project] if project else []))
        return phrases(command, label_config, cwd=self._home.root, env=self._environment())

    def left_alone(self) -> Optional[list[str]]:
        """The projects that the loop doesn't serve, and why; None when Label Studio doesn't answer."""
        if not self.is_running():
            return None
        return phrases(self._studio("left_alone"), "", cwd=self._home.root, env=self._environment())

    def move_database(self) -> dict[str, Any]:
        """Fills the PostgreSQL of these settings from SQLite's file: see `provisioner.move_database`.

        The stack must be stopped.

        Raises:
            Failure: why it can't be; it is as it was.
        """
        with self.database() as environment:
            return converse(self._studio("move_database"), "", cwd=self._home.root, env=environment)

    def rename(self, order: str) -> dict[str, Any]:
        """Renames labels in Label Studio: see `provisioner.rename`, which reads the order.

        Raises:
            Failure: it doesn't run, or why they can't be renamed.
        """
        if not self.is_running():
            raise Failure("Label Studio", found="not running", needed="running", do="`make up` starts it.")
        return converse(self._studio("rename"), order, cwd=self._home.root, env=self._environment())

    def _studio(self, program: str, *arguments: str) -> list[str]:
        """The command that runs one of the provisioner's programs."""
        python = str(self._home.venvs / "labelstudio/bin/python")
        return [python, "-m", f"provisioner.{program}", *arguments]

    def last_words(self) -> str:
        """The end of the log."""
        return (
            "\n".join(self._log.read_text(errors="replace").splitlines()[-40:])
            if self._log.exists()
            else "(no log)"
        )

    def _launch(self) -> None:
        # A unix socket's path has about 100 characters at most, which a deep checkout exceeds.
        socket = Path(
            tempfile.gettempdir(),
            f"labelloop-{os.getuid()}-{inputs_hash(self._home.root, [], str(self._home.root))}.sock",
        )
        config = self._home.run / "supervisord.conf"
        config.write_text(supervisord.config(self._home, self._settings, socket))
        _keep_small(self._log)
        # The programs log to supervisord's standard output, as they do in the containers.
        with self._log.open("ab") as log:
            subprocess.Popen(
                [str(self._home.venvs / "ml" / "bin" / "supervisord"), "--configuration", str(config)],
                cwd=self._home.root,
                env={**self._environment(), orphans.MARK: str(self._home.run)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + LAUNCH_SECONDS
        while not self.is_running():
            if time.monotonic() > deadline:
                raise Failure(
                    f"supervisord did not start. Its last words:\n\n{self.last_words()}\n",
                    do=f"See {self._log}.",
                )
            time.sleep(0.1)

    def _wait(self) -> None:
        started = time.monotonic()
        board = Board(list(self._services))
        while True:
            states = self.states()
            seconds = time.monotonic() - started
            board.show(
                {name: "starting" if state == "unhealthy" else state for name, state in states.items()},
                seconds,
            )
            if states and all(state == "healthy" for state in states.values()):
                return
            dead = self._programs_given_up()
            if dead:
                raise Failure(
                    f"supervisord gave up on {', '.join(dead)}. Its last words:\n\n{self.last_words()}\n",
                    do="`make logs` shows more; `make restart` tries again.",
                )
            if not states:
                raise Failure("supervisord ended", do=f"See {self._log}.")
            if seconds > START_SECONDS:
                service = next(name for name in self._services if states[name] != "healthy")
                raise Failure(
                    f"{service} is not healthy after {seconds:.0f} s: {self._complaint(service)}\n\n"
                    f"{self.last_words()}\n",
                    do="`make logs` shows more; `make up` tries again.",
                )
            time.sleep(1)

    def _complaint(self, service: str) -> str:
        """What the service's health check complains of; empty when it is healthy."""
        venv = "labelstudio" if service == "labelstudio" else "ml"
        done = subprocess.run(
            [str(self._home.venvs / venv / "bin" / "python"), "-m", _HEALTH[service]],
            capture_output=True,
            text=True,
            env=self._environment(),
            cwd=self._home.root,
            timeout=HEALTH_SECONDS,
        )
        if done.returncode == 0:
            return ""
        return (done.stdout.strip() or done.stderr.strip() or f"exit status {done.returncode}").splitlines()[
            -1
        ]

    def _programs_given_up(self) -> list[str]:
        """Programs that ended again and again."""
        return [row.split()[0] for row in self._supervisorctl("status").splitlines() if " FATAL " in row]

    def _supervisorctl(self, *command: str) -> str:
        """What it prints. Its exit status says nothing: the provisioner ends once it is done."""
        program, config = self._home.venvs / "ml/bin/supervisorctl", self._home.run / "supervisord.conf"
        return subprocess.run(
            [str(program), "--configuration", str(config), *command],
            capture_output=True,
            text=True,
            env=self._environment(),
        ).stdout

    def _environment(self) -> dict[str, str]:
        return environment(self._home, self._settings)

    def _pid(self) -> Optional[int]:
        """The process id of this checkout's supervisord, if it is alive."""
        try:
            pid = int((self._home.run / "supervisord.pid").read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid if self._is_ours(pid) else None

    def _is_ours(self, pid: int) -> bool:
        """A pid file survives a reboot; the number may be another program's by then."""
        command_line = Path(f"/proc/{pid}/cmdline")
        if not command_line.exists():
            return "supervisord" in (answer(["ps", "-o", "command=", "-p", str(pid)]) or "")
        return str(self._home.run / "supervisord.conf").encode() in command_line.read_bytes()

    def _fingerprint(self) -> str:
        """Changes when a restart is needed."""
        code = ("configs/supervisor", "configs/gunicorn", "compose/lifecycle", *CODE)
        settings = (f"{name}={value}" for name, value in sorted(self._settings.items()))
        return inputs_hash(self._home.root, code, stamps(self._home), *settings)


def _keep_small(log: Path) -> None:
    """Sets a log aside that has grown beyond LOG_BYTES; the one before it goes."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
