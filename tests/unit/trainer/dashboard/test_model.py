"""One version, label by label and box by box: what is shown is what evaluation and predictions hold."""

import html
import re

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.dashboard import words
from support.dashboard_data import Guesser, finished_round, snapshot_of
from support.made_scores import History, Judge
from support.made_scores import snapshot_of as made_snapshot
from support.shapes import LABELS

from labelloop.boxes import Boxes, iou_matrix
from labelloop.detector import Detector
from labelloop.files import write_text
from trainer.dashboard import agreement, predictions, stored
from trainer.dashboard.agreement import Agreement
from trainer.dashboard.curves import effect, precision_recall
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.snapshot import Snapshot
from trainer.judging.evaluate import match
from trainer.judging.scoring import score_all

STRAY = 8


@pytest.fixture
def looked_at(loop: WatchedLoop, monkeypatch: pytest.MonkeyPatch) -> predictions.Predictions:
    """Round 1 has promoted v0001, which has then looked at the round's images."""
    finished_round(loop, 30, stray=STRAY, champion_stray=30)
    folder = loop.rounds.folder(1)
    snapshot = stored.snapshot(folder)
    assert snapshot is not None
    guesser = Guesser.of(loop, snapshot, "v0001", STRAY)
    monkeypatch.setattr(Detector, "load", lambda path, device: guesser)
    return predictions.make(folder, loop.models(1).folder("v0001"), loop.settings)


def test_the_starting_model_before_any_round(client: TestClient) -> None:
    page = words(client.get("/model?project=1").text)
    assert "Model v0000" in page
    assert "No round has scored this version on the hold-out yet." in page


@pytest.mark.parametrize(
    "query, status", [("version=v0009", 404), ("version=../..", 404), ("score=2", 400), ("score=x", 400)]
)
def test_bad_input(client: TestClient, query: str, status: int) -> None:
    assert client.get(f"/model?project=1&{query}").status_code == status


def held_out(images: range) -> Snapshot:
    return made_snapshot(range(1, 21), images)


def test_each_label_has_its_stored_score(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 30, stray=STRAY, champion_stray=30)
    judged = stored.judgement(loop.rounds.folder(1))
    assert judged is not None and judged.champion is not None
    for version, evaluation in (("v0001", judged.candidate), ("v0000", judged.champion)):
        page = words(client.get(f"/model?version={version}").text)
        assert f"Hold-out mAP today {evaluation.mAP:.3f}" in page
        for label, score in evaluation.per_class.items():
            assert f"{label} {score:.3f} {evaluation.matches[label].truths.sum()} " in page
    assert "Model v0001" in words(client.get("/model").text)  # the one in service


def test_a_score_says_on_which_images_it_was_made(client: TestClient, loop: WatchedLoop) -> None:
    """The hold-out has grown since v0001 was promoted: both pages show both of its scores, and say so."""
    first, second = held_out(range(100, 105)), held_out(range(100, 110))
    history = History(loop.models(1), loop.rounds)
    history.round(first, {"ball": 3, "crate": 3}, {"ball": 1, "crate": 1})
    for page in ("/", "/model"):
        shown = words(client.get(page).text)
        # An earlier release left the round: its score is told, and with the round's number.
        assert "Hold-out mAP 0.604" in shown and "on 5 images, in round 1" in shown
        assert "At its promotion 0.208 → 0.604 on 5 images, in round 1" in shown and "grown" not in shown
    history.round(second, {"ball": 2}, {"ball": 5, "crate": 5}, promote=False)
    history.round(held_out(range(100, 115)), {"ball": 2}, {"ball": 9, "crate": 9}, promote=False)
    history.models.promote("v0000")
    history.models.promote("v0001")
    for page in ("/", "/model"):
        shown = words(client.get(page).text)
        assert "Hold-out mAP 0.604 (0.000 to 1.000) on 15 images, in round 3" in shown
    assert "v0001, not yet scored today v0000, not yet scored today" in words(client.get("/model").text)
    score_all(
        history.models, history.rounds, 1, Judge({"v0000": {"ball": 3, "crate": 3}, "candidate of 00002": {}})
    )
    for page in ("/", "/model"):
        shown = words(client.get(page).text)
        assert "Hold-out mAP today 0.604" in shown and "on 15 images, of round 3" in shown
        assert "At its promotion 0.208 → 0.604 on 5 images, in round 1; the hold-out has grown since" in shown
    assert "v0001, mAP 0.604 today v0000, mAP 0.208 today" in words(client.get("/model").text)


