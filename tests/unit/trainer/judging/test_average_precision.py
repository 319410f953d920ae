"""Average precision against pycocotools, on made scenes."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.snapshot_images import square_image as image

from labelloop.boxes import Boxes
from trainer.dataset.labelled import SnapshotImage
from trainer.judging.evaluate import match
from trainer.judging.matches import mean_average_precision, resamples

CLASSES = ["ball", "crate", "never"]
Scene = tuple[list[SnapshotImage], list[Boxes]]


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
