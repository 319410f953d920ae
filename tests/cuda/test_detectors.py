"""Every detector of configs/detectors trains and serves: on a GPU where there is one."""

from pathlib import Path

import pytest
import torch
from support.shipped_detectors import NAMES, train_and_serve


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_trains_and_serves(name: str, tmp_path: Path) -> None:
    train_and_serve(name, tmp_path, "cuda:0" if torch.cuda.is_available() else "cpu")
