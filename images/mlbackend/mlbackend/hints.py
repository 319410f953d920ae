"""What a person points at, as Label Studio sends it with a request for interactive pre-annotation.

`params.context.result` lists regions in percent of the image: a key point where she clicked, or the
rectangle that she drew with a smart tool. A double-click with that tool draws a square of 30 pixels of the
screen, whose top left corner is where she clicked.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelloop.labels import LabelConfig
from labelloop.pointing import Pointed

AGAIN = "again"
MOST_HINTS = 20
"""So many of a request's regions are looked at: each may take a closer look, and others wait for that."""
SPECK = 0.015
"""A rectangle whose sides are less than this share of the image's longer side marks a place, not a size."""
FLAT_PX = 1.0
"""A rectangle with a smaller side is a line, which marks a place, too."""
_SQUARE = 0.005
_DOUBLE_CLICK = 0.12
_MUCH_SMALLER = 0.6
_SHAPES = {"keypointlabels": "keypointlabels", "rectanglelabels": "rectanglelabels"}


@dataclass(frozen=True)
class Hint:
    """One region of the context.

    id: the region's, under which Label Studio replaces it. label: the index of its label. left, top, width,
    height: in percent of the image; a click has no width and height, and a negative one, which no editor
    sends, makes a line. original: the image's size in pixels, as the browser says; None where it doesn't.
    """

    id: str
    label: int
    left: float
    top: float
    width: float = 0.0
    height: float = 0.0
    original: tuple[int, int] | None = None

    def pointed(self, size: tuple[int, int], usual_side: float | None) -> Pointed:
        """Where the object is, in pixels of an image of this size.

        usual_side: of the label's boxes, in pixels; None when it isn't known.
        """
        x, y = self.left * size[0] / 100, self.top * size[1] / 100
        width, height = self.width * size[0] / 100, self.height * size[1] / 100
        larger = max(width, height)
        if larger <= 0:
            return Pointed(x, y)
        middle = Pointed(x + width / 2, y + height / 2)
        if min(width, height) < FLAT_PX:
            return middle
        is_speck = larger < SPECK * max(size)
        if is_speck and (usual_side is None or larger < _MUCH_SMALLER * usual_side):
            return middle
        if abs(width - height) < _SQUARE * larger and self._may_be_a_double_click(larger, size, usual_side):
            return Pointed(x, y)
        return Pointed(middle.x, middle.y, (width, height))

    def _may_be_a_double_click(self, side: float, size: tuple[int, int], usual_side: float | None) -> bool:
        return side < _DOUBLE_CLICK * max(size) and (usual_side is None or side < _MUCH_SMALLER * usual_side)


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    hints: those with a label of the project's, in their order. again: which choice at that place, from 0;
    None: the request leaves it to the backend's memory.
    """

    hints: tuple[Hint, ...]
    again: int | None = None


def read(params: object, config: LabelConfig) -> Asked | None:
    """The hints of a request's params; None for a request for predictions, which has none.

    What cannot be understood is left out, for Label Studio then leaves the person's region as she drew it.
    """
    context = params.get("context") if isinstance(params, Mapping) else None
    regions = context.get("result") if isinstance(context, Mapping) else None
    if not isinstance(context, Mapping) or not isinstance(regions, list) or not regions:
        return None
    labels = config.by_spelling()
    found = (_hint(region, labels, len(config.labels)) for region in regions[:MOST_HINTS])
    again = context.get(AGAIN)
    wanted = again if isinstance(again, int) and not isinstance(again, bool) and again >= 0 else None
    return Asked(tuple(hint for hint in found if hint is not None), wanted)


def _hint(region: Any, labels: Mapping[str, int], learned: int) -> Hint | None:
    value = region.get("value") if isinstance(region, Mapping) else None
    kind = _SHAPES.get(str(region.get("type"))) if isinstance(region, Mapping) else None
    if not isinstance(value, Mapping) or kind is None:
        return None
    names = value.get(kind)
    named = (
        [labels[name.strip()] for name in names if isinstance(name, str) and name.strip() in labels]
        if (isinstance(names, list))
        else []
    )
    label = next((one for one in named if one < learned), None)
    if label is None:
        return None
    try:
        left, top = float(value["x"]), float(value["y"])
        click = kind == "keypointlabels"
        width, height = (0.0, 0.0) if click else (float(value["width"]), float(value["height"]))
        original = _original(region)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    numbers = (left, top, width, height)
    if not all(math.isfinite(number) and abs(number) < 1e4 for number in numbers):
        return None
    return Hint(str(region.get("id") or "")[:80], label, *numbers, original)


def _original(region: Mapping[str, Any]) -> tuple[int, int] | None:
    if region.get("original_width") is None or region.get("original_height") is None:
        return None
    width, height = int(region["original_width"]), int(region["original_height"])
    return (width, height) if 0 < width < 10**6 and 0 < height < 10**6 else None
