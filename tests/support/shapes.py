"""Pictures that tests make: balls and crates on a noisy ground, with their true bounding boxes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

LABELS = ("ball", "crate")
LABEL_CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
    <Label value="ball" background="#d4380d"/>
    <Label value="crate" background="#1d39c4"/>
  </RectangleLabels>
</View>
"""


@dataclass(frozen=True)
class Picture:
    """boxes: (x1, y1, x2, y2, index into LABELS), pixels."""

    image: Image.Image
    boxes: tuple[tuple[int, int, int, int, int], ...]

    def annotation(self) -> list[dict[str, object]]:
        """The results a person would submit for it in Label Studio."""
        width, height = self.image.size
        return [
            {
                "from_name": "label",
                "to_name": "image",
                "type": "rectanglelabels",
                "original_width": width,
                "original_height": height,
                "value": {
                    "x": 100 * x1 / width,
                    "y": 100 * y1 / height,
                    "width": 100 * (x2 - x1) / width,
                    "height": 100 * (y2 - y1) / height,
                    "rotation": 0,
                    "rectanglelabels": [LABELS[label]],
                },
            }
            for x1, y1, x2, y2, label in self.boxes
        ]


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> Picture:
    """One to three shapes that do not overlap; the same seed makes the same picture."""
    rng = np.random.default_rng(seed)
    width, height = size
    ground = rng.normal(rng.uniform(90, 170, 3), 18, (height, width, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(ground)
    draw = ImageDraw.Draw(image)
    boxes: list[tuple[int, int, int, int, int]] = []
    for _ in range(int(rng.integers(1, 4))):
        side = int(rng.integers(50, 90))
        x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        box = (x, y, x + side, y + side)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes):
            continue
        boxes.append(_paint(draw, box, rng))
    return Picture(image, tuple(boxes))


def crowded(seed: int, size: tuple[int, int] = (320, 240)) -> Picture:
    """As `picture`, and in two of three one more shape: a small one inside another, or one that covers the
    corner of another.
    """
    made, rng = picture(seed, size), np.random.default_rng((seed, 1))
    draw, (x1, y1, x2, *_) = ImageDraw.Draw(made.image), made.boxes[0]
    side = int(rng.integers(26, 34))
    x, y = int(rng.integers(x1 + 6, x2 - side - 6)) if x2 - x1 > side + 12 else x1 + 6, y1 + 8
    if seed % 3 == 0:
        return made
    if seed % 3 == 1:
        side, x, y = side + 14, max(x1 - 26, 0), max(y1 - 22, 0)
    inside = (x, y, min(x + side, size[0] - 1), min(y + side, size[1] - 1))
    return Picture(made.image, (*made.boxes, _paint(draw, inside, rng)))


def _paint(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], rng: np.random.Generator
) -> tuple[int, int, int, int, int]:
    """Draws a shape of either label; its box and label."""
    label = int(rng.integers(0, 2))
    shade = int(rng.integers(-20, 20))
    if label == 0:
        draw.ellipse(box, fill=(220 + shade, 40, 30), outline="black", width=2)
    else:
        draw.rectangle(box, fill=(30, 60, 220 + shade), outline="white", width=3)
        draw.line((box[0], box[1], box[2], box[3]), fill="white", width=3)
    return (*box, label)


def save(
    folder: Path, count: int, start: int = 0, draw: Callable[[int], Picture] = picture
) -> dict[str, Picture]:
    """`count` pictures as <folder>/shape-<seed>.png, by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {f"shape-{seed:03d}.png": draw(seed) for seed in range(start, start + count)}
    for name, made in pictures.items():
        made.image.save(folder / name)
    return pictures
