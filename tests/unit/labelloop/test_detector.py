"""mmdet's detectors as the loop asks them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.detectors import write_version
from support.families import family

from labelloop.boxes import iou_matrix
from labelloop.detector import Detector
from labelloop.mmdet_model import MAX_BOXES, MAX_CANDIDATES, MIN_SCORE


def test_a_detector_of_two_stages_keeps_boxes_below_mmdets_threshold_too(tmp_path: Path) -> None:
    """An untrained softmax over 80 classes gives each about 0.012; mmdet leaves out what is below 0.05."""
    classes = [f"class {number}" for number in range(80)]
    folder = write_version(tmp_path / "faster_rcnn", family("faster_rcnn"), classes, seed=0)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    (boxes,) = Detector.load(folder, "cpu").predict([noise])
    assert len(boxes) > 50 and MIN_SCORE <= boxes.scores.min() < 0.05


class Grid:
    """Answers in place of a network: `count` sure objects of a cell each on its first level, a cell apart."""

    def __init__(self, count: int, strides: list[int], side: int, distances: bool) -> None:
        self.count, self.strides, self.side, self.distances = count, strides, side, distances

    def __call__(self, _features: object) -> tuple[list[Any], ...]:
        import torch

        scores, boxes, sure = [], [], []
        for level, stride in enumerate(self.strides):
            cells = -(-self.side // stride)
            score = torch.full((1, 2, cells, cells), -9.0)
            if level == 0:
                rows, columns = np.divmod(np.arange(self.count), cells // 2)
                score[0, 0, 2 * rows, 2 * columns] = 9.0
            scores.append(score)
            # FCOS predicts distances to the sides in pixels, YOLOX the logarithm of the sides in cells.
            boxes.append(torch.full((1, 4, cells, cells), stride / 2 if self.distances else 0.0))
            sure.append(torch.full((1, 1, cells, cells), 9.0))
        return scores, boxes, sure


@pytest.mark.parametrize(
    ("name", "strides"), [("yolox", [8, 16, 32]), ("fcos", [8, 16, 32, 64, 128])], ids=["yolox", "fcos"]
)
@pytest.mark.parametrize("count", [250, 2000])
def test_every_object_of_a_crowded_image_is_found(
    name: str, strides: list[int], count: int, tmp_path: Path
) -> None:
    """FCOS's version was stored with mmdet's limits: 100 boxes in an image, out of 1,000 per level."""
    side = 8 * 2 * 45
    config = family(name)
    config.model.bbox_head.num_classes = 2
    config.data.test.pipeline[1]["img_scale"] = (side, side)
    detector = Detector.load(write_version(tmp_path / name, config, ["ball", "crate"], seed=0), "cpu")
    detector.model.extract_feat = lambda images: images
    detector.model.bbox_head.forward = Grid(count, strides, side, distances=name == "fcos")
    (boxes,) = detector.predict([np.zeros((side, side, 3), dtype=np.uint8)])
    assert len(boxes) == count and (boxes.labels == 0).all()
    assert len(np.unique(boxes.xyxy, axis=0)) == count


@pytest.mark.parametrize("name", ["faster_rcnn", "cascade_rcnn", "retinanet", "ssd", "yolov3"])
def test_no_limit_of_a_stored_version_is_below_ours(name: str, tmp_path: Path) -> None:
    folder = write_version(tmp_path / name, family(name), [f"class {number}" for number in range(80)], seed=0)
    model = Detector.load(folder, "cpu").model
    limits = [
        head.test_cfg
        for head in (getattr(model, part, None) for part in ("bbox_head", "rpn_head", "roi_head"))
        if head is not None
    ]
    assert limits and all(limit.max_per_img >= MAX_BOXES for limit in limits)
    assert all(limit.get("nms_pre", MAX_CANDIDATES) >= MAX_CANDIDATES for limit in limits)


def test_a_detector_without_suppression_keeps_its_own_number_of_answers(tmp_path: Path) -> None:
    """DETR takes the best of its queries: asked for more answers than it has, it would fail."""
    folder = write_version(tmp_path / "detr", family("deformable_detr"), ["ball"] * 80, seed=0)
    detector = Detector.load(folder, "cpu")
    assert len(detector.predict([np.zeros((64, 64, 3), dtype=np.uint8)])) == 1


@pytest.mark.parametrize("name", ["yolox", "fcos", "faster_rcnn"])
def test_raw_boxes_hold_whatever_is_predicted(name: str, tmp_path: Path) -> None:
    """And more of it, where a network gives doubles; each class has a score of its own."""
    classes = [f"class {number}" for number in range(80)]
    detector = Detector.load(write_version(tmp_path / name, family(name), classes, seed=0), "cpu")
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    predicted, (first, second) = detector.predict([noise])[0], detector.raw([noise, noise])
    assert len(first) == len(second) >= len(predicted)
    assert first.classes.shape == (len(first), 80) and (np.diff(first.evidence) <= 0).all()
    inside = np.clip(first.xyxy, 0, [64, 48, 64, 48]).astype(np.float32)
    strongest = predicted.select(np.arange(min(len(predicted), 20)))
    assert (iou_matrix(strongest.xyxy, inside).max(axis=1, initial=0) > 0.99).all()
