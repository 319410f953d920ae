"""Images into mmdet's training pipeline: decoded as everywhere else, kept in memory at training size."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmdet.datasets.builder import PIPELINES

from labelloop.images import ImageError, Pixels, read_image

CACHE_BYTES = 512 << 20


class ImageCache:
    """Decoded images by name; over `capacity` bytes the least recently used are dropped."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._bytes = 0
        self._images: OrderedDict[str, tuple[Pixels, float]] = OrderedDict()

    def get(self, name: str) -> tuple[Pixels, float] | None:
        entry = self._images.get(name)
        if entry is not None:
            self._images.move_to_end(name)
        return entry

    def put(self, name: str, pixels: Pixels, scale: float) -> None:
        if pixels.nbytes > self._capacity:
            return
        self._images[name] = (pixels, scale)
        self._bytes += pixels.nbytes
        while self._bytes > self._capacity:
            _, (dropped, _) = self._images.popitem(last=False)
            self._bytes -= dropped.nbytes


@PIPELINES.register_module()
class LoadSnapshotImage:
    """Takes the place of mmdet's LoadImageFromFile.

    The image comes through labelloop.images.read_image (EXIF, CMYK, 16 bits, …) and is shrunk to `long_side`
    pixels, the size the pipeline would shrink it to anyway; the ground truth in results["ann_info"] shrinks
    with it. One that has become unreadable since the snapshot yields None, at which mmdet draws another.
    """

    def __init__(self, long_side: int, cache_bytes: int = CACHE_BYTES) -> None:
        self._long_side = long_side
        self._cache = ImageCache(cache_bytes)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        name = str(Path(results["img_prefix"]) / results["img_info"]["filename"])
        entry = self._cache.get(name)
        if entry is None:
            try:
                entry = self._load(name)
            except ImageError:
                return None
            self._cache.put(name, *entry)
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

    def _load(self, name: str) -> tuple[Pixels, float]:
        pixels = read_image(Path(name))
        scale = self._long_side / max(pixels.shape[:2])
        if scale >= 1:
            return pixels, 1.0
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        return mmcv.imresize(pixels, (width, height)), scale
