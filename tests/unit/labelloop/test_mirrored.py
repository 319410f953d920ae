"""A version that looks at mirror images too finds the same in an image and in its mirror image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.detectors import write_version
from support.families import family

from labelloop.boxes import Boxes
from labelloop.card import Card
from labelloop.detector import Detector
from labelloop.mirrored import mirror, mirror_back, together

CLASSES = [f"class {number}" for number in range(80)]
BALL, CRATE = 0, 1


def found(*rows: tuple[list[float], float, int]) -> Boxes:
    corners, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Boxes.of(corners, scores, labels)


def test_boxes_of_two_looks_are_paired_by_label_and_place() -> None:
    one = found(([0, 0, 10, 10], 0.6, BALL), ([40, 0, 50, 10], 0.5, BALL), ([80, 0, 90, 10], 0.5, CRATE))
    other = found(([0, 0, 10, 12], 0.2, BALL), ([44, 0, 54, 10], 0.5, BALL), ([80, 0, 90, 10], 0.4, BALL))
    both = together(one, other)
    rows = sorted(zip(both.labels.tolist(), both.xyxy.tolist(), both.scores.tolist(), strict=True))
    assert [label for label, _, _ in rows] == [BALL, BALL, BALL, BALL, CRATE]
    assert rows[0] == (BALL, pytest.approx([0, 0, 10, 10.5]), pytest.approx(0.6)), "the mean, by the scores"
    alone = [(rows[index][1][0], round(rows[index][2], 4)) for index in (1, 2, 3, 4)]
    assert alone == [(40, 0.35), (44, 0.35), (80, 0.28), (80, 0.35)], "IoU 0.43, and another label"


def test_a_box_makes_one_pair_with_the_nearest_one() -> None:
    one = found(([0, 0, 10, 10], 0.9, BALL))
    both = together(one, found(([0, 0, 10, 8], 0.8, BALL), ([0, 0, 10, 9], 0.1, BALL)))
    assert both.scores.tolist() == pytest.approx([0.9, 0.56])
    assert both.xyxy.tolist() == [pytest.approx([0, 0, 10, 9.9]), [0, 0, 10, 8]]


def test_a_look_that_finds_nothing_leaves_the_others_boxes_less_sure() -> None:
    seen = found(([0, 0, 10, 10], 0.5, CRATE))
    for both in (together(seen, Boxes.empty()), together(Boxes.empty(), seen)):
        assert both.xyxy.tolist() == [[0, 0, 10, 10]] and both.scores.tolist() == pytest.approx([0.35])
    assert not len(together(Boxes.empty(), Boxes.empty()))


def same(one: Boxes, other: Boxes) -> bool:
    """Whether the surest boxes are the same."""
    count = min(len(one), len(other), 20)
    assert count >= 10, "nothing is compared"
    near = np.abs(one.xyxy[:count, None] - other.xyxy[None]).max(axis=2) < 1e-2
    near &= np.abs(one.scores[:count, None] - other.scores[None]) < 1e-4
    return bool((near & (one.labels[:count, None] == other.labels[None])).any(axis=1).all())


@pytest.mark.parametrize("name", ["yolox", "faster_rcnn"])
def test_a_mirrored_version_finds_the_same_in_an_image_and_in_its_mirror_image(
    name: str, tmp_path: Path
) -> None:
    """And a version whose card does not say so, as those of earlier releases, looks once."""
    config = family(name)
    config.data.test.pipeline[1]["img_scale"] = (128, 128)
    once = Detector.load(write_version(tmp_path / name, config, CLASSES, seed=0), "cpu")
    card = once.card
    assert card is not None and not card.mirrored
    twice = replace(once, card=card.model_copy(update={"mirrored": True}))
    images = [np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8) for seed in (0, 1)]
    ours, reflected = twice.predict(images), twice.predict([mirror(image) for image in images])
    assert all(same(a, mirror_back(b, 64)) for a, b in zip(ours, reflected, strict=True))
    plain = once.predict(images)
    assert not same(plain[0], mirror_back(once.predict([mirror(images[0])])[0], 64))
    assert same(twice.looking_once().predict(images)[0], plain[0]) and once.looking_once() is once
    (alone,), (boxes, raw) = twice.predict(images[:1]), twice.both(images[0])
    assert np.array_equal(boxes.xyxy, alone.xyxy) and np.array_equal(boxes.scores, alone.scores)
    assert np.array_equal(raw.xyxy, twice.raw([images[0]])[0].xyxy)
    assert np.array_equal(raw.xyxy, once.raw([images[0]])[0].xyxy), "a click waits for one look"


def test_the_cards_of_earlier_releases_say_nothing_of_mirror_images() -> None:
    assert not Card.model_validate({"version": "v0003", "detector": "yolox_nano", "classes": []}).mirrored