def test_roll_back_compares_all_versions_on_the_same_images(client: TestClient, loop: WatchedLoop) -> None:
    history = History(loop.models(1), loop.rounds)
    history.round(held_out(range(100, 105)), {"ball": 4, "crate": 4}, {"ball": 1, "crate": 1})
    history.round(held_out(range(100, 110)), {"ball": 6, "crate": 6}, {"ball": 5, "crate": 5})
    found = html.unescape(words(client.get("/do/rollback").text))
    assert "v0000, yolox_nano, not yet scored today" in found
    assert "v0001 not yet scored on today's hold-out 0.208 → 0.802 on 5 images" in found
    score_all(history.models, history.rounds, 1, Judge({"v0000": {"ball": 1}}))
    found = html.unescape(words(client.get("/do/rollback").text))
    assert "mAP today: on today's hold-out (10 images, that of round 2), the same images for all" in found
    assert "v0001, yolox_nano, mAP 0.505 today v0000, yolox_nano, mAP 0.054 today" in found
    assert "v0002 in service 0.604 0.505 → 0.604 on 10 images" in found
    assert "v0001 0.505 0.208 → 0.802 on 5 images" in found and "v0000 0.054 20" in found


def test_the_threshold_counts_as_a_person_would(loop: WatchedLoop) -> None:
    """Found, missed and spurious boxes at a score, against counting overlaps one by one."""
    snapshot = snapshot_of(loop, 40)
    guesser = Guesser.of(loop, snapshot, "v0001", STRAY)
    found = [guesser._guess(image) for image in snapshot.images]
    matches = match(snapshot.classes, snapshot.images, found)
    for score in (0.05, 0.5, 0.8, 0.9, 1.0):
        for index, label in enumerate(LABELS):
            hits = shown = truths = 0
            for image, boxes in zip(snapshot.images, found, strict=True):
                truth = predictions.truth_of(image)
                truth = truth.select(truth.labels == index)
                mine = boxes.select((boxes.labels == index) & (boxes.scores >= score))
                hits += int((iou_matrix(truth.xyxy, mine.xyxy).max(axis=1, initial=0.0) >= 0.5).sum())
                shown, truths = shown + len(mine), truths + len(truth)
            got = effect(label, matches[label], score)
            assert (got.found, got.missed, got.spurious) == (hits, truths - hits, shown - hits)


def test_the_curve_ends_at_the_recall_of_all_boxes(loop: WatchedLoop) -> None:
    snapshot = snapshot_of(loop, 40)
    guesser = Guesser.of(loop, snapshot, "v0001", STRAY)
    matches = match(snapshot.classes, snapshot.images, [guesser._guess(image) for image in snapshot.images])
    for found in matches.values():
        recall, precision = precision_recall(found)
        assert recall == sorted(recall) and precision == sorted(precision, reverse=True)
        all_boxes = effect("", found, 0.0)
        assert recall[-1] == pytest.approx(all_boxes.recall)
        assert precision[-1] == pytest.approx(all_boxes.precision)
        sampled = [
            max((p for r, p in zip(recall, precision, strict=True) if r >= at), default=0)
            for at in np.linspace(0, 1, 101)
        ]
        assert np.mean(sampled) == pytest.approx(found.average_precision_50())


def test_what_was_left_out_is_counted_and_nothing_is_said_of_what_nobody_counted(
    client: TestClient, loop: WatchedLoop
) -> None:
    finished_round(loop, 30, stray=STRAY, champion_stray=30)
    path = loop.rounds.folder(1) / "evaluation.json"
    judged = stored.judgement(path.parent)
    assert judged is not None
    for untidy, said in (
        (
            {"second label": 19, "second box": 1, "speck": 2},
            "19 boxes of a second label on an object, 1 second box of the same label, 2 specks.",
        ),
        ({}, "though the score would do: none."),
        (None, None),
    ):
        counted = judged.candidate.model_copy(update={"untidy": untidy})
        judged.model_copy(update={"candidate": counted}).write(path.parent)
        page = words(client.get("/model?version=v0001").text)
        assert ("One object gets one box." in page) == (said is not None) and (said or "") in page


def test_the_boxes_that_are_compared_are_those_that_people_are_shown(
    client: TestClient, loop: WatchedLoop, looked_at: predictions.Predictions
) -> None:
    """A look of an earlier release holds a second label on each object; none of them is spurious."""
    folder = loop.rounds.folder(1)
    before = client.get("/model?version=v0001").text
    doubled = {
        number: [*rows, *((*row[:4], round(row[4] - 0.01, 4), 1 - row[5]) for row in rows)]
        for number, rows in looked_at.boxes.items()
    }
    write_text(
        predictions.path_of(folder, "v0001"),
        looked_at.model_copy(update={"boxes": doubled}).model_dump_json(),
    )
    after = client.get("/model?version=v0001").text
    matrix = [page[page.index('class="matrix"') : page.index("The worst images")] for page in (before, after)]
    assert matrix[0] == matrix[1]


def test_the_slider_works_without_scripts_and_with(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 30, stray=STRAY, champion_stray=30)
    judged = stored.judgement(loop.rounds.folder(1))
    assert judged is not None
    part = client.get("/model/threshold?version=v0001&score=0.9").text
    assert part.strip() in client.get("/model?version=v0001&score=0.9").text
    said = words(part)
    ball = effect("ball", judged.candidate.matches["ball"], 0.9)
    assert f"ball {ball.found} {ball.missed} {ball.spurious}" in said
    boxes = judged.candidate.boxes
    assert (
        f"Boxes from a score of 1.00 on: of {boxes} labelled boxes 0 are "
        f"found and {boxes} missed; 0 that are "
        f"proposed are wrong (spurious)." in words(client.get("/model/threshold?version=v0001&score=1").text)
    )


