"""mmcv's operators on made input: the same values and gradients on the GPU as on the CPU.

tests/compile takes the same input, to compare two builds of mmcv.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmcv import ops
from mmdet.models.losses import FocalLoss

from trainer.gpu_check.lines import Line
from trainer.gpu_check.place import Place, exact_arithmetic

Tensors = list[torch.Tensor]
LIMIT = 1e-3
"""Of the largest value: sums in another order differ by less, another formula by more."""


class Made:
    """Made input: random numbers, the same each time."""

    def __init__(self, seed: int = 0) -> None:
        self._random = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self._random)

    def labels(self, count: int, classes: int) -> torch.Tensor:
        return torch.randint(0, classes, (count,), generator=self._random)


def with_gradients(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> Tensors:
    """The function's value, and the gradient of each of its inputs, for one made gradient of the value."""
    leaves = [given.detach().clone().requires_grad_() for given in inputs]
    result = function(*leaves)
    result.backward(Made(1)(*result.shape).to(result.device))  # type: ignore[no-untyped-call]
    return [result.detach(), *[leaf.grad for leaf in leaves if leaf.grad is not None]]


def boxes(made: Made) -> tuple[torch.Tensor, torch.Tensor]:
    """300 boxes (x1, y1, x2, y2) and their scores."""
    corners, scores = made(300, 4) * 100, made(300)
    corners[:, 2:] += corners[:, :2]
    return corners, scores


def regions(made: Made) -> torch.Tensor:
    """20 regions (image, x1, y1, x2, y2) of two images of 40 pixels."""
    number = torch.arange(20.0)[:, None] // 10
    corners = made(20, 4) * 10
    return torch.cat([number, corners[:, :2], corners[:, :2] + corners[:, 2:] + 1], 1)


def cases(device: str) -> Mapping[str, Callable[[], Sequence[torch.Tensor]]]:
    """By name, what each operator gives for its input, on a device."""

    def at(*tensors: torch.Tensor) -> list[Any]:
        return [tensor.to(device) for tensor in tensors]

    made = Made()
    corners, scores = at(*boxes(made))
    maps, areas, weights = at(made(2, 8, 20, 20), regions(made), made(6, 8, 3, 3))
    offsets, masks = at(made(2, 18, 20, 20) - 0.5, made(2, 9, 20, 20))
    logits, labels = at(made(200, 4) * 8 - 4, made.labels(200, 5))
    focal = FocalLoss(reduction="none")
    pooled = {
        f"roi_align {mode}": lambda mode=mode: with_gradients(
            lambda x: ops.roi_align(x, areas, (5, 5), 0.5, 2, mode, True), maps
        )
        for mode in ("avg", "max")
    }
    return {
        "nms": lambda: list(ops.nms(corners, scores, 0.5)),
        **pooled,
        "sigmoid_focal_loss": lambda: with_gradients(lambda x: focal(x, labels), logits),
        "deform_conv2d": lambda: with_gradients(
            lambda x, o, w: ops.deform_conv2d(x, o, w, 1, 1, 1, 1, 1), maps, offsets, weights
        ),
        "modulated_deform_conv2d": lambda: with_gradients(
            lambda x, o, m, w: ops.modulated_deform_conv2d(x, o, m, w, None, 1, 1, 1, 1, 1),
            *(maps, offsets, masks, weights),
        ),
    }


def check(place: Place) -> Iterator[Line]:
    on_cpu, on_gpu = cases("cpu"), cases(place.device)
    for name, expected in on_cpu.items():
        with exact_arithmetic():
            yield line(name, expected(), on_gpu[name]())


def line(name: str, expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> Line:
    """How far two results are apart: the value's first, then each gradient's, as a share of the largest."""
    gaps = [_gap(a, b) for a, b in zip(expected, found, strict=True)]
    figures = {"value off by": gaps[0], **({"gradients off by": max(gaps[1:])} if gaps[1:] else {})}
    return Line("operators", name, max(gaps) <= LIMIT, dict(figures), f"at most {LIMIT} of the largest value")


def _gap(expected: torch.Tensor, found: torch.Tensor) -> float:
    """inf for other shapes and for what is no number."""
    found = found.to(expected.device)
    if found.shape != expected.shape or not torch.isfinite(found.float()).all():
        return float("inf")
    apart = (expected.double() - found.double()).abs().max()
    return float(apart / expected.double().abs().max().clamp(min=1e-12))
