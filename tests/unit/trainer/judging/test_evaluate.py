from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from support.shapes import LABEL_CONFIG
from support.snapshot_images import square_image as image

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.labels import LabelConfig, LabelMap
from labelloop.registry import Card
from labelloop.settings import Settings
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.judging.corrections import Corrections
from trainer.judging.effort import Work
from trainer.judging.evaluate import MAX_DETECTIONS, Evaluation, evaluate
from trainer.judging.matches import mean_average_precision, resamples


class Fixed:
    """A detector that says what it is told."""

    label_map = Detector.label_map
    batch_size = 4

    def __init__(self, classes: list[str], answers: list[Boxes], fingerprint: str | None) -> None:
        self.classes = tuple(classes)
        self.version = "v0003"
        self.card = Card(detector="fixed", classes=classes, dataset_fingerprint=fingerprint)
        self.answers = iter(answers)

    def predict(self, images: list[Any]) -> list[Boxes]:
        return [next(self.answers) for _ in images]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(labelloop_home=tmp_path)
    settings.images_dir.mkdir(parents=True)
    return settings


def evaluated(
    settings: Settings,
    classes: list[str],
    answers: list[Boxes],
    images: list[SnapshotImage],
    config: str = LABEL_CONFIG,
    fingerprint: str | None = None,
    since: Sequence[SnapshotImage] = (),
    asks_at_clicks: bool = True,
) -> Evaluation:
    for each in (*images, *since):
        if not (settings.labelloop_home / each.file).exists():
            Image.new("RGB", (200, 200)).save(settings.labelloop_home / each.file)
    snapshot = Snapshot(1, config, LabelledImages(images), (), (), asks_at_clicks=asks_at_clicks)
    detector = cast(Detector, Fixed(classes, answers, fingerprint))
    return evaluate(detector, snapshot, settings, lambda fraction, words: None, since)


BALL = [[10, 10, 50, 50]]


def test_only_the_hold_out_is_scored(settings: Settings) -> None:
    images = [image(1, BALL, [0], Side.TRAIN), image(2, BALL, [0])]
    evaluation = evaluated(settings, ["ball", "crate"], [Boxes.of(BALL, [0.9], [0])], images)
    assert (evaluation.images, evaluation.boxes, evaluation.labelled) == (1, 1, 2)
    assert [evaluation.mAP, evaluation.AP50] == pytest.approx([1, 1])
    assert evaluation.per_class == {"ball": pytest.approx(1)}, (
        "a label without a box on the hold-out does not count"
    )
    assert evaluation.interval == pytest.approx((1, 1))
    assert evaluation.version == "v0003" and evaluation.knows_labels
    costs_alone = pytest.approx(1 / 7.5, abs=1e-4)
    assert evaluation.score_thresholds == {"ball": pytest.approx(0.157, abs=0.001), "crate": costs_alone}


@pytest.mark.parametrize(("costs", "threshold"), [("quick", 0.5), ("careful", 0.9)])
def test_the_chosen_costs_decide_the_threshold(settings: Settings, costs: str, threshold: float) -> None:
    """In each of 60 images two objects are found, and between them three times nothing."""
    two, wrong = [*BALL, [60, 60, 90, 90]], [[100 + 30 * n, 150, 120 + 30 * n, 170] for n in range(3)]
    found = Boxes.of([two[0], *wrong, two[1]], [0.9, 0.8, 0.7, 0.6, 0.5], [0] * 5)
    chosen = settings.model_copy(update={"costs": costs, "score_threshold": 0.95})
    truth = [image(number, two, [0, 0]) for number in range(60)]
    evaluation = evaluated(chosen, ["ball", "crate"], [found] * 60, truth)
    assert evaluation.score_thresholds["ball"] == pytest.approx(threshold, abs=0.07)


@pytest.mark.parametrize(
    ("smart", "asks_at_clicks", "threshold"),
    [("", True, 0.8), (' smart="false"', True, 0.48), ("", False, 0.48)],
)
def test_where_clicks_fetch_nothing_what_lacks_a_box_is_drawn(
    settings: Settings, smart: str, asks_at_clicks: bool, threshold: float
) -> None:
    """Of two objects one is found behind five wrong boxes, which take 5 s to delete: it saves 4.4 s over a
    click and 6.5 s over drawing. So the limit is put before them, or behind.
    """
    two, wrong = [*BALL, [60, 60, 90, 90]], [[30 * n, 150, 20 + 30 * n, 170] for n in range(5)]
    found = Boxes.of([two[0], *wrong, two[1]], [0.9, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5], [0] * 7)
    chosen = settings.model_copy(update={"score_threshold": 0.95})
    truth = [image(number, two, [0, 0]) for number in range(60)]
    config = LABEL_CONFIG.replace("<RectangleLabels", f"<RectangleLabels{smart}")
    evaluation = evaluated(
        chosen, ["ball", "crate"], [found] * 60, truth, config, asks_at_clicks=asks_at_clicks
    )
    assert evaluation.score_thresholds["ball"] == pytest.approx(threshold, abs=0.01)


