"""Planted label errors come out on top."""

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from support.dashboard import words
from support.dashboard_data import finished_round

from labelloop.files import write_text
from trainer.dashboard import predictions, stored
from trainer.dashboard.loop import Loop
from trainer.snapshot import Snapshot, SnapshotImage

BALL = 0


def missing(image: SnapshotImage) -> SnapshotImage:
    return replace(image, xyxy=image.xyxy[1:], labels=image.labels[1:])


def mistaken(image: SnapshotImage) -> SnapshotImage:
    return replace(image, labels=(1 - image.labels[0], *image.labels[1:]))


def loose(image: SnapshotImage) -> SnapshotImage:
    x1, y1, x2, y2 = image.xyxy[0]
    return replace(image, xyxy=((x1, y1, x2, y2 + 0.9 * (y2 - y1)), *image.xyxy[1:]))


def spurious(image: SnapshotImage) -> SnapshotImage:
    return replace(image, xyxy=(*image.xyxy, (0.0, 0.0, 12.0, 12.0)), labels=(*image.labels, BALL))


PLANTED = {
    3: (missing, "a box may be missing"),
    8: (mistaken, "the label may be wrong"),
    12: (loose, "the box may be loose"),
    17: (spurious, "a box may be one too many"),
}


@pytest.fixture
def planted(loop: Loop) -> Snapshot:
    """Round 1 of 25 images: v0001 sees what is there, four labels were then made wrong."""
    finished_round(loop, 25, stray=0, champion_stray=40)
    folder = loop.rounds.folder(1)
    clean = stored.snapshot(folder)
    assert clean is not None
    boxes = {image.id: predictions.rows_of(predictions.truth_of(image)) for image in clean.images}
    champion = loop.models(1).champion()
    assert champion is not None
    made = predictions.Predictions(version=champion, fingerprint=clean.fingerprint, boxes=boxes)
    write_text(predictions.path_of(folder, champion), made.model_dump_json())
    images = tuple(PLANTED[i.id][0](i) if i.id in PLANTED else i for i in clean.images)
    changed = replace(clean, images=images)
    changed.write(folder)
    return changed


def test_what_was_planted_is_found_and_nothing_else(client: TestClient, planted: Snapshot) -> None:
    page = words(client.get("/label-errors?project=1").text)
    assert "4 images of 25 of round 1" in page
    for number, (_, why) in PLANTED.items():
        assert f"Task {number} : {why} (" in page
    assert page.count("Task ") == len(PLANTED)
    assert page.index("Task 8 :") < page.index("Task 12 :")


def test_it_leads_to_the_task(client: TestClient, planted: Snapshot) -> None:
    assert 'href="http://testserver:8080/projects/1/data?task=8"' in client.get("/label-errors").text


def test_before_anything_was_looked_at(client: TestClient, loop: Loop) -> None:
    assert "No round has scored the model" in words(client.get("/label-errors").text)
    finished_round(loop, 25, stray=5, champion_stray=30)
    page = client.get("/label-errors").text
    assert "v0001 can look at the 25 labelled images of round 1" in words(page)
    assert 'action="/model/look?project=1&amp;version=v0001&amp;then=label-errors"' in page
