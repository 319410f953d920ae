import contextlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.shapes import LABEL_CONFIG

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
from trainer.judging.evaluate import MAX_DETECTIONS, Evaluation, evaluate, match
from trainer.judging.matches import mean_average_precision, resamples

CLASSES = ["ball", "crate", "never"]
Scene = tuple[list[SnapshotImage], list[Boxes]]


def image(number: int, xyxy: Any, labels: Any, side: Side = Side.HOLDOUT) -> SnapshotImage:
    boxes = tuple(tuple(float(side) for side in box) for box in xyxy)
    file = f"volumes/images/{number}.png"
    return SnapshotImage(
        number, number, file, f"{number:064d}", 200, 200, side, cast(Any, boxes), tuple(labels)
    )


def scene(seed: int, images: int = 25, quality: float = 0.7) -> Scene:
    """Ground truth and detections: right ones, false alarms, misses, and images without either."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for number in range(1, images + 1):
        count = int(rng.integers(0, 6))
        corner = rng.uniform(0, 140, (count, 2))
        truth = np.concatenate([corner, corner + rng.uniform(10, 60, (count, 2))], axis=1)
        labels = rng.integers(0, 2, count)
        seen = rng.random(count) < quality
        jitter = truth[seen] + rng.normal(0, 3, (int(seen.sum()), 4))
        alarms = int(rng.integers(0, 4))
        corner = rng.uniform(0, 140, (alarms, 2))
        boxes = np.concatenate([jitter, np.concatenate([corner, corner + 30], axis=1)])
        named = np.concatenate([labels[seen], rng.integers(0, 2, alarms)])
        scores = np.round(rng.uniform(0.05, 1, len(boxes)), 2)
        truths.append(image(number, truth, labels.tolist()))
        found.append(Boxes.of(boxes, scores, named))
    return truths, found


def coco_eval(images: list[SnapshotImage], found: list[Boxes]) -> COCOeval:
    """pycocotools' own summary of the same scene."""
    truth, detections = COCO(), []
    truth.dataset = {
        "images": [{"id": i.id} for i in images],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES)],
        "annotations": [],
    }
    for i, boxes in zip(images, found, strict=True):
        rows = [(*row, 0) for row in i.boxes] + [(*row, 1) for row in i.ignored]
        for label, (x1, y1, x2, y2), crowd in rows:
            identity = len(truth.dataset["annotations"]) + 1
            box, area = [x1, y1, x2 - x1, y2 - y1], (x2 - x1) * (y2 - y1)
            truth.dataset["annotations"].append(
                {
                    "id": identity,
                    "image_id": i.id,
                    "category_id": label,
                    "bbox": box,
                    "area": area,
                    "iscrowd": crowd,
                }
            )
        for label, score, (x1, y1, x2, y2) in zip(
            boxes.labels.tolist(), boxes.scores.tolist(), boxes.xyxy.tolist(), strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            detections.append({"image_id": i.id, "category_id": label, "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        result = COCOeval(truth, truth.loadRes(detections), "bbox")
        result.evaluate()
        result.accumulate()
        result.summarize()
    return result


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_what_cocoeval_says(seed: int) -> None:
    images, found = scene(seed)
    expected = coco_eval(images, found)
    matches = match(CLASSES, images, found)
    once = np.ones((1, len(images)))
    assert mean_average_precision(list(matches.values()), once)[0] == pytest.approx(
        expected.stats[0], abs=1e-9
    )
    fifty = np.nanmean([m.average_precision_50() for m in matches.values()])
    assert fifty == pytest.approx(expected.stats[1], abs=1e-9)
    per_class = expected.eval["precision"][:, :, :2, 0, -1].mean(axis=(0, 1))
    ours = [matches[name].average_precision(once)[0] for name in CLASSES[:2]]
    assert ours == pytest.approx(per_class, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_resample_scores_as_cocoeval_scores_the_drawn_images(seed: int) -> None:
    images, found = scene(seed, images=12)
    weights = resamples(len(images), 5, seed)
    ours = mean_average_precision(list(match(CLASSES, images, found).values()), weights)
    for row, score in zip(weights, ours, strict=True):
        drawn = np.repeat(np.arange(len(images)), row.astype(int))
        copies = [replace(images[index], id=number) for number, index in enumerate(drawn, 1)]
        # Scores have two decimals, so detections tie, and COCO breaks the ties of copies in another order.
        expected = coco_eval(copies, [found[index] for index in drawn]).stats[0]
        assert score == pytest.approx(expected, abs=0.02)


def test_a_resample_without_ties_scores_exactly_as_cocoeval() -> None:
    images, found = scene(3, images=12)
    rng = np.random.default_rng(0)
    scores = iter(rng.permutation(10_000) / 10_000)
    found = [Boxes.of(b.xyxy, [next(scores) for _ in range(len(b))], b.labels) for b in found]
    weights = resamples(len(images), 8, 1)
    ours = mean_average_precision(list(match(CLASSES, images, found).values()), weights)
    for row, score in zip(weights, ours, strict=True):
        drawn = np.repeat(np.arange(len(images)), row.astype(int))
        copies = [replace(images[index], id=number) for number, index in enumerate(drawn, 1)]
        expected = coco_eval(copies, [found[index] for index in drawn]).stats[0]
        assert score == pytest.approx(expected, abs=1e-3)


def test_resamples_draw_as_many_images_as_there_are_and_are_the_same_each_time() -> None:
    weights = resamples(7, 50, 1)
    assert weights.shape == (50, 7) and (weights.sum(axis=1) == 7).all()
    assert (weights == resamples(7, 50, 1)).all() and not (weights == resamples(7, 50, 2)).all()


class Fixed:
    """A detector that says what it is told."""

    label_map = Detector.label_map

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
) -> Evaluation:
    for each in (*images, *since):
        if not (settings.labelloop_home / each.file).exists():
            Image.new("RGB", (200, 200)).save(settings.labelloop_home / each.file)
    snapshot = Snapshot(1, config, LabelledImages(images), (), ())
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


def test_a_detection_on_an_ignored_box_is_neither_right_nor_wrong() -> None:
    """Of one label (0) and of any (3, behind the classes); more than half of the detection lies in it."""
    truth = [[10, 10, 50, 50]]
    plain = image(1, truth, [0])
    ignoring = replace(plain, ignored=((0, (100.0, 100.0, 180.0, 180.0)), (3, (100.0, 0.0, 180.0, 80.0))))
    found = Boxes.of(
        [[110, 110, 150, 150], [110, 10, 150, 50], [10, 10, 50, 50], [110, 110, 150, 150], [60, 0, 110, 50]],
        [0.95, 0.9, 0.8, 0.7, 0.6],
        [0, 0, 0, 1, 0],
    )
    alone, beside = (match(CLASSES, [one], [found]) for one in (plain, ignoring))
    once = np.ones((1, 1))
    assert alone["ball"].average_precision(once)[0] == pytest.approx(1 / 3), "two wrong ones come first"
    assert beside["ball"].average_precision(once)[0] == pytest.approx(1.0)
    assert beside["ball"].truths.tolist() == [1], "an ignored box is no truth that can be missed"
    assert beside["ball"].score.round(3).tolist() == [0.8, 0.6], (
        "the last one is outside but for a fifth of it"
    )
    assert beside["crate"].score.round(3).tolist() == [0.7], "the first ignored box is one of balls alone"


def test_ignored_boxes_are_those_of_cocoeval() -> None:
    """At higher thresholds COCO counts a detection again that lies in the ignored box by less."""
    images, found = scene(5)
    ignoring = [
        replace(one, xyxy=one.xyxy[:-1], labels=one.labels[:-1], ignored=((one.labels[-1], one.xyxy[-1]),))
        if one.labels
        else one
        for one in images
    ]
    precision = coco_eval(ignoring, found).eval["precision"]
    once = np.ones((1, len(images)))
    ours = match(CLASSES, ignoring, found)
    for number, name in enumerate(CLASSES[:2]):
        expected = precision[:, :, number, 0, -1]
        assert ours[name].average_precision_50() == pytest.approx(expected[0].mean())
        assert ours[name].average_precision(once)[0] == pytest.approx(expected.mean(), abs=0.06)


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

    def label_map(self, config: LabelConfig) -> LabelMap:
        return LabelMap.build(("ball", "crate"), config, trained=True)

    def predict(self, images: list[Any]) -> list[Boxes]:
        return [Boxes.of([[10, 10, 50, 50]], [0.9], [0]) for _ in images]
