"""Finds boxes of one image again in a near-duplicate of it, as a neighbouring frame, where things have moved.

Each box's patch is looked for near its place, by normalised
cross-correlation (Lewis, Fast Normalized Cross-Correlation, 1995).
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from labelloop.images import Pixels, upright

Corners = tuple[float, float, float, float]
Grey = NDArray[np.uint8]

LONG_SIDE = 512
REACH = 0.12
"""How far things are looked for, as a share of the image's longer side."""
FOUND = 0.7
"""From this correlation on a box's patch is found again."""
FAR = 0.1
"""What a match at the end of the reach loses against one in place, so that things of one kind keep apart."""
PLAIN = 8.0
"""A thing that varies less, in grey levels, is found by its outline: with what is around it, by AROUND of its
sides, at least AROUND_PX. Else that is left out, for things move before it."""
AROUND, AROUND_PX = 0.15, 4
FLAT = 2.0
"""A patch that varies less, in grey levels, can't be found again; it is in place if that has not changed."""
SAME_SHAPE = 0.03


def grey_of(file: Path) -> Grey:
    """An image upright, in grey, with at most about LONG_SIDE pixels per side.

    Raises:
        ImageError, OSError: it cannot be read.
    """
    with upright(file) as page:
        factor = max(page.size) // LONG_SIDE
        small = page.reduce(factor) if factor > 1 else page
        pixels: Pixels = np.asarray(small)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def follow(before: Grey, after: Grey, boxes: Sequence[Corners]) -> list[tuple[Corners, float]]:
    """The boxes of `before` where they are in `after`, in percent of the image, and how surely: the
    correlation, from FOUND to 1. 0, and the old place, if one was not found.
    """
    (height, width), shape = before.shape, after.shape
    if abs(shape[1] / shape[0] - width / height) > SAME_SHAPE * width / height:
        return [(box, 0.0) for box in boxes]
    if shape != before.shape:
        after = np.asarray(cv2.resize(after, (width, height), interpolation=cv2.INTER_AREA))
    return [_followed(before, after, box) for box in boxes]


def _followed(before: Grey, after: Grey, box: Corners) -> tuple[Corners, float]:
    height, width = before.shape
    scale = np.array([width, height, width, height]) / 100
    left, top, right, bottom = _pixels(box, width, height, 0.0, 0.0)
    if before[top:bottom, left:right].std() < PLAIN:
        left, top, right, bottom = _pixels(box, width, height, AROUND, AROUND_PX)
    reach = max(round(REACH * max(width, height)), 1)
    low_x, low_y = max(left - reach, 0), max(top - reach, 0)
    patch = before[top:bottom, left:right]
    window = after[low_y : min(bottom + reach, height), low_x : min(right + reach, width)]
    if patch.std() < FLAT:
        there = after[top:bottom, left:right]
        changed = np.abs(patch.astype(np.int16) - there.astype(np.int16)).mean()
        return box, 1.0 if changed < FLAT else 0.0
    found = np.nan_to_num(cv2.matchTemplate(window, patch, cv2.TM_CCOEFF_NORMED), posinf=0.0, neginf=0.0)
    rows, columns = np.indices(found.shape)
    moved_x, moved_y = columns + low_x - left, rows + low_y - top
    row, column = divmod(int(np.argmax(found - FAR * np.hypot(moved_x, moved_y) / reach)), found.shape[1])
    score = float(found[row, column])
    if score < FOUND:
        return box, 0.0
    shift = np.array([moved_x[row, column], moved_y[row, column]] * 2) / scale
    x1, y1, x2, y2 = (float(side) for side in np.array(box) + shift)
    return (x1, y1, x2, y2), min(score, 1.0)


def _pixels(box: Corners, width: int, height: int, share: float, least: float) -> tuple[int, int, int, int]:
    """The pixels of a box, at least one, and so much around it: left, top, right, bottom."""
    scale = np.array([width, height, width, height]) / 100
    x1, y1, x2, y2 = np.array(box) * scale
    beside, above = max(share * (x2 - x1), least), max(share * (y2 - y1), least)
    left, top = min(max(round(x1 - beside), 0), width - 1), min(max(round(y1 - above), 0), height - 1)
    right, bottom = min(round(x2 + beside), width), min(round(y2 + above), height)
    return left, top, max(right, left + 1), max(bottom, top + 1)