def test_classes_of_another_model_are_scored_as_the_labels_they_become(settings: Settings) -> None:
    config = LABEL_CONFIG.replace('value="ball"', 'value="ball" predicted_values="orange,apple"')
    both = Boxes.of([*BALL, *BALL, [100, 100, 150, 150]], [0.9, 0.8, 0.99], [0, 1, 2])
    evaluation = evaluated(settings, ["orange", "apple", "car"], [both], [image(1, BALL, [0])], config)
    assert evaluation.knows_labels and evaluation.mAP == pytest.approx(1)


def test_a_trained_versions_labels_are_scored_as_themselves(settings: Settings) -> None:
    """`predicted_values` name a class of the starting model; a label of that name was trained since."""
    labels = 'value="crate" predicted_values="ball"/><Label value="box"'
    config = LABEL_CONFIG.replace('value="crate"', labels)
    answers = [Boxes.of(BALL, [0.9], [0])]
    trained = evaluated(settings, ["ball", "crate"], answers, [image(1, BALL, [0])], config, "made")
    assert trained.mAP == pytest.approx(1)
    untrained = evaluated(settings, ["ball", "crate"], answers, [image(1, BALL, [0])], config)
    assert untrained.mAP == 0


def test_a_model_that_knows_no_label_scores_nothing(settings: Settings) -> None:
    evaluation = evaluated(settings, ["car"], [Boxes.of(BALL, [0.9], [0])], [image(1, BALL, [0])])
    assert not evaluation.knows_labels and evaluation.mAP == 0
    assert "ball" not in evaluation.score_thresholds and evaluation.corrections == Corrections.of(
        [Work(drawn=1)]
    )


def test_a_hold_out_without_boxes_or_images_has_no_score(settings: Settings) -> None:
    for images in ([image(1, [], [])], [image(1, BALL, [0], Side.TRAIN)]):
        evaluation = evaluated(settings, ["ball"], [Boxes.of(BALL, [0.9], [0])], images)
        assert (evaluation.mAP, evaluation.AP50, evaluation.interval) == (None, None, None)


def test_an_image_that_went_away_is_named_and_left_out(settings: Settings) -> None:
    images = [image(1, BALL, [0]), image(2, BALL, [0])]
    Image.new("RGB", (200, 200)).save(settings.labelloop_home / images[0].file)
    (settings.labelloop_home / images[1].file).write_bytes(b"")
    evaluation = evaluated(settings, ["ball"], [Boxes.of(BALL, [0.9], [0])], images)
    assert evaluation.images == 1 and evaluation.mAP == pytest.approx(1)
    assert "2.png" in evaluation.missing[0]


def test_an_evaluation_survives_json(settings: Settings) -> None:
    images = [image(1, BALL, [0]), image(2, BALL, [0])]
    found = [Boxes.of(BALL, [0.9], [0]), Boxes.empty()]
    evaluation = evaluated(settings, ["ball"], found, images)
    again = Evaluation.model_validate_json(evaluation.model_dump_json())
    assert again.model_dump() == evaluation.model_dump()
    weights = resamples(2, 10, 0)
    scores = [mean_average_precision(list(e.matches.values()), weights) for e in (evaluation, again)]
    np.testing.assert_array_equal(scores[0], scores[1])


def crowd(count: int) -> list[list[float]]:
    """`count` boxes of 3 pixels, 4 pixels apart."""
    return [[4.0 * x, 4.0 * y, 4.0 * x + 3, 4.0 * y + 3] for y in range(50) for x in range(50)][:count]


@pytest.mark.parametrize(
    ("objects", "found", "expected"), [(250, 110, 45 / 101), (250, 250, 1.0), (2000, 2000, 1.0)]
)
def test_each_object_of_a_crowded_image_counts(
    settings: Settings, objects: int, found: int, expected: float
) -> None:
    """With COCO's limit of 100 boxes, 110 found of 250 and all 250 of them scored the same 0.406."""
    images = [image(1, crowd(objects), [0] * objects)]
    scores = np.linspace(0.9, 0.3, objects)[:found]
    evaluation = evaluated(settings, ["ball"], [Boxes.of(crowd(found), scores, [0] * found)], images)
    assert evaluation.mAP == pytest.approx(expected) and pytest.approx(expected) == evaluation.AP50
    assert evaluation.score_thresholds["ball"] == pytest.approx(
        min(scores[-1], settings.score_threshold), abs=0.01
    )
    assert evaluation.metrics()["max_detections"] == MAX_DETECTIONS


def test_an_evaluation_of_an_earlier_release_says_that_it_counted_100_boxes(settings: Settings) -> None:
    evaluation = evaluated(settings, ["ball"], [Boxes.of(BALL, [0.9], [0])], [image(1, BALL, [0])])
    stored = evaluation.model_dump(mode="json")
    del stored["max_detections"]
    assert Evaluation.model_validate(stored).max_detections == 100


