"""Objects that are copied into other training images: what they show, and what they leave alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from mmdet.datasets import build_dataset
from PIL import Image
from support.families import FAMILIES, family
from support.small_rounds import label_config

from labelloop.boxes import iou_matrix, shares_inside
from labelloop.detector import load_detector_config
from labelloop.files import write_lines
from labelloop.settings import Settings
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.training import trainset
from trainer.training.job import Job
from trainer.training.pasting import PasteObjects
from trainer.training.recipe import PASTE, PIECES_BYTES, fit_data, fit_run

CONFIGS = Path(__file__).parents[4]
GROUND = 40
SHADES = (120, 180, 240)
"""The grey of each label's objects."""
JOB = Job(
    project_id=1, detector="yolox_nano", why="a test", parent=None, start="", start_weights="",
    start_classes=[], iterations=10, threads=2, accelerator="cpu",
)  # fmt: skip
Corners = tuple[float, float, float, float]
Results = dict[str, Any]
TWO: list[tuple[int, Corners]] = [(1, (40.0, 40.0, 50.0, 50.0)), (1, (70.0, 10.0, 82.0, 20.0))]
"""For an image of 100 x 100 pixels."""


def scene(
    folder: Path,
    number: int,
    size: tuple[int, int],
    objects: Sequence[tuple[int, Corners]],
    ignored: Sequence[Corners] = (),
    side: Side = Side.TRAIN,
) -> SnapshotImage:
    """A plain image with a plain box for each object, written to the folder. size: width, height."""
    pixels = np.full((size[1], size[0], 3), GROUND, np.uint8)
    for label, (left, top, right, bottom) in objects:
        pixels[int(top) : int(bottom), int(left) : int(right)] = SHADES[label]
    Image.fromarray(pixels).save(folder / f"{number}.png")
    boxes, labels = tuple(box for _, box in objects), tuple(label for label, _ in objects)
    made = SnapshotImage(number, number, f"{number}.png", f"{number:064}", *size, side, boxes, labels)
    return replace(made, ignored=tuple((0, box) for box in ignored))


def step(folder: Path, images: Sequence[SnapshotImage], **asked: Any) -> PasteObjects:
    write_lines(folder / "train.jsonl", trainset.lines(images))
    values: dict[str, Any] = {"long_side": 1000, "chance": 1.0, "cache_bytes": PIECES_BYTES, **asked}
    return PasteObjects(str(folder / "train.jsonl"), str(folder), **values)


def plain(size: tuple[int, int], boxes: Sequence[Corners] = (), ignored: Sequence[Corners] = ()) -> Results:
    """What mmdet's LoadAnnotations hands on, of an image without anything to see."""
    return {
        "img": np.full((size[1], size[0], 3), GROUND, np.uint8),
        "gt_bboxes": np.array(boxes, np.float32).reshape(-1, 4),
        "gt_labels": np.zeros(len(boxes), np.int64),
        "gt_bboxes_ignore": np.array(ignored, np.float32).reshape(-1, 4),
    }


def pasted(paste: PasteObjects, seed: int, results: Results) -> Results:
    np.random.seed(seed)
    return paste(results)


