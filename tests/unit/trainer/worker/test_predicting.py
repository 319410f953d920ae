"""Predictions are asked for batch by batch, several at once, and come in the tasks' order."""

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from trainer.peers.backend import Backend, BackendDown, BackendError, OtherVersion, Unread
from trainer.peers.pool import Pool
from trainer.peers.projects import Project
from trainer.worker.predicting import (
    AT_ONCE,
    BATCH,
    LEAST_S,
    PORTION,
    Predictions,
    Predictors,
    Row,
    in_portions,
)

PROJECT = Project(1, "cells", "", datetime(2026, 1, 1, tzinfo=UTC), "", "")
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


class Answers(Backend):
    """A backend, or a cluster's detectors, that notes which tasks it was asked for."""

    def __init__(self, name: str, places: int = 0) -> None:
        self.name, self.places = name, places
        self.asked: list[int] = []
        self.refusal: BackendError | None = None
        self.unread: set[int] = set()
        self.both: threading.Barrier | None = None
        self.more: Row = {}
        self.most, self.pause_s = 0, 0.0
        self._under_way = 0
        self._count = threading.Lock()

    def health(self) -> Row:
        return {"status": "UP", "places": self.places}

    def predict(
        self,
        project: Project,
        tasks: Sequence[Mapping[str, Any]],
        version: str,
        more: Row | None = None,
    ) -> list[Row | Unread]:
        with self._count:
            self.most = max(self.most, self._under_way + 1)
            self._under_way += 1
        try:
            return self._answer(tasks, more or {})
        finally:
            with self._count:
                self._under_way -= 1

    def _answer(self, tasks: Sequence[Mapping[str, Any]], more: Row) -> list[Row | Unread]:
        self.more = more
        time.sleep(self.pause_s)
        if self.both is not None:
            self.both.wait(60)
        if self.refusal is not None:
            raise self.refusal
        numbers = [task["id"] for task in tasks]
        self.asked += numbers
        return [
            Unread(number, "not here") if number in self.unread else {"task": number, "by": self.name}
            for number in numbers
        ]


@pytest.fixture
def backend() -> Answers:
    return Answers("backend")


@pytest.fixture
def detectors() -> Answers:
    """Of a cluster, with room for two batches."""
    return Answers("detectors", places=2)


@pytest.fixture
def predictors(backend: Answers, detectors: Answers, monkeypatch: pytest.MonkeyPatch) -> Predictors:
    pool = Pool("http://127.0.0.1:1", "secret")
    monkeypatch.setattr(pool, "_backend", detectors)
    monkeypatch.setattr(pool, "_open", detectors)
    return Predictors(backend, pool)


def ask(predictors: Predictors, tasks: Sequence[Row]) -> Predictions:
    return predictors.predict(PROJECT, tasks, "v0001-a", ["ball"])


def whose(made: Predictions) -> list[str]:
    return [row["by"] for row in made if not isinstance(row, Unread)]


def test_a_clusters_detectors_work_beside_the_backend(
    predictors: Predictors, backend: Answers, detectors: Answers
) -> None:
    assert predictors.at_once == AT_ONCE + 2
    # Four requests at once, of which two are with each.
    backend.both = detectors.both = threading.Barrier(4)
    tasks = TASKS[: 4 * BATCH]
    asked = in_portions(lambda batch: ask(predictors, batch), tasks, predictors.at_once)
    (rows, unread), *_ = asked
    assert [row["task"] for row in rows] == [task["id"] for task in tasks] and not unread
    assert len(backend.asked) == len(detectors.asked) == 2 * BATCH
    assert detectors.more == {"version": "v0001-a", "classes": ["ball"], "within_s": LEAST_S}


@pytest.mark.parametrize("refusal", [BackendDown("away"), BackendError("one was lost"), OtherVersion("v0")])
def test_what_detectors_cannot_do_the_backend_does(
    predictors: Predictors, backend: Answers, detectors: Answers, refusal: BackendError
) -> None:
    detectors.refusal = refusal
    assert whose(ask(predictors, TASKS[:3])) == ["backend"] * 3
    alone = isinstance(refusal, BackendDown)
    assert predictors.at_once == (AT_ONCE if alone else AT_ONCE + 2), "those that are away rest for a while"


def test_people_do_not_wait_behind_more_than_before_when_detectors_are_lost(
    predictors: Predictors, backend: Answers, detectors: Answers
) -> None:
    detectors.refusal = BackendDown("away")
    backend.pause_s = 0.02
    tasks = TASKS * 4
    asked = in_portions(lambda batch: ask(predictors, batch), tasks, at_once=12)
    assert sum(len(rows) for rows, _ in asked) == len(tasks)
    assert backend.most == AT_ONCE


def test_machines_that_see_no_image_of_a_project_are_left_in_peace(
    predictors: Predictors, detectors: Answers
) -> None:
    detectors.unread = {row["id"] for row in TASKS}
    assert whose(ask(predictors, TASKS[:5])) == ["backend"] * 5
    assert whose(ask(predictors, TASKS[5:9])) == ["backend"] * 4
    assert detectors.asked == [0, 1, 2, 3, 4]


def test_an_image_that_a_machine_cannot_read_is_read_by_the_backend(
    predictors: Predictors, backend: Answers, detectors: Answers
) -> None:
    detectors.unread = {1, 2}
    backend.unread = {2}
    made = ask(predictors, TASKS[:4])
    assert made == [
        {"task": 0, "by": "detectors"},
        {"task": 1, "by": "backend"},
        Unread(2, "not here"),
        {"task": 3, "by": "detectors"},
    ]
    assert backend.asked == [1, 2]


def test_detectors_that_do_not_answer_are_no_place(backend: Answers) -> None:
    predictors = Predictors(backend, Pool("http://127.0.0.1:1", "secret"))
    assert predictors.at_once == AT_ONCE
    assert whose(ask(predictors, TASKS[:1])) == ["backend"]
