"""Planted label errors come out on top."""

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support import shapes
from support.dashboard import words
from support.dashboard_data import finished_round, label_in, relabelled
from support.fake_studio import FakeStudio

from labelloop.boxes import Boxes
from labelloop.files import write_text
from labelloop.tidying import Rules
from trainer.dashboard import label_errors, predictions, stored
from trainer.dashboard.agreement import Agreement
from trainer.dashboard.doubts import LEAST, Doubter, Suspect, ranked, suspects
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.model import MOST_DRAWN
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side

BALL = 0


def missing(image: SnapshotImage) -> SnapshotImage:
    return replace(image, xyxy=image.xyxy[1:], labels=image.labels[1:])


def mistaken(image: SnapshotImage) -> SnapshotImage:
    return replace(image, labels=(1 - image.labels[0], *image.labels[1:]))


def loose(image: SnapshotImage) -> SnapshotImage:
    x1, y1, x2, y2 = image.xyxy[0]
    low = min(y2 + 0.9 * (y2 - y1), float(image.height))
    return replace(image, xyxy=((x1, y1, x2, low), *image.xyxy[1:]))


def spurious(image: SnapshotImage) -> SnapshotImage:
    return replace(image, xyxy=(*image.xyxy, (0.0, 0.0, 12.0, 12.0)), labels=(*image.labels, BALL))


PLANTED = {
    3: (missing, "a box may be missing"),
    8: (mistaken, "the label may be wrong"),
    12: (loose, "the box may be loose"),
    17: (spurious, "a box may be one too many"),
}


@pytest.fixture
def planted(loop: WatchedLoop, fake_studio: FakeStudio) -> Snapshot:
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
    images = (PLANTED[i.id][0](i) if i.id in PLANTED else i for i in clean.images)
    changed = replace(clean, images=LabelledImages(images))
    changed.write(folder)
    label_in(fake_studio, changed)
    return changed


def test_what_was_planted_is_found_and_nothing_else(client: TestClient, planted: Snapshot) -> None:
    page = words(client.get("/label-errors?project=1").text)
    assert "4 images of 25 on which v0001 disagrees with the label, surest first: 4 doubts." in page
    for number, (_, why) in PLANTED.items():
        assert f"Task {number} : {why} (" in page
    assert page.count("Task ") == len(PLANTED)
    assert page.index("Task 8 :") < page.index("Task 12 :")


@pytest.mark.parametrize("overlap", [False, True])
def test_boxes_that_people_are_not_shown_are_no_doubts(
    client: TestClient, loop: WatchedLoop, planted: Snapshot, overlap: bool
) -> None:
    """On each object the model has a second label, a second box and one inside; somewhere else a sliver. With
    overlap="true" the second labels are shown, and doubted.
    """
    folder = loop.rounds.folder(1)
    found = predictions.load(folder, "v0001")
    assert found is not None
    untidy = {image: [row for box in rows for row in around(box)] for image, rows in found.boxes.items()}
    for rows in untidy.values():
        rows.append((300.0, 10.0, 301.5, 60.0, 0.99, BALL))
    write_text(
        predictions.path_of(folder, "v0001"), found.model_copy(update={"boxes": untidy}).model_dump_json()
    )
    if overlap:
        xml = planted.label_config_xml.replace('value="ball"', 'value="ball" overlap="true"')
        replace(planted, label_config_xml=xml).write(folder)
    page = words(client.get("/label-errors?project=1").text)
    assert (
        "4 images of 25 on which v0001 disagrees with the label, surest first: 4 doubts." in page
    ) != overlap
    assert ("25 images of 25 on which" in page) == overlap


def around(box: predictions.Row) -> list[predictions.Row]:
    """A box, and others on its object that are less sure."""
    x1, y1, x2, y2, score, label = box
    side = 0.1 * (x2 - x1)
    return [
        box,
        (x1, y1, x2, y2, 0.9 * score, 1 - label),
        (x1 + side, y1, x2 + side, y2, 0.8 * score, label),
        (x1 + side, y1 + side, x2 - side, y2 - side, 0.7 * score, label),
    ]


def test_what_the_model_finds_on_an_ignored_box_is_no_doubt(
    client: TestClient, loop: WatchedLoop, planted: Snapshot
) -> None:
    """The box that image 3 lacks was drawn with an ignore label."""
    original = shapes.save(loop.settings.images_dir, 25)
    *corners, label = sorted(original.items())[2][1].boxes[0]
    box = tuple(float(corner) for corner in corners)

    def with_ignored(of_label: int) -> str:
        images = [replace(i, ignored=((of_label, box),)) if i.id == 3 else i for i in planted.images]
        replace(planted, images=LabelledImages(images)).write(loop.rounds.folder(1))
        return words(client.get("/label-errors?project=1").text)

    for ignored in (label, 2):
        assert "Task 3 :" not in with_ignored(ignored), "of its own label, and of an ignored one"
    assert "Task 3 :" in with_ignored(1 - label), "of the other label"


