"""The worker's child processes, which keep heavy libraries, crashes and memory use out of the worker."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

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
        """The last line of the process's log."""
        try:
            lines = self.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1].strip() if lines else ""


Spawn = Callable[[list[str], Path], Child]
"""A function that starts `python -m <arguments>` with a log file."""


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