def test_map_is_of_every_box_and_a_person_corrects_one_for_an_object(settings: Settings) -> None:
    """The second label on the crate was the better guess by label, but people are not shown it."""
    truth = [image(1, [[10, 10, 90, 90]], [1])]
    seen = [
        ([10, 10, 90, 90], 0.8, 0),
        ([10, 10, 90, 88], 0.6, 1),
        ([12, 10, 90, 90], 0.5, 0),
        ([150, 10, 151, 90], 0.5, 0),
        ([11, 10, 90, 90], 0.1, 0),
    ]
    found = Boxes.of([row[0] for row in seen], [row[1] for row in seen], [row[2] for row in seen])
    evaluation = evaluated(settings, ["ball", "crate"], [found], truth, fingerprint="made")
    assert evaluation.untidy == {"second label": 1, "second box": 1, "sliver": 1}
    assert evaluation.metrics()["untidy"] == evaluation.untidy
    assert evaluation.mAP == pytest.approx(1) and len(evaluation.matches["ball"].score) == 4
    assert evaluation.corrections == Corrections.of([Work(relabelled=1)])
    both = LABEL_CONFIG.replace('value="ball"', 'value="ball" overlap="true"')
    allowed = evaluated(settings, ["ball", "crate"], [found], truth, both, "made")
    assert allowed.mAP == pytest.approx(1) and allowed.untidy == {"second box": 1, "sliver": 1}
    assert allowed.corrections == Corrections.of([Work(accepted=1, deleted=1)])


def test_corrections_are_counted_at_thresholds_that_fit_the_other_images(settings: Settings) -> None:
    """Twenty images have their ball at 0.1, which lowers the threshold; only the others may lower it."""
    images = [image(number, BALL, [0]) for number in range(1, 21)]
    found = [Boxes.of(BALL, [0.1], [0])] * 20
    evaluation = evaluated(settings, ["ball"], found, images)
    assert evaluation.score_thresholds["ball"] < 0.12 and evaluation.corrections is not None
    alone = evaluated(settings, ["ball"], found[:1], images[:1])
    assert alone.score_thresholds["ball"] < settings.score_threshold, "fitted on the image itself"
    assert alone.corrections == Corrections.of([Work(drawn=1)]), "no other image lowers it"


def test_images_labelled_since_are_corrected_at_the_models_thresholds(settings: Settings) -> None:
    """The score is of the hold-out alone."""
    newer = [image(2, BALL, [0]), image(3, BALL, [0])]
    found = [Boxes.of(BALL, [0.9], [0]), Boxes.of(BALL, [0.9], [0]), Boxes.empty()]
    evaluation = evaluated(settings, ["ball"], found, [image(1, BALL, [0])], since=newer)
    assert evaluation.images == 1 and evaluation.mAP == pytest.approx(1)
    assert evaluation.since == Corrections.of([Work(accepted=1), Work(drawn=1)])
    assert evaluation.evidence == Corrections.of([Work(accepted=1), Work(accepted=1), Work(drawn=1)])
    assert Evaluation.model_validate_json(evaluation.model_dump_json()).evidence == evaluation.evidence


def test_an_earlier_releases_evaluation_has_no_corrections_and_its_score_still_holds(
    settings: Settings,
) -> None:
    evaluation = evaluated(settings, ["ball"], [Boxes.of(BALL, [0.9], [0])], [image(1, BALL, [0])])
    stored = evaluation.model_dump(mode="json")
    for name in ("untidy", "corrections", "since"):
        del stored[name]
    old = Evaluation.model_validate(stored)
    assert old.untidy is None and old.evidence is None and old.as_today
    del stored["max_detections"]
    assert not Evaluation.model_validate(stored).as_today, "it counted 100 boxes"


def test_junk_among_the_truth_is_neither_missed_nor_needed(tmp_path: Path) -> None:
    """A sliver and the smaller of two twins lower no score."""
    scored = []
    for junk in ([], [[20, 20, 21, 90], [12, 12, 49, 49]]):
        settings = Settings(labelloop_home=tmp_path)
        settings.images_dir.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 200)).save(settings.images_dir / "1.png")
        truth = image(1, [[10, 10, 50, 50], *junk], [0] * (1 + len(junk)))
        snapshot = Snapshot(1, LABEL_CONFIG, LabelledImages([truth]), (), ())
        detector = cast(Detector, OneBox())
        scored.append(evaluate(detector, snapshot, settings, lambda fraction, text: None))
    assert [one.mAP for one in scored] == [1.0, 1.0]
    assert [one.boxes for one in scored] == [1, 1]


class OneBox:
    """Finds a ball at (10, 10, 50, 50), whatever the image."""

    version = "v0001"
    card = None
    batch_size = 4

    def label_map(self, config: LabelConfig) -> LabelMap:
        return LabelMap.build(("ball", "crate"), config, trained=True)

    def predict(self, images: list[Any]) -> list[Boxes]:
        return [Boxes.of([[10, 10, 50, 50]], [0.9], [0]) for _ in images]
