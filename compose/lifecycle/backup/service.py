"""The service that writes backups; in its container, or beside the others on the host.

    python -m lifecycle.backup_service schedule     one every BACKUP_EVERY_HOURS; BACKUP_KEEP of them stay
    python -m lifecycle.backup_service once         one now; with `images`, `env` (on stdin), `scheduled`
    python -m lifecycle.backup_service count        what there is to keep
    python -m lifecycle.backup_service load FILE    PostgreSQL: a database beside that in service, from a dump
    python -m lifecycle.backup_service empty        PostgreSQL: all of Label Studio's tables go
    python -m lifecycle.backup_service health       whether the schedule's last one went well

It has no network and no secrets, but for the way to Label Studio's database where that is on PostgreSQL.
`once`, `count`, `load` and `empty` end with one line of JSON: {"archive": name, "counts": {...}},
{"projects": [...], "counts": {...}}, {"loaded": the database's name}, {}, or {"error": why}.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from lifecycle import files
from lifecycle.backup import archive, contents, snapshots
from lifecycle.console import Failure
from lifecycle.database.client import Database
from lifecycle.home import Home

LOOK_SECONDS = 30.0
FIRST_AFTER_SECONDS = 600.0
RETRY_SECONDS = 900.0
REPORT_SECONDS = 5.0
STOP_SECONDS = 20.0

WORDLESS = {"error": "the backup ended without a word"}

DOWN = ("exited", "dead", "failing", "restarting")
"""States of its container in which it writes no backup."""
PROGRAM = ("python", "-m", "lifecycle.backup_service")

Once = Callable[[], dict[str, Any]]

STOPPED: dict[str, Any] = {"stopped": True}
"""The answer of a backup that ended because the service ends: nothing failed, the next start writes one."""


@dataclass(frozen=True)
class Status:
    """Of the schedule. every_hours: 0 when it is off. last: its newest archive.

    error, since: what keeps it from writing one, and since when (ISO 8601, UTC).
    """

    every_hours: int
    last: Optional[str] = None
    error: Optional[str] = None
    since: Optional[str] = None


def read_status(home: Home) -> Optional[Status]:
    """None before the service first ran."""
    try:
        return Status(**json.loads(home.backup_status.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _since_boot() -> float:
    """Seconds since the machine started. Where the system counts them, those that it slept are included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Schedule:
    """Writes an archive BACKUP_EVERY_HOURS after the one before, and notes how that went.

    Between its own it waits by `elapsed`, which no change of the clock moves. Only when it has just started
    does it go by the date of the newest archive; one from the future doesn't count.

    environment: BACKUP_EVERY_HOURS (0: never) and BACKUP_KEEP. once: writes one, and answers as `once`
    does, or STOPPED. clock: Unix time. elapsed: seconds since some moment.
    """

    def __init__(
        self,
        home: Home,
        environment: Mapping[str, str],
        once: Once,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = _since_boot,
    ) -> None:
        self._home = home
        self._once = once
        self._clock = clock
        self._elapsed = elapsed
        self._not_before = elapsed() + FIRST_AFTER_SECONDS
        self._written: Optional[float] = None
        self._every, self._keep = 0, 1
        self._wrong: Optional[str] = None
        try:
            self._every = _number(environment, "BACKUP_EVERY_HOURS", 24, 0)
            self._keep = _number(environment, "BACKUP_KEEP", 7, 1)
        except Failure as error:
            self._wrong = str(error)
        before = read_status(home)
        self._note(self._wrong or (before.error if before and self._every else None))

    def look(self) -> None:
        """Writes an archive if one is due."""
        if self._wrong or not self._every or not self._is_due():
            return
        answer = self._once()
        if answer == STOPPED:
            return
        if answer.get("error"):
            self._not_before = self._elapsed() + RETRY_SECONDS
            self._note(str(answer["error"]))
            print(f"scheduled backup: {answer['error']}", file=sys.stderr, flush=True)
            return
        self._written = self._elapsed()
        gone = archive.thin_out(self._home, self._keep, self._clock())
        self._note(None)
        print(
            f"scheduled backup: {answer['archive']}" + (f"; deleted {', '.join(gone)}" if gone else ""),
            flush=True,
        )

    def _is_due(self) -> bool:
        now = self._elapsed()
        if now < self._not_before or not self._home.has_labels:
            return False
        return self._failing or self._since_last(now) >= self._every * 3600

    def _since_last(self, now: float) -> float:
        if self._written is not None:
            return now - self._written
        newest = archive.scheduled_archives(self._home, self._clock())[-1:]
        return self._clock() - archive.dated(newest[0]) if newest else float("inf")

    def _note(self, error: Optional[str]) -> None:
        before = read_status(self._home)
        since = before.since if before and before.error else None
        newest = archive.scheduled_archives(self._home, self._clock())[-1:]
        self._failing = error is not None
        status = Status(
            every_hours=self._every,
            last=newest[0].name if newest else None,
            error=error,
            since=(since or _iso(self._clock())) if error else None,
        )
        self._home.backup_status.parent.mkdir(parents=True, exist_ok=True)
        files.replace_text(self._home.backup_status, json.dumps(asdict(status)), 0o644)


