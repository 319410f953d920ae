"""Locks between processes on one volume. The kernel frees a lock when its holder ends, even if it is killed.

This module needs only Python's standard library.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from labelloop.errors import Explained

LOOK_S = 0.1
FOREVER = float("inf")
NOTE_CHARACTERS = 1000


class Busy(Explained):
    """Another process holds the lock. note: the text that it has written into the file, stripped."""

    def __init__(self, path: Path, note: str) -> None:
        super().__init__(f"{path} is locked by process {note[:20] or '?'}")
        self.note = note


def take(
    file: int | IO[Any],
    wait_s: float = 0.0,
    should_stop: Callable[[], bool] = lambda: False,
    look_s: float = LOOK_S,
) -> bool:
    """Takes an exclusive lock on an open file or folder; closing it frees the lock.

    wait_s: how long to wait for another holder, looking every look_s seconds. FOREVER waits in the kernel,
        which gives the lock to the next process at once, and does not ask should_stop.

    Returns: whether it has the lock now.
    """
    if wait_s == FOREVER:
        fcntl.flock(file, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + wait_s
    while not _taken_now(file, fcntl.LOCK_EX):
        if time.monotonic() >= deadline or should_stop():
            return False
        time.sleep(look_s)
    return True


def holders_note(path: Path) -> str | None:
    """The note of the process that holds the lock on `path`; None when nobody holds it.

    The note is empty if the holder has not written it yet.
    """
    with suppress(FileNotFoundError):
        if is_held(path):
            with path.open(encoding="utf-8", errors="replace") as file:
                return _note_in(file)
    return None


def is_held(path: Path) -> bool:
    """Whether some process, perhaps this one, holds the lock on `path`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with path.open("rb") as file:
        # The lock is a shared one, so that two processes that look do not take each other for a holder.
        return not _taken_now(file, fcntl.LOCK_SH)


@contextmanager
def holding(
    path: Path,
    wait_s: float = 0.0,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    note: str | None = None,
) -> Iterator[None]:
    """Holds an exclusive lock on `path`, waiting up to wait_s seconds for it.

    note: the text about the holder that the file has meanwhile; by default its process id.

    Raises:
        Busy: another process still holds it; the message names the file and, where it is known, the process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8", errors="replace") as file:
        if not take(file, wait_s, should_stop):
            raise Busy(path, _note_in(file))
        with suppress(OSError):  # on a full disk the lock works without a note
            file.truncate(0)
            os.write(file.fileno(), (f"{os.getpid()}\n" if note is None else note).encode())
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)


def _taken_now(file: int | IO[Any], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note_in(file: IO[str]) -> str:
    """The note in an open lock file; empty when it cannot be read."""
    with suppress(OSError):
        file.seek(0)
        return file.read(NOTE_CHARACTERS).strip()
    return ""