def within(image: npt.NDArray[np.uint8], box: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """The pixels that lie in a box, without those at its edge, which are smoothed."""
    left, top = box[:2].round().astype(int) + 3
    right, bottom = box[2:].round().astype(int) - 3
    return image[top:bottom, left:right]


def test_a_copy_lies_where_its_box_says_and_has_its_label(tmp_path: Path) -> None:
    objects = [(0, (20.0, 30.0, 60.0, 50.0)), (2, (100.0, 100.0, 130.0, 160.0))]
    paste = step(tmp_path, [scene(tmp_path, 1, (200, 200), objects)])
    sides = {0: (40, 20), 2: (30, 60)}
    counts = set()
    for seed in range(40):
        results = pasted(paste, seed, plain((400, 300)))
        boxes, labels = results["gt_bboxes"], results["gt_labels"]
        counts.add(len(boxes))
        assert boxes.dtype == np.float32 and labels.dtype == np.int64 and len(boxes) == len(labels)
        for box, label in zip(boxes, labels.tolist(), strict=True):
            assert (within(results["img"], box) == SHADES[label]).mean() > 0.95  # but for others' margins
            scales = (box[2:] - box[:2]) / sides[label] / 2  # the image is twice as wide as theirs
            assert ((scales > 0.75) & (scales < 1.3)).all()
            assert (box >= 0).all() and (box <= (400, 300, 400, 300)).all()
        labelled = np.zeros((300, 400), bool)
        for left, top, right, bottom in boxes.round().astype(int).tolist():
            labelled[max(top - 3, 0) : bottom + 3, max(left - 3, 0) : right + 3] = True  # edges are smoothed
        shown = results["img"][:, :, 0] > GROUND + 3
        assert not (shown & ~labelled).any(), "nothing of an object is shown without a box"
    assert counts >= {1, 2, 3, 4}


def test_every_label_is_copied_as_often_however_rare(tmp_path: Path) -> None:
    common = [(0, (10.0 + 20 * n, 10.0, 20.0 + 20 * n, 20.0)) for n in range(15)]
    paste = step(tmp_path, [scene(tmp_path, 1, (320, 320), [*common, (1, (100.0, 100.0, 110.0, 110.0))])])
    labels = np.concatenate([pasted(paste, seed, plain((320, 320)))["gt_labels"] for seed in range(150)])
    assert 0.4 < (labels == 1).mean() < 0.6


def test_labelled_objects_and_earlier_copies_stay_in_sight(tmp_path: Path) -> None:
    paste = step(
        tmp_path,
        [scene(tmp_path, 1, (100, 100), [(1, (30.0, 30.0, 70.0, 60.0)), (0, (10.0, 70.0, 30.0, 90.0))])],
    )
    there = [(10.0, 10.0, 60.0, 60.0), (90.0, 10.0, 100.0, 90.0)]
    added = 0
    for seed in range(60):
        boxes = pasted(paste, seed, plain((150, 150), there))["gt_bboxes"]
        assert boxes[:2].tolist() == [list(box) for box in there]
        added += len(boxes) - 2
        for n in range(2, len(boxes)):
            assert shares_inside(boxes[:n], boxes[n : n + 1]).max() < 0.05
            assert iou_matrix(boxes[:n], boxes[n : n + 1]).max() < 0.02
    assert added >= 20


def test_where_there_is_no_room_nothing_is_copied(tmp_path: Path) -> None:
    large = [(0, (10.0, 10.0, 50.0, 40.0)), (1, (50.0, 50.0, 90.0, 80.0))]
    paste = step(tmp_path, [scene(tmp_path, 1, (100, 100), large)])
    for seed in range(20):
        results = pasted(paste, seed, plain((100, 100), [(0.0, 0.0, 100.0, 100.0)]))
        assert len(results["gt_bboxes"]) == 1 and (results["img"] == GROUND).all()


@pytest.mark.parametrize(("single", "copied"), [(1, True), (2, False)])
def test_nothing_is_copied_where_most_images_show_one_object(
    single: int, copied: bool, tmp_path: Path
) -> None:
    """And no number is drawn: such a round is what it would be without this step."""
    images = [scene(tmp_path, n, (100, 100), TWO) for n in range(2)]
    images += [scene(tmp_path, n, (100, 100), TWO[:1]) for n in range(2, 2 + single)]
    images.append(scene(tmp_path, 9, (100, 100), []))
    paste = step(tmp_path, images)
    counts = [len(pasted(paste, seed, plain((100, 100)))["gt_bboxes"]) for seed in range(20)]
    np.random.seed(0)
    paste(plain((100, 100)))
    untouched = np.random.rand() == np.random.RandomState(0).rand()
    assert (max(counts) > 0) == copied and untouched != copied


def test_chance_says_which_share_of_the_images_gets_copies(tmp_path: Path) -> None:
    paste = step(tmp_path, [scene(tmp_path, 1, (100, 100), TWO)], chance=0.5)
    got = [len(pasted(paste, seed, plain((100, 100)))["gt_bboxes"]) > 0 for seed in range(200)]
    assert 80 < sum(got) < 120


def test_ignored_boxes_are_neither_copied_nor_covered(tmp_path: Path) -> None:
    near, clear = (100.0, 100.0, 120.0, 120.0), (20.0, 20.0, 40.0, 40.0)
    images = [scene(tmp_path, 1, (200, 200), [(0, near), (1, clear)], ignored=[(123.0, 90.0, 180.0, 130.0)])]
    paste = step(tmp_path, images)
    crowd = (30.0, 30.0, 170.0, 110.0)
    copies = 0
    for seed in range(60):
        results = plain((200, 200), ignored=[crowd])
        results["img"][30:110, 30:170] = 77
        results = pasted(paste, seed, results)
        assert (results["img"][30:110, 30:170] == 77).all()
        assert set(results["gt_labels"]) <= {1}, "the margin of the other shows an ignored box"
        assert results["gt_bboxes_ignore"].tolist() == [list(crowd)]
        copies += len(results["gt_labels"])
    assert copies >= 20


def test_copies_hang_on_numpys_generator_alone(tmp_path: Path) -> None:
    """Not on what was copied before, nor on what the memory holds."""
    images = [
        scene(tmp_path, n, (90 + n, 80), [(n % 3, (10.0 + n, 8.0, 30.0 + n, 20.0)), *TWO]) for n in range(9)
    ]
    warm, forgetful = step(tmp_path, images), step(tmp_path, images, cache_bytes=0)
    for seed in range(30):
        pasted(warm, seed, plain((100, 100)))
    for seed in range(30, 40):
        one, other = (pasted(paste, seed, plain((100, 100))) for paste in (warm, forgetful))
        for key in ("img", "gt_bboxes", "gt_labels"):
            assert np.array_equal(one[key], other[key])


def test_pieces_take_no_more_than_their_memory(tmp_path: Path) -> None:
    two = [(0, (10.0, 8.0, 30.0, 20.0)), (1, (10.0, 48.0, 30.0, 60.0))]
    images = [scene(tmp_path, n, (90, 80), two) for n in range(20)]
    one = 30 * 18 * 3  # with the margin
    paste = step(tmp_path, images, cache_bytes=5 * one + one // 2)
    for seed in range(100):
        pasted(paste, seed, plain((100, 100)))
    assert len(paste._pieces._images) == 5


def test_an_image_that_went_away_is_no_source(tmp_path: Path) -> None:
    paste = step(tmp_path, [scene(tmp_path, 1, (100, 100), TWO)])
    (tmp_path / "1.png").unlink()
    results = pasted(paste, 0, plain((100, 100)))
    assert not len(results["gt_bboxes"]) and (results["img"] == GROUND).all()


@pytest.mark.parametrize("size", [(32, 700), (700, 32), (33, 33), (1200, 900)])
def test_images_of_any_size_get_copies_in_proportion(size: tuple[int, int], tmp_path: Path) -> None:
    """Objects of 5 % of their image's longer side, also of an image that was shrunk when it was loaded."""
    images = [
        scene(tmp_path, 1, (2000, 1500), [(n, (500.0, 500.0 * n, 600.0, 500.0 * n + 100.0)) for n in (1, 2)])
    ]
    paste = step(tmp_path, images, long_side=500)
    longer = max(size)
    boxes = np.concatenate([pasted(paste, seed, plain(size))["gt_bboxes"] for seed in range(20)])
    sides = boxes[:, 2:] - boxes[:, :2]
    if 0.05 * longer * 1.5 * 1.25 < min(size) and 0.05 * longer * 1.5 * 0.8 >= 4:
        assert len(boxes)
    assert (sides >= 0.05 * longer * 0.8 - 1).all() and (sides <= 0.05 * longer * 1.25 + 1).all()


def test_no_object_of_the_hold_out_is_copied(tmp_path: Path) -> None:
    images = [
        scene(tmp_path, 1, (100, 100), [(0, (40.0, 40.0, 60.0, 60.0)), (0, (70.0, 70.0, 80.0, 80.0))]),
        scene(tmp_path, 2, (100, 100), [(2, (20.0, 20.0, 50.0, 50.0)), *TWO], side=Side.HOLDOUT),
    ]
    snapshot = Snapshot(1, label_config(["a", "b", "c"]), LabelledImages(images), (), ())
    paste = step(tmp_path, list(snapshot.train))
    for seed in range(50):
        results = pasted(paste, seed, plain((100, 100)))
        assert set(results["gt_labels"]) <= {0} and results["img"].max() <= SHADES[0]


@pytest.mark.parametrize(
    "name",
    ["yolox_nano", "fcos_r50", "faster_rcnn_r50", "yolox_mobilenetv2", "retinanet", "ssd", "yolov3", "detr"],
)
def test_every_familys_pipeline_takes_the_copies(name: str, tmp_path: Path) -> None:
    own = Settings(labelloop_home=CONFIGS)
    config = family(name) if name in FAMILIES else load_detector_config(name, own)
    config.setdefault("loop", {})["paste"] = 1.0
    write_lines(
        tmp_path / "train.jsonl",
        trainset.lines(
            [scene(tmp_path, 1, (200, 160), [(0, (20.0, 20.0, 60.0, 60.0)), (0, (70.0, 70.0, 90.0, 90.0))])]
        ),
    )
    fit_data(config, tmp_path / "train.jsonl", tmp_path, ["a"])
    fit_run(config, tmp_path, JOB, "cpu")
    assert f"'cache_bytes': {PIECES_BYTES}" in str(config.data.train)
    dataset = build_dataset(config.data.train)
    np.random.seed(0)
    shown = [len(dataset[0]["gt_labels"].data) for _ in range(6)]
    assert max(shown) > 2


def test_a_detector_that_does_not_ask_copies_nothing(tmp_path: Path) -> None:
    config = load_detector_config("fcos_r50", Settings(labelloop_home=CONFIGS))
    fit_data(config, tmp_path / "train.jsonl", tmp_path, ["a"])
    assert PASTE not in str(config.data.train)
