"""metrics.jsonl, as the training process writes it and others read it."""

from pathlib import Path

import pytest

from trainer.rounds.metrics import Metrics, append, newest, read


def made(iteration: int, loss: float = 1.5) -> Metrics:
    return Metrics(
        iteration, 40, {"loss": loss, "loss_bbox": 0.5}, seconds=2.0, eta=9.5, lr=0.01, waited=0.25, threads=2
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append(path, made(1))
    assert path.read_text() == (
        '{"iter": 1, "iterations": 40, "loss": 1.5, "loss_bbox": 0.5, "lr": 0.01, "seconds": 2.0, '
        '"waited": 0.25, "threads": 2, "eta": 9.5}\n'
    )
    assert read(path) == [made(1)]


def test_the_newest_whole_line_and_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert newest(path, 0) == (None, 0), "there is none before the first iteration"
    append(path, made(1))
    append(path, made(2))
    whole = path.stat().st_size
    with path.open("a") as file:
        file.write('{"iter": 3, "itera')
    assert newest(path, 0) == (made(2), whole)
    assert newest(path, whole) == (None, whole)


def test_a_resumed_rounds_iterations_count_once_and_damage_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for iteration, loss in ((1, 4.0), (2, 3.0), (3, 2.0)):
        append(path, made(iteration, loss))
    with path.open("a") as file:
        file.write('{"iter": 4}\n[]\nnothing\n')
    append(path, made(2, 1.0))
    assert [(line.iteration, line.losses["loss"]) for line in read(path)] == [(1, 4.0), (2, 1.0)]
    assert read(tmp_path / "none") == []


@pytest.mark.parametrize("line", ["", "{", "[]", '"text"', '{"iter": 1, "iterations": 40}', '{"loss": 1.0}'])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError):
        Metrics.of(line)
