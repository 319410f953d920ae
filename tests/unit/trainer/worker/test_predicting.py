"""Predictions are asked for batch by batch, two at once, and come in the tasks' order."""

import threading
from collections.abc import Sequence

import pytest

from trainer.peers.backend import BackendError, Unread
from trainer.worker.predicting import AT_ONCE, BATCH, PORTION, Predictions, Row, in_portions

TASKS: list[Row] = [{"id": number} for number in range(2 * PORTION + 5)]


def test_one_request_is_under_way_while_the_model_works_on_another() -> None:
    both = threading.Barrier(AT_ONCE)

    def ask(batch: Sequence[Row]) -> Predictions:
        if batch[0]["id"] < AT_ONCE * BATCH:
            both.wait(60)  # raises where one is asked for after the other
        return [Unread(row["id"], "torn") if row["id"] % 10 == 3 else {"task": row["id"]} for row in batch]

    found = list(in_portions(ask, TASKS))
    assert [len(rows) + len(unread) for rows, unread in found] == [PORTION, PORTION, 5]
    for number, (rows, unread) in enumerate(found):
        tasks = [row["id"] for row in TASKS[number * PORTION : (number + 1) * PORTION]]
        assert [row["task"] for row in rows] == [task for task in tasks if task % 10 != 3]
        assert [row.task for row in unread] == [task for task in tasks if task % 10 == 3]


def test_after_an_error_no_more_is_asked_for() -> None:
    asked: list[int] = []
    failed = threading.Event()

    def ask(batch: Sequence[Row]) -> Predictions:
        asked.append(batch[0]["id"])
        if batch[0]["id"] == 0:
            failed.set()
            raise BackendError("away")
        assert failed.wait(60)
        return list(batch)

    with pytest.raises(BackendError, match="away"):
        list(in_portions(ask, TASKS * 20))
    assert len(asked) <= 2 * PORTION // BATCH, "of the first two portions at most"