def test_the_doubts_are_worked_out_once_as_long_as_nothing_changes(
    client: TestClient, loop: WatchedLoop, planted: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_out: list[list[Suspect]] = []

    def counted(*args: Any) -> list[Suspect]:
        worked_out.append(suspects(*args))
        return worked_out[-1]

    monkeypatch.setattr(label_errors, "suspects", counted)
    pages = [client.get(path).text for path in ("/label-errors", "/label-errors.csv", "/label-errors")]
    assert pages[0] == pages[2] and len(worked_out) == 1
    stored_snapshot = stored.snapshot(loop.rounds.folder(1))
    assert stored_snapshot is not None
    relabelled(stored_snapshot).write(loop.rounds.folder(1))
    assert "Task 1 : the label may be wrong" in words(client.get("/label-errors").text)
    predictions.path_of(loop.rounds.folder(1), "v0001").write_text("{}")
    assert "can look at every labelled image" in words(client.get("/label-errors").text)
    assert len(worked_out) == 2


def test_it_leads_to_the_task(client: TestClient, planted: Snapshot) -> None:
    assert 'href="http://testserver:8080/projects/1/data?task=8"' in client.get("/label-errors").text


def test_before_anything_was_looked_at(client: TestClient, loop: WatchedLoop) -> None:
    assert "No round has scored the model" in words(client.get("/label-errors").text)
    finished_round(loop, 25, stray=5, champion_stray=30)
    page = client.get("/label-errors").text
    assert "v0001 can look at every labelled image" in words(page)
    assert 'action="/model/look?project=1&amp;version=v0001&amp;then=label-errors"' in page


def test_every_doubt_as_a_table(client: TestClient, planted: Snapshot) -> None:
    answer = client.get("/label-errors.csv?project=1")
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == len(PLANTED)
    assert {int(row["task"]): row["doubt"] for row in rows} == {n: why for n, (_, why) in PLANTED.items()}
    confidences = [float(row["confidence"]) for row in rows]
    assert confidences == sorted(confidences, reverse=True) and confidences[-1] >= LEAST
    spurious = next(row for row in rows if row["task"] == "17")
    assert [float(spurious[side]) for side in ("x1", "y1", "x2", "y2")] == [0, 0, 12, 12]
    assert spurious["label"] == "ball" and spurious["image"].startswith("volumes/images/shape-")


def test_there_is_no_table_before_anything_was_looked_at(client: TestClient) -> None:
    assert client.get("/label-errors.csv?project=1").status_code == 404


def doubter(snapshot: Snapshot, found: predictions.Predictions, recalls: dict[str, float]) -> Doubter:
    """Of a version that has learned nothing of how far labels overlap."""
    rules = Rules.of(None, snapshot.label_config)
    return Doubter(found, snapshot.classes, np.array([0.3, 0.3], dtype=np.float32), rules, recalls)


def doubts(label: Boxes, model: Boxes) -> list[tuple[str, float]]:
    """Of one image of balls and crates, surest first."""
    image = SnapshotImage(
        id=1,
        task=1,
        file="a.png",
        sha256="",
        width=400,
        height=400,
        side=Side.TRAIN,
        xyxy=tuple(tuple(box) for box in label.xyxy.tolist()),
        labels=tuple(label.labels.tolist()),
    )
    snapshot = Snapshot(1, shapes.LABEL_CONFIG, LabelledImages([image]), (), ())
    found = predictions.Predictions(version="v0001", fingerprint="", boxes={1: predictions.rows_of(model)})
    rows = ranked(suspects(snapshot, doubter(snapshot, found, {"ball": 1.0, "crate": 1.0})))
    return [(doubt.why, pytest.approx(doubt.confidence, abs=1e-3)) for _, doubt in rows]


def test_a_box_where_nothing_is_is_doubted_more_than_one_beside_something() -> None:
    label = Boxes.of([(0, 0, 100, 100), (200, 200, 300, 300)], [1, 1], [0, 0])
    beside = Boxes.of([(200, 275, 300, 375)], [0.9], [1])  # IoU 1/7 with the second, of another label
    assert doubts(label, beside) == [
        ("a box may be one too many", 1.0),
        ("a box may be one too many", 1 - 0.9 * (2 / 7) ** 3),
        ("a box may be missing", 0.9),
    ]


def test_a_box_far_off_is_loose_not_missing_and_one_too_many() -> None:
    label = Boxes.of([(0, 0, 100, 100)], [1], [0])
    found = Boxes.of([(0, 55, 100, 155)], [0.512], [0])  # IoU 0.29
    assert [why for why, _ in doubts(label, found)] == ["a box may be one too many", "a box may be missing"]
    found = Boxes.of([(0, 50, 100, 150)], [0.512], [0])  # IoU 1/3
    assert doubts(label, found) == [("the box may be loose", 0.8)]


def test_where_both_see_something_a_low_score_is_a_doubt_all_the_same() -> None:
    label = Boxes.of([(0, 0, 100, 100)], [1], [0])
    assert doubts(label, Boxes.of([(0, 0, 100, 100)], [0.343], [1])) == [("the label may be wrong", 0.7)]
    assert doubts(label.select(np.array([False])), Boxes.of([(0, 0, 9, 9)], [0.343], [1])) == []


def test_a_crowded_image_is_doubted_in_all_its_boxes_and_drawn_in_those_that_disagree() -> None:
    corners = [(10.0 * x, 10.0 * y, 10.0 * x + 8, 10.0 * y + 8) for x in range(50) for y in range(40)]
    image = SnapshotImage(1, 1, "a.png", "a", 500, 400, Side.TRAIN, tuple(corners), (BALL,) * 2000)
    snapshot = Snapshot(1, shapes.LABEL_CONFIG, LabelledImages([image]), (), ())
    seen = Boxes.of(corners[40:], [0.9] * 1960, [BALL] * 1960)
    found = predictions.Predictions(version="v0001", fingerprint="f", boxes={1: predictions.rows_of(seen)})
    [suspect] = suspects(snapshot, doubter(snapshot, found, {"ball": 0.95}))
    assert {doubt.box for doubt in suspect.suspicions} == set(corners[:40])
    assert len(suspect.truth) == len(suspect.found) == MOST_DRAWN
    assert sum(box.kind is Agreement.MISSED for box in suspect.truth) == 40
