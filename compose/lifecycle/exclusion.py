"""One operation at a time: locks whose files say what their holder does, since when and in which process."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Optional

from labelloop.locks import Busy, holders_note, holding
from lifecycle.console import Failure
from lifecycle.home import Home


@contextmanager
def alone(path: Path, what: str, *, refused: str, do: str) -> Iterator[None]:
    """Holds the lock at `path` and notes in the file that `what` does, so that others can name it.

    refused: what can't be done while another one holds it. do: the way out then.

    Raises:
        Failure: another one holds it; the message names what it does, its process and since when.
    """
    note = {"what": what, "pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    with ExitStack() as held:
        try:
            held.enter_context(holding(path, note=json.dumps(note)))
        except Busy as busy:
            found = f"{_in_words(busy.note)} at work"
            raise Failure(refused, found=found, needed="one at a time", do=do) from None
        _leave_to_owner(path)
        yield


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
    note = holders_note(_lock(home))
    return None if note is None else _in_words(note)


def _lock(home: Home) -> Path:
    return home.run / "operation.lock"


def _in_words(text: str) -> str:
    """Who holds a lock, by its note; the holder may not have written one yet."""
    try:
        note = json.loads(text)
        since = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(note["since"]))
        # A container has a host name of its own, and counts its processes by itself.
        where = "" if note["host"] == socket.gethostname() else f" on {note['host']}"
        return f"{note['what']} (process {note['pid']}{where}, since {since})"
    except (OSError, ValueError, KeyError, TypeError):  # OSError: a time that is none
        return "another one"


def _leave_to_owner(path: Path) -> None:
    """When root locks, the file is given to the folder's owner, who must be able to lock it later."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)
