"""An image as a frozen network sees it: as a whole in several sizes, or what is around small objects."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from labelloop.boxes import Floats
from labelloop.images import Pixels

STRIDE = 32
SCALES = (1.0, 0.77, 1.23)
"""The sizes in which a whole image is learnt from, as shares of that in which it is looked at."""
OBJECT_PX = 40.0
"""In the size in which images are looked at, three of four objects should have this side."""
LONGEST = 960
"""Images are looked at in no larger size, nor in more than three times the usual one: that takes too long."""
CROP = 416
CROPS = 8
"""So many parts of CROP pixels are learnt from where whole images would be larger."""
LEAST_SEEN = 0.5
"""An object of which less is in a part is not learnt there."""

Prepare = Callable[[Pixels], dict[str, Any]]


@dataclass(frozen=True)
class View:
    """maps: the neck's, each (channels, height, width), float16. boxes: (N, 4) in pixels of the network's
    input. labels: (N,).
    """

    maps: tuple[torch.Tensor, ...]
    boxes: torch.Tensor
    labels: torch.Tensor

    @property
    def nbytes(self) -> int:
        return sum(level.nbytes for level in self.maps)


def look_for(own: int, images: Sequence[tuple[int, Floats]]) -> int:
    """The size in which images are looked at, in pixels of the long side.

    own: that of the version upon which is learnt, the least. images: of each the long side and its boxes
    (N, 4), both in its pixels.

    >>> look_for(416, [(640, np.array([[0, 0, 100, 80]]))])
    416
    >>> look_for(416, [(640, np.array([[0, 0, 24, 24]]))])
    960
    """
    shares = [
        np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])) / side
        for side, boxes in images
        if len(boxes)
    ]
    if not shares:
        return own
    small = float(np.quantile(np.concatenate(shares), 0.25))
    wanted = min(OBJECT_PX / max(small, 1e-6), LONGEST, 3 * own)
    return round(wanted / STRIDE) * STRIDE if wanted > 1.2 * own else own


@dataclass(frozen=True)
class Part:
    """A part of an image. region: x1, y1, x2, y2 in its pixels. side: the long side that the part gets."""

    region: tuple[int, int, int, int]
    side: int
    flipped: bool


def parts_of(width: int, height: int, boxes: Floats, look: int, seed: int) -> Iterator[Part]:
    """The parts of an image that are learnt from. boxes: (N, 4) in its pixels."""
    if look <= 1.2 * CROP:
        for scale in SCALES:
            for flipped in (False, True):
                yield Part((0, 0, width, height), max(STRIDE, round(look * scale / STRIDE) * STRIDE), flipped)
        return
    draw = random.Random(seed)
    side = round(CROP * max(width, height) / look)
    across, down = min(side, width), min(side, height)
    for number in range(CROPS):
        corner = [draw.uniform(0, width), draw.uniform(0, height)]
        if len(boxes) and number < CROPS - 1:  # the last one shows what is anywhere
            x1, y1, x2, y2 = boxes[number % len(boxes)]
            corner = [
                (x1 + x2) / 2 - draw.uniform(0.2, 0.8) * across,
                (y1 + y2) / 2 - draw.uniform(0.2, 0.8) * down,
            ]
        left, top = int(np.clip(corner[0], 0, width - across)), int(np.clip(corner[1], 0, height - down))
        yield Part((left, top, left + across, top + down), CROP, draw.random() < 0.5)


@torch.no_grad()
def view(
    pixels: Pixels, boxes: Floats, labels: Sequence[int], part: Part, prepare: Prepare, network: Any
) -> View:
    """network: mmdet's detector. prepare: turns an image into its input, in the part's size."""
    left, top, right, bottom = part.region
    shown = pixels[top:bottom, left:right]
    own = np.asarray(boxes, dtype=np.float32).reshape(-1, 4) - np.array([left, top, left, top], np.float32)
    limits = np.array([right - left, bottom - top] * 2, np.float32)
    clipped = own.clip(0, limits)
    kept = _areas(clipped) >= LEAST_SEEN * np.maximum(_areas(own), 1e-6)
    clipped = clipped[kept]
    if part.flipped:
        shown = shown[:, ::-1]
        clipped = np.column_stack(
            [limits[0] - clipped[:, 2], clipped[:, 1], limits[0] - clipped[:, 0], clipped[:, 3]]
        )
    prepared = prepare(np.ascontiguousarray(shown))
    image, meta = prepared["img"][0].data, prepared["img_metas"][0].data
    maps = network.extract_feat(image[None].contiguous(memory_format=torch.channels_last))
    return View(
        tuple(level[0].half().contiguous() for level in maps),
        torch.from_numpy(clipped * np.asarray(meta["scale_factor"], np.float32)).float(),
        torch.tensor(np.asarray(labels, dtype=np.int64)[kept]),
    )


def _areas(boxes: Floats) -> Floats:
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(0)
    return np.asarray(sides[:, 0] * sides[:, 1], dtype=np.float32)


class Preparations(Mapping[int, Prepare]):
    """By size, what turns an image into a network's input of that size. make: makes one."""

    def __init__(self, make: Callable[[int], Prepare]) -> None:
        self._make = make
        self._made: dict[int, Prepare] = {}

    def __getitem__(self, side: int) -> Prepare:
        if side not in self._made:
            self._made[side] = self._make(side)
        return self._made[side]

    def __iter__(self) -> Iterator[int]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)
