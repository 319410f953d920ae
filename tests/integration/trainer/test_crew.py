"""Rounds that several real processes train together, on small pictures that the test makes."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_rounds import SmallRounds, trainable

from labelloop.registry import Card
from trainer.rounds.metrics import Metrics, read
from trainer.training.members import on_this_machine
from trainer.training.process import TrainingCancelled, TrainingKilled, candidate_folder, run

CLASSES = ["ball", "crate"]
BATCH = 8
ITERATIONS = 30


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRounds:
    monkeypatch.setenv("LABELLOOP_HOME", str(tmp_path))
    config = trainable("yolox")
    config.data.samples_per_gpu = BATCH
    return SmallRounds.below(tmp_path, "yolox", config)


def round_of(small: SmallRounds, name: str, **job: Any) -> Path:
    start = small.weights(small.settings.labelloop_home / "start.pth", CLASSES)
    return small.round(name, small.snapshot(), start, CLASSES, **{"iterations": ITERATIONS, **job})


def train(folder: Path, size: int, **variables: str) -> None:
    run(folder, lambda metrics: None, lambda: False, variables, on_this_machine(size))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(candidate_folder(folder) / "weights.pth", weights_only=True)
    return state


@contextmanager
def signalled(folder: Path, rank: int, number: signal.Signals) -> Iterator[None]:
    """A member gets a signal as soon as five iterations are trained."""
    over = threading.Event()

    def watch() -> None:
        while len(read(folder / "metrics.jsonl")) < 5:
            if over.wait(0.005):
                return
        for pid in members(folder, rank):
            os.kill(pid, number)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def members(folder: Path, rank: int | None = None) -> list[int]:
    """The processes that train this folder's round; rank: the one that has it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"trainer.training.process" in arguments and os.fsencode(folder) in arguments:  # noqa: SIM102
            if rank is None or f"RANK={rank}".encode() in variables:
                found.append(int(entry.name))
    return found


def test_a_round_of_two_processes_of_which_one_is_killed_becomes_what_it_would_have_become(
    small: SmallRounds,
) -> None:
    """To the bit: order, flips and sizes drawn, momentum, learning rate, counters of batch normalisation."""
    through, killed = round_of(small, "through"), round_of(small, "killed")
    train(through, 2)
    with (
        signalled(killed, 1, signal.SIGKILL),
        pytest.raises(TrainingKilled, match=r"^process 2 of 2 .*SIGKILL"),
    ):
        train(killed, 2)
    assert not candidate_folder(killed).exists() and members(killed) == []
    before = len((killed / "metrics.jsonl").read_text().splitlines())
    assert 5 <= before < ITERATIONS

    train(killed, 2)
    rows = [json.loads(line) for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert rows[before]["iter"] in (before, before + 1), "it goes on from the last checkpoint"
    assert [row.iteration for row in read(killed / "metrics.jsonl")] == list(range(1, ITERATIONS + 1))
    assert {row["processes"] for row in rows} == {2}
    mine, other = weights(killed), weights(through)
    assert mine.keys() == other.keys() and all(torch.equal(mine[key], other[key]) for key in mine)
    card = Card.model_validate_json((candidate_folder(killed) / "card.json").read_bytes())
    assert card.device == "2 processes, each: cpu, 1 threads" and card.images == 5
    log = (killed / "log.txt").read_text()
    assert log.count("Trains in 2 processes, with 4 images of a batch each\n") == 2, "once a start"
    assert not list(killed.glob(".last.pth.*"))


def test_a_process_that_hangs_is_named_and_the_round_can_go_on_in_three_until_it_is_cancelled(
    small: SmallRounds,
) -> None:
    folder = round_of(small, "00001", iterations=10_000)
    with (
        signalled(folder, 1, signal.SIGSTOP),
        pytest.raises(TrainingKilled, match=r"^process 2 of 2 of the training hung"),
    ):
        train(folder, 2, CREW_PATIENCE_S="20")
    assert members(folder) == []
    log = folder / "log.txt"
    assert "process 1 of 2: another one has ended or has not answered for 20 s (Timed out" in log.read_text()
    done = read(folder / "metrics.jsonl")[-1].iteration

    seen: list[Metrics] = []
    with pytest.raises(TrainingCancelled, match=r"cancelled at iteration \d+ of 10000"):
        run(folder, seen.append, lambda: bool(seen), None, on_this_machine(3))
    assert members(folder) == [] and not candidate_folder(folder).exists()
    rows = read(folder / "metrics.jsonl")
    assert rows[-1].iteration >= done, "at most the iteration whose checkpoint was being written is repeated"
    assert (rows[0].processes, rows[-1].processes) == (2, 3)
    assert "batches are of 9 images, as 8 cannot be divided, at 1.125 of the learning" in log.read_text()
    before, after = (row.lr / (0.1 + 0.9 * (row.iteration - 1) / 1000) for row in (rows[0], rows[-1]))
    assert after == pytest.approx(1.125 * before, rel=0.01), "both are in the warm-up, of 1000 iterations"
