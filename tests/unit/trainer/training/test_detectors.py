"""Detectors of configs/detectors that have two stages, or operators of mmcv's, train and serve.

tests/cuda does the same with all of them.
"""

from pathlib import Path

import pytest
from support.shipped_detectors import train_and_serve


@pytest.mark.parametrize("name", ["faster_rcnn_r50", "vfnet_r50"])
def test_a_detector_trains_and_serves(name: str, tmp_path: Path) -> None:
    train_and_serve(name, tmp_path)
