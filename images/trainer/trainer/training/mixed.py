"""Whether a GPU may serve a new version in 16 bits: only if its boxes are those of 32 bits."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from labelloop.detector import Detector
from labelloop.images import Pixels
from labelloop.precision import FULL, can_mix, choices, mix
from trainer.training.gap import VISIBLE, Gap, Limits, of_both

LIMITS = Limits(iou=0.95, pixels=1.0, score=0.02)
TOLERATED = 0.01


def served_precision(folder: Path, images: Iterable[Pixels], device: str) -> str:
    """The text for a version's card (`Card.precision`); "" on a CPU, where nothing is to be decided.

    folder: of the version; its card names no precision yet. images: of the hold-out; IMAGES_AT_ONCE are in
    memory.
    """
    found = choices(device)
    return precision_of(folder, images, device, found) if found else ""


def precision_of(folder: Path, images: Iterable[Pixels], device: str, tried: Iterable[str]) -> str:
    """The first of the precisions `tried` whose boxes are those of 32 bits, else fp32; and the reason."""
    exact = Detector.load(folder, device)
    if not can_mix(exact.model):
        return f"{FULL}; its backbone has operators of mmcv's, which are not computed in 16 bits"
    reasons = []
    for precision in tried:
        mixed = Detector.load(folder, device)
        mix(mixed.model, precision, device)
        gap = compared(exact, mixed, images)
        if not gap.boxes:
            return f"{FULL}; there is no image with boxes to compare 16 bits on"
        if gap.same:
            return f"{precision}; against {FULL} {gap}"
        reasons.append(f"{precision} has other boxes: {gap}")
    return f"{FULL}; {'; '.join(reasons)}"


def compared(exact: Detector, mixed: Detector, images: Iterable[Pixels]) -> Gap:
    """The gap between two detectors of the same classes."""
    gap = Gap(limits=LIMITS, tolerated=TOLERATED)
    thresholds = np.full(max(len(exact.classes), 1), VISIBLE, dtype=np.float32)
    for expected, found in of_both(exact, mixed, images):
        gap.add(expected, found, thresholds)
    return gap
