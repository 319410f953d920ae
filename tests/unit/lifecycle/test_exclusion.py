"""Verbs that would harm each other, in processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.stack import REPO

from lifecycle import exclusion
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.verbs import table as verbs
from lifecycle.verbs.table import VERBS

HARMFUL = {
    "up",
    "stack",
    "down",
    "restart",
    "build",
    "publish",
    "backup",
    "restore",
    "upgrade",
    "reset",
    "move-database",
    "rotate-secrets",
    "join",
    "leave",
}

_AT_WORK = """
import sys, time
from pathlib import Path
from lifecycle import exclusion
from lifecycle.home import Home
with exclusion.operation(Home(Path(sys.argv[1])), "restore"):
    print("begun", flush=True)
    time.sleep(60)
"""


@contextmanager
def a_restore_at_work(home: Home) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", _AT_WORK, str(home.root)]
    environment = {**os.environ, "PYTHONPATH": str(REPO / "compose")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as working:
        try:
            assert working.stdout is not None and working.stdout.readline() == "begun\n"
            yield working
        finally:
            working.kill()


def test_the_verbs_that_change_what_runs_or_is_kept_want_to_be_alone() -> None:
    assert {name for name, verb in VERBS.items() if verb.alone} == HARMFUL


def test_no_verb_begins_beside_a_restore_and_none_waits_for_a_dead_one(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home.root)
    done: list[str] = []

    def pretend(name: str) -> None:
        monkeypatch.setitem(VERBS, name, replace(VERBS[name], run=lambda home, given: done.append(name)))

    for name in (*HARMFUL, "status", "doctor", "logs"):
        pretend(name)
    with a_restore_at_work(home) as working:
        for name in sorted(HARMFUL):
            assert verbs.main([name], home.root) == 1
            told = capsys.readouterr().err
            assert f"make {name}: found make restore (process {working.pid}, since 20" in told
            assert "Wait for it to end" in told
        assert not done
        for name in ("status", "doctor", "logs"):
            assert verbs.main([name], home.root) == 0
        assert done == ["status", "doctor", "logs"]
        working.send_signal(signal.SIGKILL)
        working.wait(10)
    assert verbs.main(["up"], home.root) == 0
    assert done[-1] == "up"


def test_the_status_says_what_is_at_work(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTIME", "host")
    monkeypatch.chdir(home.root)
    assert verbs.main(["status"], home.root) == 1
    assert "`make up` starts it" in capsys.readouterr().err
    with a_restore_at_work(home) as working:
        assert verbs.main(["status"], home.root) == 1
        told = capsys.readouterr()
        assert f"at work      make restore (process {working.pid}, since" in told.out
        assert "Wait for make restore" in told.err and "make up" not in told.err


def test_one_after_the_other_is_well_and_a_failed_one_leaves_nothing_behind(home: Home) -> None:
    with pytest.raises(Failure, match="of its own"), exclusion.operation(home, "up"):
        raise Failure("of its own")
    with exclusion.operation(home, "down"):
        pass


def test_programs_that_a_verb_starts_do_not_hold_its_lock(home: Home) -> None:
    """supervisord outlives `make up`."""
    with exclusion.operation(home, "up"):
        program = subprocess.Popen(["sleep", "60"])
    try:
        with exclusion.operation(home, "down"):
            pass
    finally:
        program.kill()
        program.wait(10)


def test_a_holder_that_has_not_said_its_name_yet_is_refused_without(home: Home, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusion.alone(lock, "the first", refused="the second", do="Wait."):
        lock.write_text("")
        with (
            pytest.raises(Failure, match="the second: found another one at work, needed one at a time"),
            exclusion.alone(lock, "the second", refused="the second", do="Wait."),
        ):
            pass


def test_a_process_in_a_container_is_named_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusion.alone(lock, "a scheduled backup", refused="", do=""):
        noted = lock.read_text()
        lock.write_text(noted.replace(os.uname().nodename, "4f1c0ffee"))
        with (
            pytest.raises(Failure, match=r"a scheduled backup \(process \d+ on 4f1c0ffee, since"),
            exclusion.alone(lock, "a restore", refused="", do=""),
        ):
            pass
