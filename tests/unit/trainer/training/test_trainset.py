"""Our dataset gives mmdet what its CocoDataset gave, image by image, and keeps none of it in memory."""

import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.datasets.builder import PIPELINES
from support.small_rounds import label_config

from labelloop.files import write_lines
from trainer.dataset import junk
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.training import trainset
from trainer.training.trainset import TooSmall, TrainingImages

LABELS = ["ball", "Ä 'quoted', 箱", "crate"]
Boxes = list[tuple[float, float, float, float]]


@PIPELINES.register_module()
class AsAsked:
    """Hands on what a dataset asks of its pipeline; nothing of images whose name begins with "gone"."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        return None if results["img_info"]["filename"].startswith("gone") else results


def image(number: int, name: str, size: tuple[int, int], boxes: Boxes, labels: list[int]) -> SnapshotImage:
    width, height = size
    return SnapshotImage(
        number, number, name, f"{number:064}", width, height, Side.TRAIN, tuple(boxes), tuple(labels)
    )


IMAGES = [
    replace(
        image(3, "a.jpg", (640, 480), [(1.25, 2.5, 100.1, 200.33), (0, 0, 640, 480)], [2, 0]),
        ignored=((1, (300.0, 100.0, 400.0, 250.5)),),
    ),
    image(4, "negative.jpg", (480, 640), [], []),
    image(5, 'Ünïcode/"of" 図\n.jpg', (100, 100), [(10.01, 10.01, 20.02, 30.03)], [1]),
    image(
        9,
        "tiny boxes.jpg",
        (320, 200),
        [(5, 5, 5.99, 50), (5, 5, 50, 5.5), (5, 5, 6, 6), (9.1, 9.1, 10.1, 10.1), (7, 7, 7, 7)],
        [0, 1, 2, 0, 1],
    ),
    image(11, "narrow.jpg", (31, 500), [(1, 1, 20, 20)], [0]),
    image(12, "flat.jpg", (500, 31), [], []),
    image(13, "beyond.jpg", (32, 32), [(-5, -5, 10, 10), (30, 30, 60, 60), (32, 0, 40, 9)], [0, 1, 2]),
    image(20, "only tiny.jpg", (64, 48), [(3, 3, 3.5, 3.5)], [1]),
]


def both(folder: Path, images: list[SnapshotImage]) -> tuple[TrainingImages, CocoDataset]:
    snapshot = Snapshot(1, label_config(LABELS), LabelledImages(images), (), ())
    write_lines(folder / "train.jsonl", trainset.lines(snapshot.train))
    write_lines(folder / "train.json", snapshot.coco_lines([junk.without(image) for image in snapshot.train]))
    asked = {"classes": tuple(LABELS), "img_prefix": str(folder), "pipeline": [{"type": "AsAsked"}]}
    return (
        TrainingImages(str(folder / "train.jsonl"), **asked),
        CocoDataset(str(folder / "train.json"), filter_empty_gt=False, **asked),
    )


def test_the_items_are_those_of_mmdets_dataset(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, IMAGES)
    large = [one for one in IMAGES if min(one.width, one.height) >= 32]
    assert len(ours) == len(theirs) == len(large) == 6
    assert ours.CLASSES == theirs.CLASSES
    assert ours.flag.dtype == theirs.flag.dtype and ours.flag.tolist() == theirs.flag.tolist()
    for index in range(len(theirs)):
        mine, expected = ours[index], theirs[index]
        assert mine.keys() == expected.keys()
        assert mine["img_info"].items() <= expected["img_info"].items()
        truth, expected_truth = mine.pop("ann_info"), expected.pop("ann_info")
        for key in ("bboxes", "labels", "bboxes_ignore"):
            assert truth[key].dtype == expected_truth[key].dtype
            assert truth[key].shape == expected_truth[key].shape
            assert np.array_equal(truth[key], expected_truth[key])
        del mine["img_info"], expected["img_info"]
        assert mine == expected
        if not junk.without(large[index]).ignored:
            assert ours.get_cat_ids(index) == [number - 1 for number in theirs.get_cat_ids(index)]
    assert ours[2]["img_info"]["filename"] == IMAGES[2].file
    assert [len(ours[index]["ann_info"]["labels"]) for index in range(6)] == [2, 0, 1, 0, 2, 0]
    assert [len(ours[index]["ann_info"]["bboxes_ignore"]) for index in range(6)] == [1, 0, 0, 2, 0, 0]


def test_in_place_of_an_image_that_went_away_another_of_its_kind_is_drawn_as_mmdet_draws_it(
    tmp_path: Path,
) -> None:
    images = [
        image(
            number,
            f"{'gone' if number % 3 else 'there'} {number}.jpg",
            (200, 100 + 200 * (number % 2)),
            [],
            [],
        )
        for number in range(1, 30)
    ]
    ours, theirs = both(tmp_path, images)
    drawn = []
    for dataset in (ours, theirs):
        np.random.seed(4)
        drawn.append([dataset[index]["img_info"]["filename"] for index in range(len(dataset))])
    assert drawn[0] == drawn[1]
    assert all(name.startswith("there") for name in drawn[0]) and len(set(drawn[0])) > 4


def test_a_copy_in_a_loaders_process_reads_for_itself(tmp_path: Path) -> None:
    ours, _ = both(tmp_path, IMAGES)
    copy = pickle.loads(pickle.dumps(ours))
    for index in (3, 0, 5, 0):
        assert copy[index]["img_info"] == ours[index]["img_info"]


def test_images_that_are_all_too_small_are_told(tmp_path: Path) -> None:
    small = [image(1, "a.jpg", (31, 500), [(1, 1, 9, 9)], [0]), image(2, "b.jpg", (16, 16), [], [])]
    with pytest.raises(TooSmall, match="none of the 2 training images has 32 pixels on both sides"):
        write_lines(tmp_path / "train.jsonl", trainset.lines(small))


def test_memory_does_not_grow_with_what_the_images_hold(tmp_path: Path) -> None:
    """An offset and a flag an image, 9 bytes, and as many again while they are gathered."""
    boxes: Boxes = [(10.5 + 30 * n, 20.25, 110.75 + 30 * n, 220.5) for n in range(8)]
    number = 10_000
    made = (image(n, f"volumes/images/{n}.jpg", (640, 480), boxes, [0, 1] * 4) for n in range(number))
    write_lines(tmp_path / "train.jsonl", trainset.lines(made))
    tracemalloc.start()
    try:
        images = TrainingImages(str(tmp_path / "train.jsonl"), "", ("a", "b"), [])
        last = images[number - 1]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last["img_info"]["filename"] == "volumes/images/9999.jpg"
    assert last["ann_info"]["bboxes"].shape == (8, 4)
    assert peak < 50 * number
