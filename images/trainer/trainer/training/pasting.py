"""Shows a training image with copies of labelled objects from the round's other training images in it.

The first images of a project show few objects, each in one place. A copy shows one before another
background, in another size and beside other objects. This is copy-paste (Dwibedi et al., Cut, Paste and
Learn, ICCV 2017) with boxes: an object comes with a margin around its box, over which it fades into the
image.
"""

import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.datasets.builder import PIPELINES

from labelloop.boxes import Floats, iou_matrix, shares_inside
from labelloop.images import ImageError, Pixels
from trainer.training import trainset
from trainer.training.loading import ImageCache, load_shrunk

MOST = 4
"""An image gets one to so many copies."""
MARGIN = 0.25
"""What is copied around a box on each side, as a share of the box's own side."""
SCALES = (0.8, 1.25)
"""How large a copy is, relative to its object's size in its own image."""
MAX_IOU, MAX_COVERED = 0.02, 0.05
"""A copy with its margin may overlap a labelled box by that IoU, and cover that share of it."""
TRIES = 10
"""So many places are tried for a copy, which is then left out."""
LEAST_SIDE = 4
"""In pixels. Smaller copies are left out."""
SEVERAL = 2
"""Nothing is copied unless the median of the training images that show objects shows so many."""
SOURCES = 2048
"""Objects are copied from so many images at most, drawn by chance where there are more."""


@dataclass(frozen=True)
class Piece:
    """An object and what is around it. pixels: (h, w, 3) uint8. box: (4,) of the object, in the piece's
    pixels. image_side: the longer side of the image that the piece is from, in the same pixels.
    """

    pixels: Pixels
    box: Floats
    image_side: int


class Objects:
    """Which objects may be copied: where they stand in a file written from trainset.lines.

    They are of SOURCES images at most, and take 16 bytes each; which images depends on the file alone. An
    object whose piece would show some of an ignored box is none of them. Where the median image with objects
    shows fewer than SEVERAL there are none: copies beside its one object would make an image like no other.
    """

    def __init__(self, ann_file: Path) -> None:
        found: dict[int, tuple[array[int], array[int]]] = {}
        counts = array("i")
        for offset in _some_of(trainset.offsets(ann_file)):
            truth = trainset.truth(trainset.row_at(ann_file, offset))
            if len(truth["labels"]):
                counts.append(len(truth["labels"]))
            clear = ~_touching(_with_margin(truth["bboxes"]), truth["bboxes_ignore"])
            for index in np.flatnonzero(clear).tolist():
                offsets, indices = found.setdefault(int(truth["labels"][index]), (array("q"), array("q")))
                offsets.append(offset)
                indices.append(index)
        several = len(counts) > 0 and float(np.median(counts)) >= SEVERAL
        self._by_label = [(label, *found[label]) for label in sorted(found)] if several else []

    def __bool__(self) -> bool:
        return bool(self._by_label)

    def draw(self) -> tuple[int, int, int]:
        """The label, the offset of the image's line and the box's index of one object, drawn by numpy's
        generator: every label as often, however rare it is.
        """
        label, offsets, indices = self._by_label[np.random.randint(len(self._by_label))]
        at = np.random.randint(len(offsets))
        return label, offsets[at], indices[at]


@PIPELINES.register_module()
class PasteObjects:
    """A step of mmdet's pipelines: copies objects into a share of the images, where they hide no labelled
    one.

    All chance is numpy's, as in mmdet's own steps, and nothing else is remembered, so that a round that goes
    on from a checkpoint pastes what it would have pasted. Ignored boxes are left as they are: nothing is
    copied from them, nor upon them.

    ann_file: written from trainset.lines, so that objects are of training images alone. img_prefix: the
    folder to which its file names are relative. long_side: as the loader's. chance: the share of images that
    get copies. cache_bytes: the memory for pieces.
    """

    def __init__(
        self, ann_file: str, img_prefix: str, long_side: int, chance: float, cache_bytes: int
    ) -> None:
        self._path, self._images = Path(ann_file), Path(img_prefix)
        self._long_side = long_side
        self._chance = chance
        self._objects = Objects(self._path)
        self._pieces: ImageCache[Piece] = ImageCache(cache_bytes)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        if self._objects and np.random.rand() < self._chance:
            for _ in range(np.random.randint(1, MOST + 1)):
                label, offset, index = self._objects.draw()
                piece = self._piece(offset, index)
                if piece is not None:
                    _paste(results, piece, label)
        return results

    def _piece(self, offset: int, index: int) -> Piece | None:
        """None when the object's image can no longer be read."""
        name = f"{offset} {index}"
        piece = self._pieces.get(name)
        if piece is None:
            row = trainset.row_at(self._path, offset)
            truth = trainset.truth(row)
            try:
                pixels, scale = load_shrunk(self._images / row["file"], self._long_side, truth)
            except ImageError:
                return None
            piece = _cut(pixels, truth["bboxes"][index] * scale)
            self._pieces.put(name, piece, piece.pixels.nbytes)
        return piece


