"""What mmdet does around a YOLOX network, on a CPU: from images to its input, from its output to boxes.

mmdet's own code does the same for all its detectors, one image after another and place by place. It takes
half as long as a small network itself, most of it for what this one does not need: copies, a result of each
class, and the classes' scores at places where there is no object. The numbers are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from labelloop.boxes import Boxes, Floats
from labelloop.heads import is_yolox
from labelloop.images import Pixels

if TYPE_CHECKING:
    import torch

    Maps = tuple[list[torch.Tensor], ...]

_STEPS = ["Resize", "RandomFlip", "Pad", "DefaultFormatBundle", "Collect"]


@dataclass(frozen=True)
class Yolox:
    """One detector: `batch` before its network, `boxes` after it.

    model: mmdet's, in eval mode on the CPU. scale: of mmdet's Resize. pad: the grey level of each channel.
    """

    model: Any
    scale: tuple[int, int]
    pad: tuple[float, ...]

    @classmethod
    def of(cls, model: Any) -> "Yolox | None":
        """None for other detectors, and where a test pipeline has other steps than mmdet's YOLOX has."""
        from mmdet.models import SingleStageDetector

        head, config = getattr(model, "bbox_head", None), getattr(model, "cfg", None)
        if not isinstance(model, SingleStageDetector) or not is_yolox(head) or config is None:
            return None
        looks = [step for step in config.data.test.pipeline if step["type"] == "MultiScaleFlipAug"]
        if len(looks) != 1 or len(config.data.test.pipeline) != 2:
            return None
        scale, steps = looks[0].get("img_scale"), looks[0]["transforms"]
        one_look = isinstance(scale, tuple) and len(scale) == 2 and not looks[0].get("flip")
        # In another than a square, images of one batch differ in size, and mmdet fills them up otherwise.
        one_look = one_look and scale[0] == scale[1]
        if not one_look or [step["type"] for step in steps] != _STEPS:
            return None
        resize, pad = steps[0], steps[2]
        known = set(resize) <= {"type", "keep_ratio"} and set(pad) <= {"type", "pad_to_square", "pad_val"}
        plain = set(steps[3]) == {"type"} and set(steps[4]) <= {"type", "keys"}
        if not (known and plain and resize.get("keep_ratio", True) and pad.get("pad_to_square")):
            return None
        grey = pad.get("pad_val", 0)
        grey = grey.get("img", 0) if isinstance(grey, Mapping) else grey
        levels = tuple(map(float, grey)) if isinstance(grey, Sequence) else (float(grey),) * 3
        return cls(model, (int(scale[0]), int(scale[1])), levels)

    @property
    def side(self) -> int:
        """Of the squares that the network's input is, in pixels."""
        return self.scale[0]

    def predict(self, images: Sequence[Pixels]) -> list[Boxes]:
        """Boxes of each image, in its pixels, as mmdet's `get_bboxes` finds them; under torch.no_grad."""
        return self.boxes(*self.seen(images))

    def seen(self, images: Sequence[Pixels]) -> "tuple[Maps, Floats]":
        """The network's maps for images, and by how much each was resized: (n, 4); under torch.no_grad."""
        batch, factors = self.batch(images)
        return self.model.bbox_head(self.model.extract_feat(batch)), factors

    def batch(self, images: Sequence[Pixels]) -> "tuple[torch.Tensor, Floats]":
        """The network's input (n, 3, side, side), and by how much each image was resized: (n, 4), x y x y."""
        import mmcv
        import torch

        small = [mmcv.imrescale(image, self.scale) for image in images]
        side = max(max(one.shape[:2]) for one in small)
        batch = np.empty((len(small), 3, side, side), dtype=np.float32)
        factors = np.empty((len(small), 4), dtype=np.float32)
        for place, factor, one, image in zip(batch, factors, small, images, strict=True):
            height, width = one.shape[:2]
            place[:, :height, :width] = one.transpose(2, 0, 1)
            for channel, grey in zip(place, self.pad, strict=True):
                channel[height:] = grey
                channel[:height, width:] = grey
            factor[:] = np.tile([width / image.shape[1], height / image.shape[0]], 2)
        return torch.from_numpy(batch), factors

    def boxes(self, maps: "Maps", factors: Floats) -> list[Boxes]:
        """From a batch's maps. factors: see `batch`."""
        sizes = tuple(tuple(level.shape[-2:]) for level in maps[0])
        priors = _priors(self.model.bbox_head.prior_generator, sizes)
        return [self._of_image(maps, priors, number, row) for number, row in enumerate(factors)]

    def _of_image(self, maps: "Maps", priors: list[Floats], number: int, factor: Floats) -> Boxes:
        """A box's score is its class's times its objectness, so where this is too low nothing is looked at.

        For a maximum and a power, torch wakes all its threads, however few the numbers are; on busy cores it
        waits longer for them than everything else here takes. So these are NumPy's, and the best class is
        that of the highest score before the sigmoid, of which one a place is left then.
        """
        import torch
        from mmcv.ops import batched_nms

        cfg = self.model.bbox_head.test_cfg
        kept: list[tuple[Floats, ...]] = []
        for scores, offsets, objectness, there in zip(*maps, priors, strict=True):
            certain = objectness[number].flatten().sigmoid().numpy()
            places = np.flatnonzero(certain >= cfg.score_thr)
            of_class, moved = (level[number].flatten(1).numpy()[:, places].T for level in (scores, offsets))
            kept.append((of_class, moved, certain[places], there[places]))
        scores, moved, certain, there = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        labels = scores.argmax(axis=1)
        best = torch.from_numpy(scores[np.arange(len(labels)), labels])
        sure = best.sigmoid().numpy() * certain
        shown = np.flatnonzero(sure >= cfg.score_thr)
        if not len(shown):
            return Boxes.empty()
        corners = _corners(moved[shown], there[shown]) / factor
        arrays = (torch.from_numpy(array) for array in (corners, sure[shown], labels[shown]))
        found, order = batched_nms(*arrays, cfg.nms)
        rows: Floats = found.numpy()
        return Boxes.of(rows[:, :4], rows[:, 4], labels[shown[order.numpy()]])


def _corners(moved: Floats, priors: Floats) -> Floats:
    """(N, 4) boxes, from what a network says of N places: how far from each the middle is, and the logarithms
    of width and height, in the places' distance.
    """
    middles = moved[:, :2] * priors[:, 2:] + priors[:, :2]
    sides = np.exp(moved[:, 2:], dtype=np.float64).astype(np.float32) * priors[:, 2:]
    return np.concatenate([middles - sides / 2, middles + sides / 2], axis=1, dtype=np.float32)


@lru_cache(maxsize=8)
def _priors(generator: Any, sizes: tuple[tuple[int, int], ...]) -> list[Floats]:
    """For each level, where its places lie in the input, and how far apart: (places, 4)."""
    import torch

    made = generator.grid_priors(list(sizes), dtype=torch.float32, device="cpu", with_stride=True)
    return [level.numpy() for level in made]
