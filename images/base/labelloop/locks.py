"""Locks between processes on one volume; the kernel frees one when its holder ends, however it ends.

Python's standard library is all that this module needs.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from labelloop.errors import Explained

LOOK_S = 0.1


class Busy(Explained):
    """Another process holds the lock."""


@contextmanager
def holding(
    path: Path, wait_s: float = 0.0, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Holds an exclusive lock on `path`, waiting up to wait_s seconds for it.

    Raises:
        Busy: another process still holds it; the message names the file and, where it is known, the process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with path.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline or should_stop():
                    file.seek(0)
                    raise Busy(f"{path} is locked by process {file.read(20).strip() or '?'}") from None
                time.sleep(LOOK_S)
        with suppress(OSError):  # on a full disk the lock holds all the same, without a name
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield
