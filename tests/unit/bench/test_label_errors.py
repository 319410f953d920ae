"""Planted errors are what they say, and hits are counted as a person would."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bench.label_errors import Doubt, figures, hits, read
from bench.planting import LOOSE_IOU, Error, Labelled, Planted, plant
from support.coco import write_coco

from labelloop.boxes import iou_matrix
from trainer.simulate.dataset import Dataset

SHARE = 0.1


def images(count: int = 40) -> list[Labelled]:
    """Four boxes each, in a row, of two labels."""
    boxes = tuple((("cat", "dog")[n % 2], (20.0 + 70 * n, 30.0, 70.0 + 70 * n, 90.0)) for n in range(4))
    return [Labelled(f"{number}.jpg", 320, 400, boxes) for number in range(count)]


def test_each_kind_is_a_quarter_and_nothing_else_changes() -> None:
    before = images()
    after, planted = plant(before, SHARE, seed=3)
    assert Counter(error.error for error in planted) == dict.fromkeys(Error, 4)
    old = Counter((image.file, *box) for image in before for box in image.boxes)
    new = Counter((image.file, *box) for image in after for box in image.boxes)
    assert (old - new).total() == 12 and (new - old).total() == 12
    for error in planted:
        was = {box for box in old - new if box[0] == error.file}
        now = {box for box in new - old if box[0] == error.file}
        match error.error:
            case Error.MISSING:
                assert error.places[0] in {box[2] for box in was} - {box[2] for box in now}
            case Error.WRONG_LABEL:
                labels = {box[1] for box in was | now if box[2] == error.places[0]}
                assert labels == {"cat", "dog"}
            case Error.LOOSE:
                overlap = iou_matrix(np.array(error.places[:1]), np.array(error.places[1:]))[0, 0]
                assert LOOSE_IOU[0] <= overlap <= LOOSE_IOU[1]
                assert error.places[1] in {box[2] for box in now}
            case Error.SPURIOUS:
                there = next(image for image in before if image.file == error.file)
                overlaps = iou_matrix(np.array(error.places), np.array([box for _, box in there.boxes]))
                assert overlaps.max() <= 0.1


def test_a_dataset_is_read_by_file_name_and_with_its_boxes(tmp_path: Path) -> None:
    pictures = write_coco(tmp_path, "train", 0, 3)
    write_coco(tmp_path, "test", 10, 1)
    found = read(Dataset.load(tmp_path, {}))
    assert [image.file for image in found] == sorted(pictures)
    boxes = [tuple(map(float, box[:4])) for box in pictures[found[0].file].boxes]
    assert [box for _, box in found[0].boxes] == boxes
    assert {label for image in found for label, _ in image.boxes} == {"ball", "crate"}


def test_the_seed_decides() -> None:
    assert plant(images(), SHARE, 3) == plant(images(), SHARE, 3)
    assert plant(images(), SHARE, 3) != plant(images(), SHARE, 4)


def test_too_few_boxes_or_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        plant(images(2), 0.05, 0)
    one = [
        Labelled(image.file, 320, 400, tuple(("cat", box) for _, box in image.boxes)) for image in images()
    ]
    with pytest.raises(ValueError, match="too few"):
        plant(one, SHARE, 0)


PLANTED = [
    Planted("a.jpg", Error.MISSING, ((0.0, 0.0, 10.0, 10.0),)),
    Planted("a.jpg", Error.LOOSE, ((50.0, 50.0, 60.0, 60.0), (50.0, 50.0, 70.0, 60.0))),
    Planted("b.jpg", Error.SPURIOUS, ((0.0, 0.0, 10.0, 10.0),)),
    Planted("b.jpg", Error.WRONG_LABEL, ((30.0, 0.0, 40.0, 10.0),)),
]
DOUBTS = [
    Doubt("a.jpg", "missing", 0.9, (0.0, 0.0, 10.0, 9.0)),
    Doubt(
        "a.jpg", "missing", 0.8, (0.0, 0.0, 10.0, 10.0)
    ),  # there already: a second doubt finds nothing more
    Doubt("c.jpg", "", 0.7, (0.0, 0.0, 10.0, 10.0)),
    Doubt("a.jpg", "", 0.6, (50.0, 50.0, 70.0, 60.0)),
    Doubt("b.jpg", "", 0.5, (0.0, 0.0, 10.0, 10.0)),
]


def test_an_error_is_found_once_at_its_place() -> None:
    assert hits(PLANTED, DOUBTS) == [PLANTED[0], None, None, PLANTED[1], PLANTED[2]]


def test_precision_and_recall_of_the_top() -> None:
    by_name = {row.name: row for row in figures(PLANTED, DOUBTS, 80, "make bench")}
    assert by_name["precision of the first 4"].value == pytest.approx(2 / 4)
    assert by_name["precision of the first 4"].ratio == pytest.approx((2 / 4) / (4 / 80))
    assert by_name["precision of the first 10"].value == pytest.approx(3 / 10)
    assert by_name["precision: missing"].value == pytest.approx(1 / 2)
    assert by_name["recall in the first 4"].value == pytest.approx(2 / 4)
    assert by_name["recall in the first 8"].value == pytest.approx(3 / 4)
    assert by_name["recall in the first 8: spurious box"].value == 1
    assert by_name["recall in the first 8: wrong label"].value == 0