def test_the_curves_are_drawn(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 30, stray=STRAY, champion_stray=30)
    drawn = client.get("/model/precision-recall.svg?version=v0001&theme=dark").text
    assert "ball" in drawn and "crate" in drawn and "recall" in drawn


def test_the_matrix_and_the_worst_images(
    client: TestClient, loop: WatchedLoop, looked_at: predictions.Predictions
) -> None:
    html = client.get("/model?version=v0001").text
    judged, snapshot = stored.judgement(loop.rounds.folder(1)), stored.snapshot(loop.rounds.folder(1))
    assert judged is not None and snapshot is not None
    matrix = html[html.index('class="matrix"') : html.index("The worst images")]
    counts = [int(cell) for cell in re.findall(r'<td class="count[^"]*">(\d+)</td>', matrix)]
    assert len(counts) == 8
    by_label = {
        name: [label for image in snapshot.holdout for label in image.labels].count(index)
        for index, name in enumerate(LABELS)
    }
    assert (sum(counts[0:3]), sum(counts[3:6])) == (by_label["ball"], by_label["crate"])
    tasks = [int(task) for task in re.findall(r"data\?task=(\d+)", html)]
    assert set(tasks) <= {image.task for image in snapshot.holdout}
    assert "http://testserver:8080/projects/1/data?task=" in html
    assert html.count('<svg class="boxes"') == 2 * len(tasks) > 0


def test_the_worst_image_comes_first(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 30, stray=0, champion_stray=30)
    folder = loop.rounds.folder(1)
    snapshot = stored.snapshot(folder)
    assert snapshot is not None
    boxes = {image.id: predictions.rows_of(predictions.truth_of(image)) for image in snapshot.images}
    half, _, _, none, *_ = snapshot.holdout
    boxes[half.id] = [*boxes[half.id], (0.0, 0.0, 5.0, 5.0, 0.9, 0)]
    boxes[none.id] = []
    made = predictions.Predictions(version="v0001", fingerprint=snapshot.fingerprint, boxes=boxes)
    write_text(predictions.path_of(folder, "v0001"), made.model_dump_json())
    page = words(client.get("/model?version=v0001").text)
    assert f"Task {none.task} : {len(none.labels)} missed" in page
    assert page.index(f"Task {none.task} :") < page.index(f"Task {half.task} : 1 spurious")
    assert page.count("Task ") == 2


def test_images_are_upright_and_small(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 10, stray=0, champion_stray=30)
    loop.models(1).promote("v0000")
    assert client.get("/model/images/3.jpg").status_code == 404, "it has not looked"
    made = predictions.Predictions(version="v0000", fingerprint="f", boxes={})
    write_text(predictions.path_of(loop.rounds.folder(1), "v0000"), made.model_dump_json())
    answer = client.get("/model/images/3.jpg?project=1")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
    assert "v0000 has not looked at an image 99" in words(client.get("/model/images/99.jpg").text)
    assert client.get("/model/images/1.jpg?version=v0009").status_code == 404
    assert client.get("/model/images/..%2f..%2fsecret.jpg").status_code in (400, 404)
    for path in loop.settings.images_dir.iterdir():
        path.unlink()
    assert client.get("/model/images/3.jpg").status_code == 404


BOX = (10.0, 10.0, 50.0, 50.0)


@pytest.mark.parametrize(
    "truth, found, kinds",
    [
        ([], [], []),
        ([(BOX, 0)], [(BOX, 0.9, 0)], [Agreement.RIGHT]),
        ([(BOX, 0)], [((10.0, 10.0, 50.0, 34.0), 0.9, 0)], [Agreement.LOOSE]),
        ([(BOX, 0)], [(BOX, 0.9, 1)], [Agreement.WRONG_LABEL]),
        ([(BOX, 0)], [((60.0, 60.0, 90.0, 90.0), 0.9, 0)], [Agreement.MISSED, Agreement.SPURIOUS]),
        ([(BOX, 0)], [(BOX, 0.5, 0), (BOX, 0.9, 0)], [Agreement.RIGHT, Agreement.SPURIOUS]),
        # The right label wins over the higher score of a wrong one.
        ([(BOX, 0)], [(BOX, 0.9, 1), (BOX, 0.5, 0)], [Agreement.RIGHT, Agreement.SPURIOUS]),
        ([(BOX, 0), (BOX, 1)], [(BOX, 0.9, 1)], [Agreement.RIGHT, Agreement.MISSED]),
    ],
)
def test_boxes_are_compared(truth: list, found: list, kinds: list[Agreement]) -> None:  # type: ignore[type-arg]
    findings = agreement.compare(
        Boxes.of([b for b, _ in truth], [1.0] * len(truth), [label for _, label in truth]),
        Boxes.of([b for b, *_ in found], [s for _, s, _ in found], [label for *_, label in found]),
    )
    assert [finding.kind for finding in findings] == kinds
