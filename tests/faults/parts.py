"""Processes that are started again when they end, as Docker and supervisord do, and what may befall them."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOOK_S = 0.2
STARTED_AGAIN_S = 0.5
ENDS_WITHIN_S = 20.0


class Part:
    """One of them. launch: starts its first process. ends_by: what asks that to end. starts: how often it was
    started.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[], subprocess.Popen[bytes]],
        ends_by: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.starts = 0
        self._ends_by = ends_by
        self._launch = launch
        self._may_run, self._done = threading.Event(), threading.Event()
        self._may_run.set()
        self._process = self._started()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """The first process and all that it has started."""
        return [self.pid, *descendants(self.pid)]

    def kill(self) -> None:
        """Ends all at once, as when a machine loses its power."""
        send(self.pids, signal.SIGKILL)

    def end(self) -> None:
        send([self.pid], self._ends_by)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stands still: who asks it waits."""
        pids = self.pids
        send(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            send(pids, signal.SIGCONT)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Killed, and not started again before the end."""
        self._may_run.clear()
        self.kill()
        try:
            yield
        finally:
            self._may_run.set()

    def stop(self) -> None:
        self._done.set()
        self._keeper.join(2 * ENDS_WITHIN_S)
        self.end()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS_WITHIN_S)
        self.kill()
        self._process.wait(ENDS_WITHIN_S)

    def _started(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        return self._launch()

    def _keep(self) -> None:
        while not self._done.wait(LOOK_S):
            if self._process.poll() is not None and self._may_run.is_set():
                if self._done.wait(STARTED_AGAIN_S):
                    return
                self._process = self._started()


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def children(pid: int) -> list[int]:
    """The processes that a process has started, and which run."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return [*found, *(each for child in found for each in descendants(child))]


def stages_of(worker: int) -> list[int]:
    """The worker's processes that run a round."""
    found = []
    for pid in children(worker):
        with suppress(OSError):
            if b"stages" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found
