"""The stack under Docker Compose."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NoReturn, Optional

from lifecycle import engine
from lifecycle.console import Board, Failure
from lifecycle.home import Home
from lifecycle.shell import answer, run

START_SECONDS = 900.0
_LOG_LINES = "25"


class DockerStack:
    """Start, stop, wait for and speak to the three containers."""

    def __init__(self, home: Home, project: str) -> None:
        self._home = home
        self._project = project

    def start(self) -> None:
        """Starts what isn't running and waits until every service is healthy; a live line for each.

        Raises:
            Failure: a service is unhealthy, restarts again and again, or isn't healthy in START_SECONDS.
        """
        started = time.monotonic()
        board = Board(list(engine.SERVICES))
        up = subprocess.Popen(
            engine.compose("up", "--detach", "--no-build", "--remove-orphans"),
            cwd=self._home.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            while True:
                states = self.states()
                seconds = time.monotonic() - started
                board.show({name: states.get(name, "waiting") for name in engine.SERVICES}, seconds)
                self._give_up_if_hopeless(states, seconds)
                if up.poll() is not None and up.returncode != 0:
                    output = up.stdout.read() if up.stdout else ""
                    self._give_up_if_hopeless(states, START_SECONDS)
                    raise Failure(
                        f"docker compose up failed: {output[-2000:].strip()}", do="`make logs` shows more."
                    )
                if up.returncode == 0 and all(states.get(name) == "healthy" for name in engine.SERVICES):
                    return
                time.sleep(1)
        finally:
            if up.poll() is None:
                up.terminate()

    def states(self) -> dict[str, str]:
        """Service → healthy, starting, unhealthy, restarting, exited, … as Docker sees it."""
        states = {}
        for container in engine.containers(self._project):
            state = container["State"]
            health = state.get("Health", {}).get("Status")
            states[engine.service_of(container)] = str(
                health if state["Status"] == "running" and health else state["Status"]
            )
        return states

    def stop(self) -> None:
        run(engine.compose("down", "--remove-orphans"), what="stopping the stack", cwd=self._home.root)

    def logs(self, follow: bool) -> NoReturn:
        self._become(engine.compose("logs", "--tail", "200", *(["--follow"] if follow else [])))

    def labelloop(self, arguments: Sequence[str], project: Optional[str]) -> NoReturn:
        """Becomes `labelloop …` in the trainer's container, so that Ctrl-C and the terminal reach it."""
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        options = [*([] if terminal else ["-T"]), *(["--env", f"PROJECT={project}"] if project else [])]
        if self.states().get("trainer") not in ("healthy", "starting", "unhealthy"):
            raise Failure(
                "the trainer",
                found=self.states().get("trainer", "not there"),
                needed="running",
                do="`make up` starts it.",
            )
        self._become(engine.compose("exec", *options, "trainer", "labelloop", *arguments))

    def provision(self, seconds: int) -> None:
        """Runs the provisioner to its end; provisioned.json says what became of it."""
        subprocess.run(
            engine.compose(
                "exec", "-T", "labelstudio", "python", "-m", "provisioner", "--wait", str(seconds)
            ),
            cwd=self._home.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def last_words(self, service: str) -> str:
        """The end of the service's log."""
        told = answer(
            engine.compose("logs", "--no-color", "--no-log-prefix", "--tail", _LOG_LINES, service),
            cwd=self._home.root,
        )
        return told or "(no log)"

    def _give_up_if_hopeless(self, states: dict[str, str], seconds: float) -> None:
        hopeless = [
            name
            for name, state in states.items()
            if state in ("unhealthy", "restarting", "exited", "dead") and name in engine.SERVICES
        ]
        late = (
            [name for name in engine.SERVICES if states.get(name) != "healthy"]
            if seconds >= START_SECONDS
            else []
        )
        for name in hopeless or late:
            raise Failure(
                f"{name} is {states.get(name, 'not started')} after {seconds:.0f} s. Its last words:\n\n"
                f"{self.last_words(name)}\n",
                do="`make logs` shows more; `make up` tries again.",
            )

    def _become(self, command: Sequence[str]) -> NoReturn:
        os.chdir(self._home.root)
        os.execvp(command[0], list(command))
