"""Verify after the clock was ahead: no crop is kept from others, nothing verified waits for years."""

import time
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.fake_studio import FakeStudio
from support.verify_data import SURE, answer, crops, judged, propose, undo

from labelloop.studio import StudioError
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.verify_store import Store

Propose = Callable[..., int]


@pytest.fixture
def image(loop: WatchedLoop, fake_studio: FakeStudio) -> Propose:
    judged(loop)
    return lambda *boxes: propose(loop, fake_studio, *boxes)


@pytest.fixture
def store(app: FastAPI) -> Store:
    found: Store = app.state.parts.verifying.of(1).store
    return found


def ahead() -> float:
    return time.time() + 1e8


def test_a_page_that_somebody_left_then_is_others_now(
    image: Propose, store: Store, client: TestClient, labeller: TestClient
) -> None:
    task = image(("ball", SURE))
    crops(client)
    assert crops(labeller)["crops"] == [], "they are before the first one"
    with pytest.MonkeyPatch.context() as meanwhile:
        meanwhile.setattr(store, "_clock", ahead)
        assert [row["task"] for row in crops(client)["crops"]] == [task]
    assert [row["task"] for row in crops(labeller)["crops"]] == [task]


def test_what_had_to_wait_then_is_handed_in_now(
    image: Propose, store: Store, app: FastAPI, client: TestClient
) -> None:
    image(("ball", SURE))
    told = crops(client)

    def away() -> None:
        raise StudioError("it does not answer")

    with pytest.MonkeyPatch.context() as meanwhile:
        meanwhile.setattr(store, "_clock", ahead)
        meanwhile.setattr(app.state.parts.verifying.of(1), "hand_in", away)
        assert "Written down" in answer(client, told)
        [due] = store.due(9)
        store.settle(due.task, due.unique_id, "open", 600.0)
    assert [row.task for row in store.due(9)] == [due.task]
    store.settle(due.task, due.unique_id, "open", 600.0)
    assert store.due(9) == [], "as ever, what somebody has open waits"


def test_undo_takes_back_the_page_that_was_answered_last(
    image: Propose, store: Store, client: TestClient
) -> None:
    first, last = image(("ball", SURE)), image(("crate", SURE))
    told = crops(client, "ball")
    with pytest.MonkeyPatch.context() as meanwhile:
        meanwhile.setattr(store, "_clock", ahead)
        answer(client, told)
    answer(client, crops(client, "crate"))
    assert "Taken back: 1 crop" in undo(client)
    assert [row["task"] for row in crops(client, "crate")["crops"]] == [last] and first != last
