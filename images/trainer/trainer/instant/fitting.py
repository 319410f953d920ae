"""Trains a detector's head on the maps of a few images' views."""

import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trainer.instant.views import View

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
WARM_UP = 10
LEAST_RATE = 0.02
CLIP = 10.0
BATCH = 2
NEW_SHARE = 0.5
"""So much of what is trained on is of the images that the head has not seen yet."""


@dataclass(frozen=True)
class Budget:
    """How long a head is trained: for `iterations`, but no longer than `seconds`, by the clock."""

    iterations: int
    seconds: float


def trained(
    head: Any,
    known: Sequence[View],
    new: Sequence[View],
    budget: Budget,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """A copy of an mmdet head, trained on the views. The learning rate falls to its end within the budget.

    known: views on which it was trained before. new: of images that it has not seen.
    """
    head = deepcopy(head).requires_grad_(True).train()
    for module in head.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()  # so few images have no statistics of their own
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    draw, began, iteration = np.random.default_rng(seed), clock(), 0
    while (part := max(iteration / budget.iterations, (clock() - began) / budget.seconds)) < 1:
        rate = LEARNING_RATE * max(LEAST_RATE, (1 + math.cos(math.pi * part)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (iteration + 1) / WARM_UP)
        loss = _loss(head, _batch(known, new, draw))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(head.parameters(), CLIP)
        optimizer.step()
        iteration += 1
    return head.eval().requires_grad_(False)


def _batch(known: Sequence[View], new: Sequence[View], draw: np.random.Generator) -> list[View]:
    """BATCH views of one size."""
    if known and new:
        pools = [new if draw.random() < NEW_SHARE else known for _ in range(BATCH)]
    else:
        pools = [new or known] * BATCH
    first = pools[0][int(draw.integers(len(pools[0])))]
    batch = [first]
    for pool in pools[1:]:
        alike = [view for view in pool if view.maps[0].shape == first.maps[0].shape] or [first]
        batch.append(alike[int(draw.integers(len(alike)))])
    return batch


def _loss(head: Any, views: Sequence[View]) -> torch.Tensor:
    maps = [torch.stack([view.maps[level].float() for view in views]) for level in range(len(views[0].maps))]
    boxes, labels = [view.boxes for view in views], [view.labels for view in views]
    losses = head.loss(*head(maps), boxes, labels, [{}] * len(views))
    return torch.stack([value if value.dim() == 0 else value.sum() for value in losses.values()]).sum()
