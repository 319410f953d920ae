"""The schedule: when it writes, what it keeps, and how it says that it fails."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support import kept
from support.stack import wait_for

from lifecycle.backup import archive
from lifecycle.backup.service import STOPPED, Schedule, in_a_child, main, read_status
from lifecycle.doctor import host_findings
from lifecycle.home import Home
from lifecycle.verbs.backup import say_status

HOUR = 3600.0
FAR_AHEAD = 2_051_222_400.0  # 2035


class Clock:
    """Unix time, which may be wrong by `off` seconds, and archives of that time."""

    stopped = False

    def __init__(self, home: Home) -> None:
        self.home = home
        self.now = 1_800_000_000.0
        self.off = 0.0
        self.error: str | None = None
        self.written = 0

    def once(self) -> dict[str, Any]:
        if self.error:
            return {"error": self.error}
        if self.stopped:
            return STOPPED
        self.written += 1
        path = archive_of(self.home, self.now + self.off)
        return {"archive": path.name}

    def schedule(self, **environment: str) -> Schedule:
        return Schedule(
            self.home, environment, self.once, clock=lambda: self.now + self.off, elapsed=lambda: self.now
        )


def archive_of(home: Home, when: float) -> Path:
    """One of the schedule's, empty, of that Unix time."""
    path = home.backups / time.strftime("labelloop-scheduled-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime(when))
    path.touch()
    os.utime(path, (when, when))
    return path


@pytest.fixture
def clock(home: Home) -> Clock:
    kept.fill(home)
    return Clock(home)


def test_one_is_written_every_so_many_hours(clock: Clock) -> None:
    schedule = clock.schedule(BACKUP_EVERY_HOURS="6")
    schedule.look()
    assert clock.written == 0, "the stack has just started"
    for _ in range(26):
        clock.now += HOUR
        schedule.look()
        schedule.look()
    assert clock.written == 5
    status = read_status(clock.home)
    assert status is not None and (status.every_hours, status.error) == (6, None)


def test_a_restart_does_not_begin_anew(clock: Clock) -> None:
    clock.once()
    for _ in range(5):
        clock.now += HOUR
        clock.schedule(BACKUP_EVERY_HOURS="24").look()
    assert clock.written == 1


def test_the_newest_stay(clock: Clock) -> None:
    schedule = clock.schedule(BACKUP_EVERY_HOURS="1", BACKUP_KEEP="3")
    by_hand, _ = archive.write(clock.home)
    began = clock.now
    for _ in range(6):
        clock.now += HOUR
        schedule.look()
    left = archive.scheduled_archives(clock.home, clock.now)
    assert [archive.dated(path) - began for path in left] == [4 * HOUR, 5 * HOUR, 6 * HOUR]
    assert by_hand.exists()


def test_archives_from_the_future_neither_end_the_schedule_nor_thin_out_the_true_ones(clock: Clock) -> None:
    """The clock was in 2035 for a week, or the archives are another machine's, whose clock still is."""
    true = archive_of(clock.home, clock.now - 30 * HOUR)
    ahead = [archive_of(clock.home, FAR_AHEAD + day * 24 * HOUR) for day in range(7)]
    schedule = clock.schedule()
    clock.now += HOUR
    schedule.look()
    assert clock.written == 1 and true.exists()
    for _ in range(10 * 24):
        clock.now += HOUR
        schedule.look()
    assert clock.written == 11
    assert len(archive.scheduled_archives(clock.home, clock.now)) == 7
    assert all(path.exists() for path in ahead)


@pytest.mark.parametrize("off", [FAR_AHEAD - 1_800_000_000, -1_799_999_999])
def test_a_clock_that_jumps_and_comes_back_changes_nothing_between_archives(clock: Clock, off: float) -> None:
    schedule = clock.schedule()
    for hour in range(24 * 8):
        clock.now += HOUR
        clock.off = off if 50 < hour < 100 else 0.0
        schedule.look()
    assert clock.written == 8


@pytest.mark.parametrize("off", [FAR_AHEAD - 1_800_000_000, -1_799_999_999])
def test_a_schedule_begun_under_a_wrong_clock_goes_on_under_the_right_one(clock: Clock, off: float) -> None:
    clock.off = off
    schedule = clock.schedule()
    clock.now += HOUR
    schedule.look()
    clock.off = 0.0
    for _ in range(24):
        clock.now += HOUR
        schedule.look()
    assert clock.written == 2


def test_archives_from_the_future_are_said(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    today = archive_of(clock.home, time.time() - HOUR)
    ahead = archive_of(clock.home, time.time() + 24 * HOUR)
    clock.schedule()
    capsys.readouterr()
    say_status(clock.home)
    told = capsys.readouterr().out
    assert re.search(rf"newest: {re.escape(today.name)}, 6\d min ago", told), told
    assert "WARNING: dated in the future" in told and ahead.name in told
    assert archive.newest_archive(clock.home) == today, "what `make restore` proposes"
    [well, warned] = host_findings.backups(clock.home)
    assert (well.level, warned.level) == ("ok", "warning") and ahead.name in warned.text
    today.unlink()
    assert archive.newest_archive(clock.home) == ahead, "better than none"


def test_zero_turns_it_off(clock: Clock) -> None:
    schedule = clock.schedule(BACKUP_EVERY_HOURS="0")
    clock.now += 1000 * HOUR
    schedule.look()
    assert clock.written == 0


def test_a_failure_shows_until_one_succeeds(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELLOOP_HOME", str(clock.home.root))
    schedule = clock.schedule()
    assert main(["health"]) == 0
    clock.error = "disk space: found 0.0 GB free."
    clock.now += HOUR
    schedule.look()
    failed = read_status(clock.home)
    clock.now += HOUR
    schedule.look()
    status = read_status(clock.home)
    assert status == failed, "since when it fails stays"
    schedule = clock.schedule()
    assert main(["health"]) == 1, "a restart is no success"
    clock.now += HOUR
    schedule.look()
    assert read_status(clock.home) == failed
    assert main(["health"]) == 1
    capsys.readouterr()
    say_status(clock.home)
    assert "WARNING: the schedule fails since" in (told := capsys.readouterr().out) and "0.0 GB" in told
    clock.error = None
    schedule.look()
    assert clock.written == 0, "it is not tried again at once"
    clock.now += HOUR
    schedule.look()
    assert main(["health"]) == 0
    capsys.readouterr()
    say_status(clock.home)
    assert "every 24 h; newest: labelloop-scheduled-" in capsys.readouterr().out


def test_a_setting_that_says_nothing_is_a_failure_that_shows(clock: Clock) -> None:
    clock.schedule(BACKUP_EVERY_HOURS="daily").look()
    status = read_status(clock.home)
    assert status is not None and status.error is not None and "found 'daily'" in status.error


def test_there_is_nothing_to_keep_before_the_first_boot(clock: Clock) -> None:
    kept.without_state(clock.home)
    schedule = clock.schedule()
    clock.now += HOUR
    schedule.look()
    assert clock.written == 0


def test_the_program_writes_a_scheduled_archive_and_counts(clock: Clock) -> None:
    stack = kept.PretendedStack(clock.home)
    answer = json.loads(stack.backup_service(["once", "scheduled"]))
    [path] = archive.scheduled_archives(clock.home)
    assert answer["archive"] == path.name and answer["counts"]["annotations"] == 3
    assert json.loads(stack.backup_service(["count"]))["projects"][0]["title"] == "cells"


def test_a_backup_that_ends_with_the_service_is_no_failure(clock: Clock) -> None:
    schedule = clock.schedule()
    clock.now += HOUR
    clock.stopped = True
    schedule.look()
    status = read_status(clock.home)
    assert clock.written == 0 and status is not None and status.error is None
    clock.stopped, started_again = False, clock.schedule()
    clock.now += HOUR
    started_again.look()
    assert clock.written == 1


@pytest.mark.parametrize(
    ("ended_by", "answer"),
    [("SIGTERM", STOPPED), ("SIGKILL", {"error": "the backup was ended by SIGKILL"})],
)
def test_who_ended_a_backup_is_told_apart(ended_by: str, answer: dict[str, Any]) -> None:
    """The first as where the service's whole process group is told to end, the other for want of memory."""
    program = f"import os, signal; os.kill(os.getpid(), signal.{ended_by})"
    assert in_a_child([sys.executable, "-c", program], threading.Event()) == answer


def test_the_service_takes_a_backup_under_way_with_it() -> None:
    stopping = threading.Event()
    stopping.set()
    began = time.monotonic()
    assert in_a_child([sys.executable, "-c", "import time; time.sleep(60)"], stopping) == STOPPED
    assert time.monotonic() - began < 30


def test_the_schedule_ends_when_it_is_asked_to(clock: Clock) -> None:
    environment = {
        **os.environ,
        "LABELLOOP_HOME": str(clock.home.root),
        "PYTHONPATH": str(kept.REPO / "compose"),
    }
    command = [sys.executable, "-m", "lifecycle.backup_service", "schedule"]
    clock.home.backup_status.unlink(missing_ok=True)
    with subprocess.Popen(command, env=environment) as running:
        try:
            wait_for("its first look", lambda: read_status(clock.home), 60, every=0.1)
            running.terminate()
            assert running.wait(60) == 0
        finally:
            running.kill()
