"""Loads images for mmdet's training pipeline: decoded as everywhere else, kept in memory at training size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import mmcv
import numpy as np
from mmdet.datasets.builder import PIPELINES

from labelloop.boxes import Floats
from labelloop.images import ImageError, Pixels, read_image

Kept = TypeVar("Kept")


class ImageCache(Generic[Kept]):
    """Decoded images, or pieces of such, by name: as many as fit into `capacity` bytes.

    Images are never dropped, and one that no longer fits is not added. Every epoch asks for every image once,
    in a new order, so the image that was used longest ago is as likely to be the next as any other, and
    dropping it would gain nothing.
    """

    def __init__(self, capacity: int) -> None:
        self._left = capacity
        self._images: dict[str, Kept] = {}

    def get(self, name: str) -> Kept | None:
        return self._images.get(name)

    def put(self, name: str, image: Kept, size: int) -> None:
        """size: in bytes."""
        if size <= self._left:
            self._images[name] = image
            self._left -= size


@PIPELINES.register_module()
class LoadSnapshotImage:
    """Replaces mmdet's LoadImageFromFile.

    labelloop.images.read_image reads the image (EXIF, CMYK, 16 bits, …). It is shrunk to `long_side` pixels,
    the size to which the pipeline would shrink it anyway, and the ground truth in results["ann_info"] shrinks
    with it. An image that has become unreadable since the snapshot gives None, and mmdet then draws another.

    Ignored boxes are painted over, since the losses of most detectors (YOLOX and FCOS among them) take
    `gt_bboxes_ignore` and do nothing with it.
    """

    def __init__(self, long_side: int, cache_bytes: int) -> None:
        self._long_side = long_side
        self._cache: ImageCache[tuple[Pixels, float]] = ImageCache(cache_bytes)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        name = str(Path(results["img_prefix"]) / results["img_info"]["filename"])
        entry = self._cache.get(name)
        if entry is None:
            try:
                entry = load_shrunk(Path(name), self._long_side, results["ann_info"])
            except ImageError:
                return None
            self._cache.put(name, entry, entry[0].nbytes)
        pixels, scale = entry
        info = results["ann_info"]
        for key in ("bboxes", "bboxes_ignore"):
            info[key] = np.asarray(info[key] * scale, dtype=np.float32)
        results.update(
            filename=name,
            ori_filename=results["img_info"]["filename"],
            img=pixels.copy(),
            img_shape=pixels.shape,
            ori_shape=pixels.shape,
            img_fields=["img"],
        )
        return results


def load_shrunk(path: Path, long_side: int, truth: Mapping[str, Floats]) -> tuple[Pixels, float]:
    """An image as training sees it, and its scale: its size by that in its file.

    truth: of trainset.truth, in the file's pixels.

    Raises:
        ImageError: the file cannot be read.
    """
    pixels = read_image(path)
    scale = min(long_side / max(pixels.shape[:2]), 1.0)
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        pixels = mmcv.imresize(pixels, (width, height))
    paint_over(pixels, truth["bboxes_ignore"] * scale, truth["bboxes"] * scale)
    return pixels, scale


def paint_over(pixels: Pixels, ignored: Floats, kept: Floats) -> None:
    """Paints ignored boxes (n, 4) in the image's mean colour, except where they overlap the boxes (m, 4) that
    are learned. What is there teaches neither that something is there nor that nothing is.
    """
    if not len(ignored):
        return
    painted = np.zeros(pixels.shape[:2], dtype=bool)
    for boxes, value in ((ignored, True), (kept, False)):
        for low, high in zip(np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:]), strict=True):
            (left, top), (right, bottom) = low.clip(0).astype(int), high.clip(0).astype(int)
            painted[top:bottom, left:right] = value
    pixels[painted] = pixels.mean(axis=(0, 1)).round().astype(np.uint8)
