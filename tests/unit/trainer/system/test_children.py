"""Children of the worker: their end is known, and they do not outlive it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_child import FakeChild

from trainer.system.children import PARENT_LOOK_S, Child, Watched, describe

pytestmark = pytest.mark.usefixtures("child_processes")


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_its_words_and_status_are_kept(tmp_path: Path) -> None:
    child = Child(["this"], tmp_path / "deep" / "log.txt")
    child.stop()
    child = Child(["this"], tmp_path / "deep" / "log.txt")
    wait_until(lambda: child.status() is not None)
    assert child.status() == 0
    assert "Namespaces are one honking great idea" in child.last_words()


def test_the_words_of_one_that_ran_before_are_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is killed before it says anything would be said to have ended by what the former said."""
    (tmp_path / "silent.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    log_path = tmp_path / "log.txt"
    log_path.write_text("no promotion is on trial\n")
    child = Child(["silent"], log_path)
    child.stop()
    assert child.last_words() == "" and log_path.read_text() == "no promotion is on trial\n"


def test_one_at_a_time_is_watched_and_its_end_told_once(tmp_path: Path) -> None:
    """Of one that a signal ended the last line is no reason."""
    children: list[FakeChild] = []

    def spawn(arguments: list[str], log_path: Path) -> FakeChild:
        children.append(FakeChild(arguments, log_path))
        return children[-1]

    log_path = tmp_path / "log.txt"
    process = Watched[int](spawn, log_path)  # type: ignore[arg-type]
    assert process.of is None and process.ended() is None
    for number in (7, 8):
        log_path.write_text("of a former one")
        process.begin(["some.module", str(number)], number)
        assert not log_path.exists()
    assert (children[0].stopped, children[1].stopped, process.of) == (True, False, 8)
    assert process.ended() is None
    for status, why in ((3, "its last words"), (-9, "its process was ended by the system, mostly because")):
        process.begin(["some.module", "9"], 9)
        children[-1].exit = status
        ended = process.ended()
        assert ended is not None and (ended.of, ended.status) == (9, status) and ended.why.startswith(why)
        assert process.of is None and process.ended() is None
    process.begin(["some.module", "10"], 10)
    process.stop()
    assert children[-1].stopped and process.of is None and process.ended() is None


def test_one_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stubborn.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    child = Child(["stubborn"], tmp_path / "log.txt")
    wait_until(lambda: child.last_words() == "ready")
    child.stop(patience_s=0.1)
    assert child.status() == -signal.SIGKILL


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    grandchild = (
        "import os, time; from trainer.system.children import die_with_parent; die_with_parent(); "
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])",
        ]
    )
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    parent.kill()
    parent.wait()
    pid = int(pid_file.read_text())
    wait_until(lambda: not _alive(pid))


def test_it_outlives_the_thread_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server makes children in threads that end when they are idle."""
    (tmp_path / "looker.py").write_text(
        "import time\nfrom trainer.system.children import die_with_parent\ndie_with_parent()\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    made: list[Child] = []
    ready, go_on = threading.Event(), threading.Event()

    def make() -> None:
        made.append(Child(["looker"], tmp_path / "log.txt"))
        ready.set()
        go_on.wait(60)

    thread = threading.Thread(target=make)
    thread.start()
    assert ready.wait(20)
    (child,) = made
    wait_until(lambda: child.last_words() == "ready")
    go_on.set()
    thread.join(20)
    deadline = time.monotonic() + 3 * PARENT_LOOK_S
    while time.monotonic() < deadline:
        assert child.status() is None
        time.sleep(0.05)
    child.stop()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # also where it goes between the opening and the reading
        return False


@pytest.mark.parametrize(
    "status, words",
    [
        (3, "an error (exit status 3)"),
        (-signal.SIGKILL, "the system, mostly because memory ran out (SIGKILL)"),
        (-signal.SIGTERM, "a stop or restart of the stack (SIGTERM)"),
        (-signal.SIGSEGV, "a crash in native code (SIGSEGV)"),
        (-64, "a crash in native code (SIGRTMAX)"),
        (-250, "a crash in native code (signal 250)"),
    ],
)
def test_statuses_in_words(status: int, words: str) -> None:
    assert describe(status) == words
