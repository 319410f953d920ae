"""What every reader makes of a dataset: images with their labels, one by one."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from labelloop.errors import Explained

Corners = tuple[float, float, float, float]
CROWD = "crowd"
"""The label of COCO's crowd regions, which are no single object."""


class IntakeError(Explained):
    """The labels cannot be brought; the message names the file and value, and the way out."""


class ShapeKind(StrEnum):
    """What a shape was drawn as."""

    BOX = "box"
    ROTATED = "rotated box"
    POLYGON = "polygon"


@dataclass(frozen=True, slots=True)
class Shape:
    """One object. corners: x1 y1 x2 y2 of the shape's hull, in the units of its record. score: 0..1."""

    label: str
    corners: Corners
    kind: ShapeKind = ShapeKind.BOX
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """What one person or program said about an image. No shape: there is nothing in it.

    others: Label Studio's results that are no boxes (choices, texts, …), as they are. source_id: what tells
    it from another one of the same image. by: an e-mail address. The dates are in ISO 8601.
    """

    shapes: tuple[Shape, ...] = ()
    others: tuple[Mapping[str, Any], ...] = ()
    source_id: str = ""
    by: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    lead_time: float | None = None
    was_cancelled: bool = False
    ground_truth: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """An image of a dataset.

    name: what the dataset calls it, with slashes. origin: where that stands, for messages. file: the image;
    None when the dataset lacks it, and `missing` says why. url: where to fetch it then. scale: the width and
    height of the image in the units of its shapes; None for pixels of the image, whose size the dataset does
    not tell. stated: the size that the dataset tells, in pixels. labels: empty when nobody has labelled the
    image. problem: why it cannot be used; "" when it can.
    """

    name: str
    origin: str
    file: Path | None = None
    url: str | None = None
    scale: tuple[float, float] | None = None
    stated: tuple[int, int] | None = None
    labels: tuple[Labels, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""
    problem: str = ""


class BadShape(ValueError):
    """A shape cannot be understood; the message says why."""


def hull(points: Iterable[tuple[float, float]]) -> Corners:
    """The corners of the box around points.

    Raises:
        BadShape: there are fewer than two points, or one is not finite.
    """
    xs, ys = zip(*points, strict=True) if (points := list(points)) else ((), ())
    if len(xs) < 2 or not all(map(math.isfinite, (*xs, *ys))):
        raise BadShape("too few points, or one that is no number")
    return min(xs), min(ys), max(xs), max(ys)


def in_short(value: object) -> str:
    """A value for messages. Of lists within lists, which may be of any depth, the kind alone is told."""
    plain = (int, float, str, type(None))
    flat = isinstance(value, list) and all(isinstance(each, plain) for each in value)
    return repr(str(value)[:40]) if flat or isinstance(value, plain) else f"a {type(value).__name__}"


def stated_size(width: object, height: object) -> tuple[int, int] | None:
    """The size of an image as a dataset tells it, in whole pixels; None where it tells none that can be.

    >>> stated_size("40", 20.0), stated_size(0.5, 20), stated_size("inf", -3)
    ((40, 20), None, None)
    """
    try:
        found = int(number(width, "width")), int(number(height, "height"))
    except BadShape:
        return None
    return found if min(found) > 0 else None


def turned(box: Corners, degrees: float, about: tuple[float, float]) -> Corners:
    """The hull of a box that is turned clockwise about a point, in units that are square.

    >>> [round(side, 6) for side in turned((0, 0, 4, 2), 90, (0, 0))]
    [-2.0, 0.0, 0.0, 4.0]
    """
    angle, (cx, cy) = math.radians(degrees), about
    cos, sin = math.cos(angle), math.sin(angle)
    x1, y1, x2, y2 = box
    moved = [(x - cx, y - cy) for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
    return hull((cx + x * cos - y * sin, cy + x * sin + y * cos) for x, y in moved)


def number(value: object, what: str) -> float:
    """A finite number. Raises BadShape: it is none."""
    if not isinstance(value, int | float | str):
        raise BadShape(f"{what} is {in_short(value)}, no number")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise BadShape(f"{what} is {in_short(value)}, no number") from None
    if not math.isfinite(found):
        raise BadShape(f"{what} is {found}, not finite")
    return found
