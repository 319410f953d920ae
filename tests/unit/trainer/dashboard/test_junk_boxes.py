"""Junk boxes are listed on the page Label errors, and taken out by a button."""

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.dashboard import csrf, words
from support.dashboard_data import finished_round
from support.fake_studio import FakeStudio
from support.labelled_folder import WHEN, region

from trainer.dashboard import stored
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.left_out import Kind, LeftOut

GOOD = {**region(x=10, y=10, width=20, height=20), "id": "good"}
TWIN = {**region(x=10.5, y=10.5, width=19, height=19), "id": "twin"}
SPECK = {**region(x=60, y=10, width=0.3, height=0.3), "id": "speck"}


@pytest.fixture
def annotations(loop: WatchedLoop, fake_studio: FakeStudio) -> list[dict[str, Any]]:
    """Round 1's snapshot has junk in tasks 2 and 5; their annotations, and a clean one."""
    finished_round(loop, 25, stray=5, champion_stray=30)
    folder = loop.rounds.folder(1)
    snapshot = stored.snapshot(folder)
    assert snapshot is not None
    rows = (
        LeftOut(2, "2.png", Kind.NESTED, "'ball' at x 10 to 30"),
        LeftOut(2, "2.png", Kind.SPECK, "'ball' at x 60 to 61"),
        LeftOut(5, "5.png", Kind.SPECK, "'ball' at x 60 to 61"),
    )
    replace(snapshot, boxes_left_out=rows).write(folder)
    found = []
    results = {2: [GOOD, TWIN, SPECK], 5: [SPECK, GOOD]}
    for _ in range(5):
        number = fake_studio.add_task(annotations=1)
        row = {"id": 100 + number, "created_at": WHEN, "updated_at": WHEN, "was_cancelled": False}
        row["result"] = results.get(number, [GOOD])
        fake_studio.tasks[number]["annotations"] = [row]
        found.append(row)
    return found


def page(client: TestClient) -> str:
    return words(client.get("/label-errors?project=1").text)


def take_out(client: TestClient, task: str = "") -> str:
    form = {"csrf": csrf(client, "/label-errors?project=1"), "task": task}
    answer = client.post("/label-errors/mend?project=1", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/label-errors?project=1")
    return page(client)


def test_one_button_takes_an_images_junk_out_of_its_annotation(
    client: TestClient, annotations: list[dict[str, Any]]
) -> None:
    before = page(client)
    assert "Junk boxes 2 images with boxes that show nothing" in before
    assert "Task 2 , 2.png : ball, twice: 19 × 19 % of the image at 10.5, 10.5 %; ball, a speck" in before
    after = take_out(client, "2")
    assert "2 boxes taken out of 1 annotation" in after
    assert annotations[1]["result"] == [GOOD] and annotations[4]["result"] == [SPECK, GOOD]
    assert "Task 5 , 5.png" in after and "Task 2 , 2.png" not in after
    assert "There is nothing to take out any more" in take_out(client, "2")


def test_another_takes_it_out_of_all(client: TestClient, annotations: list[dict[str, Any]]) -> None:
    after = take_out(client)
    assert "3 boxes taken out of 2 annotations" in after and "Junk boxes" not in after
    assert all(row["result"] == [GOOD] for row in annotations)


def test_an_annotation_that_was_changed_meanwhile_is_left_as_it_is(
    client: TestClient, annotations: list[dict[str, Any]]
) -> None:
    token = csrf(client, "/label-errors?project=1")
    annotations[1]["result"] = [GOOD]
    client.post("/label-errors/mend?project=1", data={"csrf": token, "task": "2"})
    assert annotations[1]["result"] == [GOOD]
    assert "Task 2 , 2.png" not in page(client)


def test_who_labels_sees_the_list_and_no_button(
    labeller: TestClient, annotations: list[dict[str, Any]]
) -> None:
    text = labeller.get("/label-errors?project=1").text
    assert "Task 2 , 2.png" in words(text) and "/label-errors/mend" not in text


def test_what_the_snapshot_had_is_shown_while_label_studio_cannot_say(
    client: TestClient, fake_studio: FakeStudio, annotations: list[dict[str, Any]]
) -> None:
    page(client)
    fake_studio.broken = {1}
    assert "Task 5 , 5.png : speck: " in page(client)
