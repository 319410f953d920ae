"""Programs of this checkout that outlived their supervisord (`kill -9`), known by a mark they carry."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

MARK = "LABELLOOP_SUPERVISED_FROM"
GRACE_SECONDS = 30.0


def find(folder: Path) -> list[int]:
    """Process ids of programs that were started with MARK=`folder`; always empty where there is no /proc."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def end(folder: Path) -> None:
    """Asks those programs to end, and kills what hasn't after GRACE_SECONDS."""
    _signal(find(folder), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := find(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    _signal(left, signal.SIGKILL)


def _signal(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)
