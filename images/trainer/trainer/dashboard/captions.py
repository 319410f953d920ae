"""Where the captions of boxes stand on a picture, so that none lies on another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH = 0.62
"""The width of a letter, and HEIGHT that of a line, by the size of the font."""
HEIGHT = 1.15

Area = tuple[float, float, float, float]


@dataclass(frozen=True)
class Captioned:
    """A box, x y width height, and its caption. first: it gets its place before others."""

    x: float
    y: float
    width: float
    height: float
    text: str
    first: bool


@dataclass(frozen=True)
class Caption:
    """A caption. x, y: where its baseline begins, in pixels of the image."""

    x: float
    y: float
    text: str


def placed(boxes: Sequence[Captioned], size: tuple[float, float], font: float) -> list[Caption]:
    """The captions that have room, each at a corner of its box. size: width and height of the image.

    Boxes that say something come first, then large ones. Where a caption has no room, there is none.
    """
    taken: list[Area] = []
    found: list[Caption] = []
    for box in sorted(boxes, key=lambda box: (not box.first, -box.width * box.height)):
        wide, high = WIDTH * font * len(box.text), HEIGHT * font
        for x, top in _places(box, wide, high):
            x, top = max(min(x, size[0] - wide), 0.0), max(min(top, size[1] - high), 0.0)
            area = (x, top, x + wide, top + high)
            if not any(_overlap(area, other) for other in taken):
                taken.append(area)
                found.append(Caption(x, top + 0.9 * font, box.text))
                break
    return found


def _places(box: Captioned, wide: float, high: float) -> Iterator[tuple[float, float]]:
    """Left and top of each place: above the box, below it, then inside, at the left and at the right."""
    for top in (box.y - high, box.y + box.height, box.y, box.y + box.height - high):
        yield box.x, top
        yield box.x + box.width - wide, top


def _overlap(one: Area, other: Area) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
