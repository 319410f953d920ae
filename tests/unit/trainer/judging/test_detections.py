"""Boxes on image files, of which few are in memory at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image
from support.shapes import LABEL_CONFIG

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import ImageError, Pixels
from labelloop.labels import LabelMap, parse_label_config
from trainer.judging import detections as module
from trainer.judging.detections import detections


class Batches:
    """Stands for a detector; keeps how many images came at once."""

    batch_size = 4

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, images: Sequence[Pixels]) -> list[Boxes]:
        self.sizes.append(len(images))
        return [Boxes.empty() for _ in images]


def test_what_is_in_memory_is_bounded_by_images_and_by_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{number:02}.png" for number in range(14)]
    for number, file in enumerate(files):
        Image.new("RGB", (100, 100) if number in (3, 4) else (40, 20)).save(file)
    files[6].write_bytes(b"no image")
    monkeypatch.setattr(module, "BATCH_PIXELS", 6 * 800)
    detector = Batches()
    label_map = LabelMap.build([], parse_label_config(LABEL_CONFIG), trained=False)
    found: list[Any] = list(detections(cast(Detector, detector), label_map, files))
    assert [isinstance(one, ImageError) for one in found] == [number == 6 for number in range(14)]
    assert detector.sizes == [3, 1, 1, 6, 2]
