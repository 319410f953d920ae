"""The worker's child processes, which keep heavy libraries, crashes and memory use out of the worker."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

STOPPED = 75
RETRY = 69
STOP_PATIENCE_S = 8.0
PARENT_LOOK_S = 0.5


def die_with_parent() -> None:
    """Ends this process with SIGTERM soon after its parent ends, even if the parent is killed.

    The kernel's own death signal (prctl's PR_SET_PDEATHSIG) does not serve: it comes when the parent's
    *thread* ends that made this process, and a web server's threads end after seconds without work.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class Child:
    """A running `python -m <arguments>`, whose output is appended to a log file."""

    def __init__(self, arguments: Sequence[str], log_path: Path) -> None:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path = log_path
        with log_path.open("ab") as output:
            self._before = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def status(self) -> int | None:
        """The exit status (negative: the signal that ended the process); None while it runs."""
        return self._process.poll()

    def stop(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Asks the process to end, and kills it if it has not ended within patience_s seconds."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                log.warning("process %d did not end within %.0f s; killing it", self.pid, patience_s)
                self._process.kill()
                self._process.wait()

    def last_words(self) -> str:
        """The last line that the process has printed; empty before its first."""
        try:
            with self.log_path.open("rb") as log_file:
                log_file.seek(self._before)
                lines = log_file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1].strip() if lines else ""


Spawn = Callable[[list[str], Path], Child]
"""A function that starts `python -m <arguments>` with a log file."""

T = TypeVar("T")


@dataclass(frozen=True)
class Ended(Generic[T]):
    """A process that is over. of: what it was for. status: as Child.status. words: its last ones."""

    of: T
    status: int
    words: str

    @property
    def why(self) -> str:
        """Why it failed. The last line of one that a signal ended is of its work, no reason."""
        if self.status > 0 and self.words:
            return self.words
        return f"its process was ended by {describe(self.status)}"


class Watched(Generic[T]):
    """At most one process, begun and watched; its log has the output of the last one alone."""

    def __init__(self, spawn: Spawn, log_path: Path) -> None:
        self.log_path = log_path
        self._spawn = spawn
        self._running: tuple[T, Child] | None = None

    @property
    def of(self) -> T | None:
        """What the process is for that runs, or whose end was not told yet; None without one."""
        return self._running[0] if self._running is not None else None

    def begin(self, arguments: list[str], of: T) -> None:
        """Starts a process, in the place of the one that runs."""
        self.stop()
        self.log_path.unlink(missing_ok=True)
        self._running = of, self._spawn(arguments, self.log_path)

    def ended(self) -> Ended[T] | None:
        """The process that is over, told once; None while one runs, or without one."""
        if self._running is None or (status := self._running[1].status()) is None:
            return None
        (of, child), self._running = self._running, None
        return Ended(of, status, child.last_words())

    def stop(self) -> None:
        """Ends the process that runs, of which nothing is told then."""
        if self._running is not None:
            self._running[1].stop()
            self._running = None


def describe(status: int) -> str:
    """What ended a process, by its exit status, for a sentence such as "it was ended by …".

    >>> describe(3)
    'an error (exit status 3)'
    >>> describe(-9)
    'the system, mostly because memory ran out (SIGKILL)'
    """
    if status >= 0:
        return f"an error (exit status {status})"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if -status == signal.SIGKILL:
        return f"the system, mostly because memory ran out ({name})"
    if -status in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return f"a stop or restart of the stack ({name})"
    return f"a crash in native code ({name})"
