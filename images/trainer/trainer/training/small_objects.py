"""How large the labelled objects are to the network, which sees every image at one size."""

from array import array
from collections.abc import Iterable
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from trainer.dataset.labelled import SnapshotImage

if TYPE_CHECKING:
    from mmcv import Config

SMALL_PX = 8
"""A cell of the finest map of all our detectors. Two objects in one cell cannot be told apart."""
TOLD_FROM = 0.05


class SmallObjects(BaseModel):
    """look: the longer side of an image to the network, in pixels. boxes: all labelled ones. small: those
    whose side (the root of the area) is less than SMALL_PX at that size. typical_px: the median side.
    """

    look: int
    boxes: int
    small: int
    typical_px: float

    @property
    def words(self) -> str | None:
        """What a person should know, and what helps; None when hardly an object is small."""
        if self.small < TOLD_FROM * self.boxes or not self.small:
            return None
        return (
            f"{self.small} of {self.boxes} boxes are less than {SMALL_PX} px a side to the network, which "
            f"sees an image at {self.look} px (the median box is {self.typical_px:.1f} px): it hardly finds "
            "such objects. What helps: cut the photos into tiles before you label them, or a detector that "
            "looks closer, such as DETECTOR=yolox_s (640 px), or a larger train_size and test_size in a "
            "config of your own"
        )


def measure(images: Iterable[SnapshotImage], config: "Config") -> SmallObjects | None:
    """config: the detector's, as a round's version is served. None without a box, or where the config does
    not resize images to one size.
    """
    size = _scale(config)
    if size is None:
        return None
    long, short = max(size), min(size)
    sides = array("f")
    for image in images:
        factor = min(long / max(image.width, image.height), short / min(image.width, image.height))
        sides.extend(factor * sqrt((x2 - x1) * (y2 - y1)) for x1, y1, x2, y2 in image.xyxy)
    if not sides:
        return None
    small = sum(side < SMALL_PX for side in sides)
    return SmallObjects(
        look=long, boxes=len(sides), small=small, typical_px=round(float(np.median(sides)), 2)
    )


def look_of(config: "Config") -> int | None:
    """The longer side of an image to the network; None where images are not resized to one size."""
    size = _scale(config)
    return max(size) if size else None


def _scale(config: "Config") -> tuple[int, int] | None:
    """The size into which the test pipeline fits an image."""
    for step in config.data.test.pipeline:
        size = step.get("img_scale")
        if isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, int) for side in size):
            return int(size[0]), int(size[1])
    return None
