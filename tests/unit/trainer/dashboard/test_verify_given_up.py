"""An image that somebody begins, or labels, meanwhile is not off the page Verify for good."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.fake_studio import FakeStudio
from support.verify_data import SURE, answer, crops, judged, propose

from trainer.dashboard import verifying
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.verify_store import Store
from trainer.system.database import writing

BEA = 2
BEGUN = {"drafts": [{"user": BEA, "result": []}]}
LABELLED = {"total_annotations": 1, "annotations": [{"id": 77, "was_cancelled": False, "result": []}]}
GIVEN_UP: dict[str, Any] = {"drafts": [], "total_annotations": 0, "annotations": []}

Propose = Callable[..., int]


@pytest.fixture
def image(loop: WatchedLoop, fake_studio: FakeStudio) -> Propose:
    """Makes tasks; v0001 is in service."""
    judged(loop)
    return lambda *boxes: propose(loop, fake_studio, *boxes)


@pytest.fixture(autouse=True)
def looked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tasks are read anew each time that the page has too few crops, and it waits until they are."""
    monkeypatch.setattr(verifying, "FIRST_WAIT_S", 60.0)
    monkeypatch.setattr(verifying, "AGAIN_S", 0.0)
    monkeypatch.setattr(verifying, "AGAIN_TIMES", 0.0)


def shown(client: TestClient) -> list[int]:
    """The tasks whose crops are before a person, once all were looked through."""
    crops(client)
    return [row["task"] for row in crops(client)["crops"]]


@pytest.mark.parametrize(
    ("meanwhile", "when"),
    [(BEGUN, "before it is shown again"), (LABELLED, "while its page is open")],
    ids=["begun", "labelled"],
)
def test_an_image_that_somebody_began_and_gave_up_comes_back(
    image: Propose, client: TestClient, fake_studio: FakeStudio, meanwhile: dict[str, Any], when: str
) -> None:
    task = image(("ball", SURE))
    told = crops(client)
    fake_studio.tasks[task].update(deepcopy(meanwhile))
    if when == "while its page is open":
        assert "1 image labelled by somebody else meanwhile" in answer(client, told)
    assert crops(client)["crops"] == []
    fake_studio.tasks[task].update(deepcopy(GIVEN_UP))
    assert shown(client) == [task]
    assert "1 image submitted" in answer(client, crops(client))


def test_what_an_earlier_release_took_off_for_good_comes_back(
    image: Propose, app: FastAPI, client: TestClient, loop: WatchedLoop
) -> None:
    tasks = [image(("ball", SURE)) for _ in range(4)]
    crops(client)
    store = app.state.parts.verifying.of(1).store
    with writing(store.path) as database:
        for task, did in zip(tasks, ("labelled", "begun", "submitted", "drafted"), strict=True):
            database.execute("UPDATE task SET state = 'done', did = ?, rows = '' WHERE id = ?", (did, task))
        database.execute("DELETE FROM box")
    Store(loop.models(1).path)
    assert shown(client) == tasks[:3], "a draft of Verify's own stays one"


def test_a_submitted_image_whose_annotation_was_deleted_comes_back_once_it_cannot_be_taken_back(
    image: Propose, app: FastAPI, client: TestClient, fake_studio: FakeStudio
) -> None:
    first, other = image(("ball", SURE)), image(("crate", SURE))
    answer(client, crops(client, "ball"))
    fake_studio.tasks[first].update(deepcopy(GIVEN_UP))
    assert shown(client) == [other]
    store = app.state.parts.verifying.of(1).store
    now = store._clock
    store._clock = lambda: now() + 25 * 3600
    answer(client, crops(client, "crate"))
    assert shown(client) == [first]
