"""One at a time: a lock on a file, which names its holder and which the kernel frees when that ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Optional

from lifecycle.console import Failure
from lifecycle.home import Home


@contextmanager
def alone(path: Path, what: str, *, refused: str, do: str) -> Iterator[None]:
    """Holds the lock at `path` and notes in the file that `what` does, so that others can name it.

    refused: what can't be done while another one holds it. do: the way out then.

    Raises:
        Failure: another one holds it; the message names what it does, its process and since when.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(refused, found=f"{_holder(file)} at work", needed="one at a time", do=do) from None
        _leave_to_owner(path)
        note = {"what": what, "pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        with suppress(OSError):  # On a full disk the lock holds all the same, without a name.
            file.truncate(0)
            file.write(json.dumps(note))
            file.flush()
        try:
            yield
        finally:
            file.truncate(0)


@contextmanager
def operation(home: Home, verb: str) -> Iterator[None]:
    """For the verbs that change what runs or what is kept: no two of them at once in one checkout.

    Raises:
        Failure: another one is at work.
    """
    do = "Wait for it to end, or stop it (Ctrl-C in its terminal); a killed one is in nobody's way."
    with alone(_lock(home), f"make {verb}", refused=f"make {verb}", do=do):
        yield


def at_work(home: Home) -> Optional[str]:
    """Which `operation` is at work, in words; None when none is."""
    try:
        with _lock(home).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(file)
    except FileNotFoundError:
        pass
    return None


def _lock(home: Home) -> Path:
    return home.run / "operation.lock"


def _holder(file: IO[str]) -> str:
    """What the holder has noted of itself; it may not have come that far."""
    try:
        file.seek(0)
        note = json.loads(file.read(1000))
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(note["since"]))
        # A container has its own name, and its own numbers of processes.
        where = "" if note["host"] == socket.gethostname() else f" on {note['host']}"
        return f"{note['what']} (process {note['pid']}{where}, since {since})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another one"


def _leave_to_owner(path: Path) -> None:
    """Root leaves the file to whom the folder belongs, who comes next."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)
