"""What a terminal shows of a round's time."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from trainer.rounds import heartbeat
from trainer.rounds.progress import Progress
from trainer.rounds.table import Rounds, State
from trainer.terminal import display as display_module
from trainer.terminal.display import Display
from trainer.terminal.watch import follow_round, show_progress


@pytest.fixture
def out() -> StringIO:
    return StringIO()


@pytest.fixture
def display(out: StringIO, monkeypatch: pytest.MonkeyPatch) -> Display:
    monkeypatch.setattr(display_module, "PLAIN_EVERY_S", 0.0)
    return Display(Console(file=out, width=160, soft_wrap=True))


def test_a_round_says_that_it_measures_before_it_says_how_long(
    display: Display, out: StringIO, tmp_path: Path
) -> None:
    rounds = Rounds(tmp_path)
    heartbeat.beat(tmp_path, {"1": "v0000"}, {})
    round_, _ = rounds.request(1, "a test")
    steps = iter(
        [
            lambda: rounds.move(1, State.SNAPSHOTTING),
            lambda: rounds.move(1, State.TRAINING),
            lambda: rounds.progress(1, 0.01, "iteration 3 of 300", None),
            lambda: rounds.progress(1, 0.06, "iteration 18 of 300", 338.4),
            lambda: rounds.move(1, State.FAILED, error="a test"),
        ]
    )
    follow_round(rounds, round_, display, sleep=lambda seconds: next(steps)() and None)
    assert [line for line in out.getvalue().splitlines() if "(" not in line] == [
        "waiting for the worker 0%",
        "1/3 snapshot 0%",
        "2/3 training 0%, measuring the time left",
        "2/3 training 1%, measuring the time left, iteration 3 of 300",
        "2/3 training 6%, 5:38 min left, iteration 18 of 300",
    ]


def test_pre_labels_do_the_same(display: Display, out: StringIO) -> None:
    for done, eta in ((48, None), (96, 12.0), (200, None)):
        show_progress(Progress(1, "v0001", done, 200, eta, "now"), display)
    assert out.getvalue().splitlines() == [
        "pre-labels 24%, measuring the time left, 48 of 200 images with v0001",
        "pre-labels 48%, 12 s left, 96 of 200 images with v0001",
        "pre-labels 100%, 200 of 200 images with v0001",
    ]
