"""mmdet's detectors as the loop asks them."""

from pathlib import Path

import numpy as np
from support.detectors import write_version
from support.families import family

from labelloop.detector import MIN_SCORE, Detector


def test_a_detector_of_two_stages_keeps_boxes_below_mmdets_threshold_too(tmp_path: Path) -> None:
    """An untrained softmax over 80 classes gives each about 0.012; mmdet leaves out what is below 0.05."""
    classes = [f"class {number}" for number in range(80)]
    folder = write_version(tmp_path / "faster_rcnn", family("faster_rcnn"), classes, seed=0)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    (boxes,) = Detector.load(folder, "cpu").predict([noise])
    assert len(boxes) > 50 and MIN_SCORE <= boxes.scores.min() < 0.05
