"""Has a version look at a project's labelled images in a child process, one at a time."""

import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from trainer.dashboard import predictions
from trainer.loop import Loop
from trainer.system.children import Child, Spawn, describe

_COUNT = re.compile(r"(\d+) of (\d+) images?")


@dataclass(frozen=True)
class Look:
    """A look that is under way, or that has failed. words: how far it is; why it failed, and the way out.
    done, total: images that are looked at, 0 while that is unknown.
    """

    under_way: bool
    words: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class _Running:
    of: tuple[int, str]
    child: Child
    before: Path | None


@dataclass(frozen=True)
class _Failed:
    """before: the newest results when the look began."""

    words: str
    before: Path | None


class Looking:
    """Begins looks, and knows how they go. Several threads use it. spawn: starts the process."""

    def __init__(self, loop: Loop, spawn: Spawn = Child) -> None:
        self._loop = loop
        self._spawn = spawn
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._failed: dict[tuple[int, str], _Failed] = {}

    def begin(self, project_id: int, version: str) -> str:
        """Begins a look, if possible; returns a sentence that says what it did."""
        of = project_id, version
        with self._lock:
            self._settle()
            if self._running is not None:
                if self._running.of == of:
                    return f"{version} is looking at the labelled images already."
                other = "" if self._running.of[0] == project_id else f" of project {self._running.of[0]}"
                return f"{self._running.of[1]} is looking at images{other}; press again when that is over."
            models = self._loop.models(project_id)
            log_path = predictions.log_of(models, version)
            log_path.unlink(missing_ok=True)
            child = self._spawn(["trainer.dashboard.predictions", str(project_id), version], log_path)
            self._failed.pop(of, None)
            self._running = _Running(of, child, predictions.newest(models, version))
        return f"{version} looks at the labelled images now."

    def state(self, project_id: int, version: str) -> Look | None:
        """The look that is under way, or that has failed without one since that did not; else None."""
        of = project_id, version
        with self._lock:
            self._settle()
            if self._running is not None and self._running.of == of:
                return _under_way(self._running.child.last_words())
            failed = self._failed.get(of)
            if failed is None:
                return None
            if predictions.newest(self._loop.models(project_id), version) != failed.before:
                del self._failed[of]
                return None
            return Look(False, failed.words)

    def wait(self, seconds: float) -> bool:
        """Waits for the look under way; returns whether it is over."""
        deadline = time.monotonic() + seconds
        while self._running is not None and self._running.child.status() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def stop(self) -> None:
        with self._lock:
            if self._running is not None:
                self._running.child.stop()

    def _settle(self) -> None:
        """Notes how the look has ended, if it has."""
        running = self._running
        status = running.child.status() if running is not None else None
        if running is None or status is None:
            return
        self._running = None
        if status != 0:
            words = self._why(running.child, status)
            self._failed[running.of] = _Failed(words, running.before)

    def _why(self, child: Child, status: int) -> str:
        log_file = self._loop.shown(child.log_path)
        if status > 0:
            words = child.last_words().rstrip(".") or f"its process was ended by {describe(status)}"
            return f"The look failed: {words}. Look again once that is mended; its log is {log_file}."
        more = ", with more memory for the trainer (TRAINER_MEMORY) if that goes on" if status == -9 else ""
        return f"The look was ended by {describe(status)}. Look again{more}; its log is {log_file}."


def _under_way(last_words: str) -> Look:
    found = _COUNT.fullmatch(last_words)
    if found is None:
        return Look(True, last_words or "starting")
    return Look(True, f"looking at {last_words}", int(found[1]), int(found[2]))