def _some_of(offsets: Sequence[int]) -> Sequence[int]:
    """SOURCES of them, always the same."""
    return offsets if len(offsets) <= SOURCES else sorted(random.Random(0).sample(offsets, SOURCES))


def _cut(image: Pixels, box: Floats) -> Piece:
    """box: (4,), in the image's pixels."""
    height, width = image.shape[:2]
    size = np.array([width, height, width, height], np.float32)
    box = np.clip(box, 0, size)
    left, top, right, bottom = np.clip(_with_margin(box[None])[0], 0, size).astype(int).tolist()
    pixels = image[top : max(bottom, top + 1), left : max(right, left + 1)].copy()
    return Piece(pixels, box - np.array([left, top, left, top], np.float32), max(height, width))


def _with_margin(boxes: Floats) -> Floats:
    """Boxes (n, 4) and what is copied around them."""
    around = MARGIN * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - around, boxes[:, 2:] + around], axis=1)


def _touching(areas: Floats, boxes: Floats) -> Any:
    """(n,): which of the areas (n, 4) share a pixel with any of the boxes (m, 4)."""
    return (shares_inside(areas, boxes) > 0).any(axis=1)


def _paste(results: dict[str, Any], piece: Piece, label: int) -> None:
    """Adds a copy to mmdet's results, if there is a place for it."""
    image, boxes = results["img"], results["gt_bboxes"]
    height, width = image.shape[:2]
    scale = max(height, width) / piece.image_side * np.random.uniform(*SCALES)
    rows, columns = (round(side * scale) for side in piece.pixels.shape[:2])
    if min(rows, columns) < LEAST_SIDE or rows >= height or columns >= width:
        return
    place = _place(results, rows, columns)
    if place is None:
        return
    left, top = place
    across, down = columns / piece.pixels.shape[1], rows / piece.pixels.shape[0]
    box = piece.box * np.array([across, down, across, down], np.float32)
    pixels = cv2.resize(piece.pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
    opaque = np.minimum.outer(_fade(rows, box[1], box[3]), _fade(columns, box[0], box[2]))[:, :, None]
    under = image[top : top + rows, left : left + columns]
    under[:] = np.rint(pixels * opaque + under * (1 - opaque)).astype(image.dtype)
    moved = (box + np.array([left, top, left, top], np.float32)).astype(np.float32)
    results["gt_bboxes"] = np.concatenate([boxes, moved[None]])
    results["gt_labels"] = np.append(results["gt_labels"], np.int64(label))


def _place(results: dict[str, Any], rows: int, columns: int) -> tuple[int, int] | None:
    """Left and top of a place where a piece of that size hides nothing; None where none was found."""
    height, width = results["img"].shape[:2]
    for _ in range(TRIES):
        left, top = np.random.randint(width - columns), np.random.randint(height - rows)
        if _is_free(np.array([[left, top, left + columns, top + rows]], np.float32), results):
            return left, top
    return None


def _is_free(area: Floats, results: dict[str, Any]) -> bool:
    """area: (1, 4)."""
    labelled, ignored = results["gt_bboxes"], results.get("gt_bboxes_ignore", np.zeros((0, 4), np.float32))
    beside = iou_matrix(area, labelled).max(initial=0) < MAX_IOU
    in_sight = shares_inside(labelled, area).max(initial=0) < MAX_COVERED
    return bool(beside and in_sight and not _touching(area, ignored).any())


def _fade(length: int, low: float, high: float) -> Floats:
    """(length,): how opaque a piece is along one axis: wholly from `low` to `high`, less towards its ends."""
    at = np.arange(length, dtype=np.float32)
    ends = np.minimum((at + 1) / max(low, 1), (length - at) / max(length - high, 1))
    return np.asarray(np.clip(ends, 0, 1), np.float32)
