"""What mmdet's test pipeline does to an image, as operations of a graph: resize, pad, normalise.

Pixels are looked up and weighed as OpenCV does it, which resizes for mmdet: the runtimes' own operators give
other grey levels for an eighth of the pixels, by which scores change by 0.01.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.takeaway.errors import CannotTake

ONE = 2048
"""OpenCV weighs neighbours in whole parts of it."""
# They change nothing when an image is looked at once, as it is.
_WITHOUT_EFFECT = ("RandomFlip", "DefaultFormatBundle", "ImageToTensor", "Collect")


@dataclass(frozen=True)
class Steps:
    """scale: long and short side (keep_ratio), or width and height. mean, std: of each channel, in the order
    in which the network takes them. rgb: whether that is red-green-blue. pad_value: of each channel, after
    normalisation. square: padded to a square. divisor: else to a multiple of it.
    """

    scale: tuple[int, int]
    keep_ratio: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool
    pad_value: tuple[float, ...]
    square: bool
    divisor: int

    @classmethod
    def of(cls, pipeline: Sequence[Mapping[str, Any]]) -> "Steps":
        """Reads a config's data.test.pipeline.

        Raises:
            CannotTake: it has a step that the graph does not know; the message names it.
        """
        looks = [step for step in pipeline if step["type"] == "MultiScaleFlipAug"]
        if len(looks) != 1:
            raise CannotTake(
                "its test pipeline has no MultiScaleFlipAug, so it is not known how it looks at an image"
            )
        look = looks[0]
        if look.get("flip") or not _is_pair(look.get("img_scale")):
            raise CannotTake(
                "its test pipeline looks at an image several times; only one look fits into a graph"
            )
        resize: Mapping[str, Any] = {}
        norm: Mapping[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "to_rgb": False}
        pad: Mapping[str, Any] = {}
        pad_normalised = False
        for step in look["transforms"]:
            kind = step["type"]
            if kind == "Resize":
                resize = step
            elif kind == "Normalize":
                norm, pad_normalised = step, bool(pad)
            elif kind == "Pad":
                pad = step
            elif kind not in _WITHOUT_EFFECT:
                raise CannotTake(f"its test pipeline has the step {kind}, which the graph cannot do")
        if not resize or resize.get("interpolation", "bilinear") != "bilinear" or pad.get("size"):
            raise CannotTake("its test pipeline resizes or pads in a way that the graph cannot")
        mean, std = (tuple(float(value) for value in norm[key]) for key in ("mean", "std"))
        value = pad.get("pad_val", 0)
        value = value.get("img", 0) if isinstance(value, Mapping) else value
        values = [float(v) for v in value] if isinstance(value, Sequence) else [float(value)] * 3
        if pad_normalised:
            values = [(v - m) / s for v, m, s in zip(values, mean, std, strict=True)]
        width, height = look["img_scale"]
        return cls(
            scale=(int(width), int(height)),
            keep_ratio=bool(resize.get("keep_ratio", True)),
            mean=mean,
            std=std,
            rgb=bool(norm.get("to_rgb", True)),
            pad_value=tuple(values),
            square=bool(pad.get("pad_to_square")),
            divisor=int(pad.get("size_divisor") or 1),
        )


def _is_pair(scale: Any) -> bool:
    return isinstance(scale, Sequence) and len(scale) == 2 and all(isinstance(side, int) for side in scale)


@dataclass(frozen=True)
class Prepared:
    """images: (n, 3, height, width) float32, as the network takes them. factors: (4,) float32, by which boxes
    of them are divided to be boxes of the given images. shown: (2,), height and width without the padding.
    """

    images: Tensor
    factors: Tensor
    shown: Tensor


def prepare(images: Tensor, steps: Steps) -> Prepared:
    """images: (n, height, width, 3) uint8, red-green-blue, upright."""
    height, width = images.shape[1], images.shape[2]
    sides = torch.stack([_scalar(height), _scalar(width)])
    shown = _resized(sides, steps)
    padded = _padded(shown, steps)
    rows, columns = _places(padded[0]), _places(padded[1])
    pixels = _resampled(images, rows, columns, shown, sides)
    if not steps.rgb:
        pixels = pixels.flip(3)
    pixels = (pixels - torch.tensor(steps.mean)) / torch.tensor(steps.std)
    inside = (rows < shown[0]).view(1, -1, 1, 1) & (columns < shown[1]).view(1, 1, -1, 1)
    pixels = torch.where(inside, pixels, torch.tensor(steps.pad_value))
    ratio = shown.float() / sides.float()
    return Prepared(pixels.permute(0, 3, 1, 2), ratio[[1, 0, 1, 0]], shown)


def _places(count: Any) -> Tensor:
    """0, 1, … count - 1."""
    return torch.arange(count)


def _scalar(value: Any) -> Tensor:
    """A side as a tensor, be it a number or what a tracer puts in its place."""
    return value if isinstance(value, Tensor) else torch.tensor(value)


def _resized(sides: Tensor, steps: Steps) -> Tensor:
    """Height and width after resizing, as mmcv computes them, in whole numbers."""
    if not steps.keep_ratio:
        return torch.tensor([steps.scale[1], steps.scale[0]])
    long, short = max(steps.scale), min(steps.scale)
    longer, shorter = sides.max(), sides.min()
    by_long = long * shorter <= short * longer
    over = torch.where(by_long, torch.full_like(longer, long), torch.full_like(longer, short))
    under = torch.where(by_long, longer, shorter)
    return torch.div(2 * sides * over + under, 2 * under, rounding_mode="floor")


def _padded(shown: Tensor, steps: Steps) -> Tensor:
    if steps.square:
        return shown.max().expand(2)
    return torch.div(shown + steps.divisor - 1, steps.divisor, rounding_mode="floor") * steps.divisor


def _between(places: Tensor, shown: Tensor, side: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each new place of an axis the two nearest old ones, and how far it is from the first, in parts of
    ONE. Places behind `shown` repeat the last.
    """
    at = (torch.minimum(places, shown - 1).double() + 0.5) * (side.double() / shown.double()) - 0.5
    at = torch.minimum(at.clamp(min=0.0), (side - 1).double())
    first = torch.floor(at)
    low = first.long()
    return low, torch.minimum(low + 1, side - 1), torch.floor((at - first) * ONE + 0.5).float()


def _resampled(images: Tensor, rows: Tensor, columns: Tensor, shown: Tensor, sides: Tensor) -> Tensor:
    """What cv2.resize makes of 8-bit images with INTER_LINEAR: whole numbers, rounded down at the same
    places.
    """
    left, right, across = _between(columns, shown[1], sides[1])
    top, bottom, down = _between(rows, shown[0], sides[0])
    across, down = across.view(1, 1, -1, 1), down.view(1, -1, 1, 1)
    upper, lower = (
        torch.floor(
            (
                lines.index_select(2, left).float() * (ONE - across)
                + lines.index_select(2, right).float() * across
            )
            / 16
        )
        for lines in (images.index_select(1, top), images.index_select(1, bottom))
    )
    upper, lower = (torch.floor(part / 65536) for part in (upper * (ONE - down), lower * down))
    return torch.floor((upper + lower + 2) / 4)
