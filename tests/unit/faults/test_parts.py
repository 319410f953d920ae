"""A part of the fault tests runs on, whatever befalls it, and is gone only for as long as the test says."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.parts import Part
from support.stack import wait_for

WITHIN_S = 30.0
SLEEP = "import time; time.sleep(600)"
# It starts another one, which a machine that loses its power takes along.
PROGRAM = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}"


@pytest.fixture
def part() -> Iterator[Part]:
    made = Part("sleeper", lambda: subprocess.Popen([sys.executable, "-c", PROGRAM]))
    try:
        wait_for("both processes", lambda: len(made.pids) == 2, WITHIN_S, every=0.02)
        yield made
    finally:
        made.stop()


def state_of(pid: int) -> str:
    """R or S: it runs; T: it stands still; Z, or nothing: it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("way", ["kill", "end"])
def test_what_ends_is_started_again(part: Part, way: str) -> None:
    first = part.pids
    part.kill() if way == "kill" else part.end()
    wait_for("another one", lambda: len(part.pids) == 2 and part.pid != first[0], WITHIN_S, every=0.02)
    assert part.starts == 2 and state_of(first[0]) == ""
    if way == "kill":
        wait_for("its own to end, too", lambda: state_of(first[1]) in ("", "Z"), WITHIN_S, every=0.02)


def test_what_is_paused_stands_still_with_all_that_it_has_started(part: Part) -> None:
    with part.paused():
        wait_for("both to stand", lambda: [*map(state_of, part.pids)] == ["T", "T"], WITHIN_S, every=0.02)
    wait_for("both to go on", lambda: "T" not in [*map(state_of, part.pids)], WITHIN_S, every=0.02)
    assert part.starts == 1


def test_what_is_away_is_not_there_before_the_end(part: Part) -> None:
    with part.away():
        wait_for("it to be gone", lambda: state_of(part.pid) in ("", "Z"), WITHIN_S, every=0.02)
        assert part.starts == 1
    wait_for("another one", lambda: part.starts == 2 and len(part.pids) == 2, WITHIN_S, every=0.02)
