"""Steps of a build that run at once."""

import re
import threading

import pytest

from lifecycle.build.side_by_side import Step, run_steps, words
from lifecycle.console import Failure

WITHIN_S = 60.0


def test_what_needs_nothing_runs_at_once_and_what_needs_it_after(capsys: pytest.CaptureFixture[str]) -> None:
    both = threading.Barrier(2, timeout=WITHIN_S)
    done: list[str] = []

    def meet(name: str) -> None:
        both.wait()  # Only two at once get past it.
        done.append(name)

    steps = [
        Step("trainer", "building", 20, lambda: done.append("trainer"), after=("base", "elsewhere")),
        Step("base", "building", 60, lambda: meet("base")),
        Step("labelstudio", "building", 100, lambda: meet("labelstudio")),
    ]
    run_steps(steps)
    assert sorted(done[:2]) == ["base", "labelstudio"] and done[2:] == ["trainer"]
    said = [text.split(maxsplit=1) for text in capsys.readouterr().out.splitlines()]
    assert ["trainer", "building, about 20 s"] in said
    assert ["labelstudio", "building, about 2 minutes"] in said


def test_after_a_failure_nothing_begins_and_what_is_at_work_ends_first() -> None:
    done: list[str] = []
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise Failure("building the image base failed")

    def take_longer() -> None:
        assert failed.wait(WITHIN_S)
        done.append("labelstudio")

    steps = [
        Step("base", "building", 1, fail),
        Step("labelstudio", "building", 1, take_longer),
        Step("trainer", "building", 1, lambda: done.append("trainer"), after=("base",)),
    ]
    with pytest.raises(Failure, match="building the image base failed"):
        run_steps(steps)
    assert done == ["labelstudio"]


def test_what_is_at_work_is_told_with_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    go_on = threading.Event()

    def run() -> None:
        assert go_on.wait(WITHIN_S)

    def look() -> None:
        while "at work" not in "".join(told):
            told.append(capsys.readouterr().out)
        go_on.set()

    watcher = threading.Thread(target=look)
    watcher.start()
    run_steps([Step("mmcv-full", "compiling", 900, run)], heartbeat_s=0.01)
    watcher.join(WITHIN_S)
    assert re.search(r"at work: mmcv-full, compiling \(\d+ s of about 15 minutes\)", "".join(told))


def test_times_are_said_as_one_says_them() -> None:

    assert [words(seconds) for seconds in (20, 89, 90, 900)] == ["20 s", "89 s", "2 minutes", "15 minutes"]