def _number(environment: Mapping[str, str], name: str, default: int, least: int) -> int:
    given = environment.get(name) or str(default)
    if not given.isdigit() or int(given) < least:
        raise Failure(name, found=repr(given), needed=f"a whole number from {least} on")
    return int(given)


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _run_schedule(home: Home) -> int:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, frame: stopping.set())
    command = [sys.executable, "-m", "lifecycle.backup_service", "once", "scheduled"]
    schedule = Schedule(home, os.environ, lambda: in_a_child(command, stopping))
    while not stopping.is_set():
        schedule.look()
        stopping.wait(LOOK_SECONDS)
    return 0


def in_a_child(command: list[str], stopping: threading.Event) -> dict[str, Any]:
    """`once` in a process of its own: it takes the code as it is now, and its memory goes with it.

    Returns: what it said, or STOPPED where it was ended with the service.
    """
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as child:
        while True:
            try:
                output, _ = child.communicate(timeout=1)
                break
            except subprocess.TimeoutExpired:
                if stopping.is_set():
                    child.terminate()
    # Where all of the service's processes are told to end, this one may be the first.
    if child.returncode == -signal.SIGTERM:
        return STOPPED
    answer = parse_answer(output)
    if child.returncode < 0 and answer == WORDLESS:
        return {"error": f"the backup was ended by {signal.Signals(-child.returncode).name}"}
    return answer


def parse_answer(output: str) -> dict[str, Any]:
    """What `once` said on its last line."""
    try:
        answer = json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        answer = None
    return answer if isinstance(answer, dict) else WORDLESS


def _run_once(home: Home, options: list[str]) -> int:
    env = sys.stdin.buffer.read() if "env" in options else None
    try:
        path, manifest = archive.write(
            home,
            images="images" in options,
            env=env,
            scheduled="scheduled" in options,
            report=_Progress(),
        )
    except Failure as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps({"archive": path.name, "counts": manifest.counts}))
    return 0


def _load(home: Home, file: str) -> int:
    try:
        database = Database.of(home, os.environ)
        if database is None:
            raise Failure("the database", found="no DATABASE_URL", needed="PostgreSQL")
        made = database.restored_name(time.time())
        database.load(home.root / file, made)
    except Failure as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps({"loaded": made}))
    return 0


def _empty(home: Home) -> int:
    try:
        database = Database.of(home, os.environ)
        if database is not None:
            database.empty()
    except Failure as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print("{}")
    return 0


def _count(home: Home) -> int:
    try:
        database = Database.of(home, os.environ) or home.database
        facts = snapshots.facts(database, home.root / contents.ROUNDS)
    except Failure as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(asdict(facts)))
    return 0


class _Progress:
    """A line every few seconds, for the operator."""

    def __init__(self) -> None:
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said < REPORT_SECONDS or not done:
            return
        self._said = now
        left = (now - self._started) * max(total - done, 0) / done
        print(
            f"  {done / 1e9:.1f} of at most {total / 1e9:.1f} GB, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def main(arguments: list[str]) -> int:
    home = Home(Path(os.environ.get("LABELLOOP_HOME", "/labelloop")))
    if arguments[:1] == ["once"]:
        return _run_once(home, arguments[1:])
    if arguments[:1] == ["load"] and len(arguments) == 2:
        return _load(home, arguments[1])
    if arguments == ["empty"]:
        return _empty(home)
    if arguments == ["count"]:
        return _count(home)
    if arguments == ["schedule"]:
        return _run_schedule(home)
    if arguments == ["health"]:
        status = read_status(home)
        complaint = status.error if status else "the schedule has not begun"
        print(f"unhealthy: {complaint}" if complaint else "healthy")
        return 1 if complaint else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
