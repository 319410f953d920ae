"""Draws pictures of nuts, washers and bolts on a conveyor belt, with true boxes, from a number as seed."""

import io
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from labelloop.boxes import Boxes, iou_matrix

LABELS = ("nut", "washer", "bolt")
SIZE = (480, 320)
PARTS = range(3, 6)
COLOURS = ((205, 205, 212), (214, 176, 72), (188, 112, 66), (92, 138, 196))
OVERLAP = 0.12
_TRIES = 40
_FINER = 3
_SEED = 20


@dataclass(frozen=True)
class Picture:
    """boxes: in pixels, around the whole part even where another covers it; labels index LABELS."""

    name: str
    image: Image.Image
    boxes: Boxes

    def jpeg(self) -> bytes:
        content = io.BytesIO()
        self.image.save(content, "JPEG", quality=90)
        return content.getvalue()


def picture(number: int) -> Picture:
    """Picture `number`. It is the same each time."""
    chance = np.random.default_rng((_SEED, number))
    canvas = _belt(chance)
    corners: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for label in chance.integers(len(LABELS), size=int(chance.choice(PARTS))):
        part = _part(int(label), chance)
        box = _free_place(part, corners, chance)
        if box is not None:
            _lay(canvas, part, box[:2], COLOURS[chance.integers(len(COLOURS))])
            corners.append(box)
            labels.append(int(label))
    noisy = np.asarray(canvas, dtype=np.float64) + chance.normal(0, 7, (SIZE[1], SIZE[0], 1))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    return Picture(f"parts-{number:03d}.jpg", image, Boxes.of(corners, np.ones(len(corners)), labels))


def _belt(chance: np.random.Generator) -> Image.Image:
    """A dark, ribbed belt, lit from one side."""
    width, height = SIZE
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    turn = chance.uniform(0, 2 * pi)
    light = 78 + 22 * (x * cos(turn) + y * sin(turn))
    ribs = 6 * np.sin(np.arange(width) * 2 * pi / 24 + turn)
    tint = np.array([0.94, 1.0, 1.04])
    return Image.fromarray(((light + ribs)[..., None] * tint).clip(0, 255).astype(np.uint8))


def _part(label: int, chance: np.random.Generator) -> Image.Image:
    """A part's shape (mode L), turned by a random angle and cropped to its box."""
    radius = float(chance.uniform(24, 42)) * _FINER
    side = round(radius * 4)
    middle = side / 2
    shape = Image.new("L", (side, side))
    draw = ImageDraw.Draw(shape)

    def disc(share: float, fill: int) -> None:
        reach = radius * share
        draw.ellipse((middle - reach, middle - reach, middle + reach, middle + reach), fill)

    if LABELS[label] == "nut":
        draw.polygon(_hexagon(middle, middle, radius), 255)
        disc(0.5, 0)
    elif LABELS[label] == "washer":
        disc(1.0, 255)
        disc(0.62, 0)
    else:
        draw.rectangle(
            (middle - radius, middle - radius / 5, middle + radius * 1.6, middle + radius / 5), 255
        )
        draw.polygon(_hexagon(middle - radius, middle, radius * 0.5), 255)
    turned = shape.rotate(float(chance.uniform(0, 360)), Image.Resampling.BICUBIC)
    cut = turned.crop(turned.getbbox())
    return cut.resize((cut.width // _FINER, cut.height // _FINER), Image.Resampling.LANCZOS)


def _hexagon(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    return [(x + radius * cos(k * pi / 3), y + radius * sin(k * pi / 3)) for k in range(6)]


def _free_place(
    part: Image.Image, taken: list[tuple[int, int, int, int]], chance: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """A box for the part that overlaps others only a little; None when none was found."""
    for _ in range(_TRIES):
        x = int(chance.integers(SIZE[0] - part.width))
        y = int(chance.integers(SIZE[1] - part.height))
        box = (x, y, x + part.width, y + part.height)
        others = np.array(taken, dtype=np.float32).reshape(-1, 4)
        if iou_matrix(np.array([box], dtype=np.float32), others).max(initial=0.0) <= OVERLAP:
            return box
    return None


def _lay(canvas: Image.Image, part: Image.Image, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Draws the part with a shadow and a lit bevel."""
    shadow = Image.new("L", canvas.size)
    shadow.paste(part, (at[0] + 5, at[1] + 6))
    canvas.paste((18, 20, 24), mask=shadow.filter(ImageFilter.GaussianBlur(4)).point(lambda v: v * 0.7))
    height = np.asarray(part.filter(ImageFilter.GaussianBlur(3)), dtype=np.float64)
    down, right = np.gradient(height)
    shade = np.asarray(colour) * (1 - 0.012 * (down + right).clip(-30, 30))[..., None]
    canvas.paste(Image.fromarray(shade.clip(0, 255).astype(np.uint8)), at, part)
