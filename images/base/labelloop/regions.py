"""Label Studio's rectangle regions, and bounding boxes from and to them.

A region is in percent of the image as a browser shows it: left, top, width, height, and a rotation about its
top-left corner in degrees clockwise.
"""

import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from labelloop.boxes import Boxes
from labelloop.labels import LabelConfig


def to_results(boxes: Boxes, config: LabelConfig, width: int, height: int) -> list[dict[str, Any]]:
    """Label Studio's rectangle results for boxes whose labels index config.labels, clipped to the image."""
    clipped = boxes.clip(width, height)
    percent = clipped.xyxy.astype(np.float64) * (100.0 / np.array([width, height, width, height]))
    return [
        {
            "id": uuid.uuid4().hex[:10],
            "from_name": config.control,
            "to_name": config.to_name,
            "type": "rectanglelabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": float(score),
            "value": {
                "x": x1,
                "y": y1,
                "width": x2 - x1,
                "height": y2 - y1,
                "rotation": 0,
                "rectanglelabels": [config.labels[label].value],
            },
        }
        for (x1, y1, x2, y2), score, label in zip(
            percent.tolist(), clipped.scores, clipped.labels, strict=True
        )
    ]


def from_results(
    results: Iterable[Mapping[str, Any]], config: LabelConfig, size: tuple[int, int] | None = None
) -> tuple[Boxes, list[str]]:
    """Boxes (scores 1, labels indexing config.labels) of an annotation, and why others of its regions were
    left out.

    size: width and height of the image in pixels; without it each region's own original_width and
    original_height are used. Rotated rectangles become their axis-aligned hull. Regions of other controls
    (polygons, choices) are none of ours and pass in silence; rectangles without a label that config knows,
    with numbers that are missing or not finite, or without an area inside the image, are named in the second
    result.
    """
    known = {label.value: index for index, label in enumerate(config.labels)}
    xyxy: list[tuple[float, float, float, float]] = []
    labels: list[int] = []
    problems: list[str] = []
    for result in results:
        if result.get("type") != "rectanglelabels" or result.get("from_name") != config.control:
            continue
        name = f"region {result.get('id', '?')}"
        value = result.get("value") or {}
        names = value.get("rectanglelabels") or []
        unknown = [label for label in names if label not in known]
        if not names or unknown:
            problems.append(
                f"{name}: " + (f"label {unknown[0]!r} is not in the label config" if unknown else "no label")
            )
            continue
        try:
            width, height = size or (int(result["original_width"]), int(result["original_height"]))
            corners = _hull(value, width, height)
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f"{name}: {type(error).__name__} {error}")
            continue
        box = Boxes.of([corners], [1.0], [0]).clip(width, height)
        if not len(box):
            problems.append(f"{name}: no area inside the image")
            continue
        for label in names:
            xyxy.append(tuple(box.xyxy[0].tolist()))
            labels.append(known[label])
    return Boxes.of(xyxy, np.ones(len(labels)), labels), problems


def _hull(value: Mapping[str, Any], width: int, height: int) -> tuple[float, float, float, float]:
    """Axis-aligned hull, in pixels, of a rectangle in percent rotated about its top-left corner."""
    x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
    w, h = float(value["width"]) * width / 100, float(value["height"]) * height / 100
    angle = math.radians(float(value.get("rotation") or 0))
    cos, sin = math.cos(angle), math.sin(angle)
    xs = (x, x + w * cos, x - h * sin, x + w * cos - h * sin)
    ys = (y, y + w * sin, y + h * cos, y + w * sin + h * cos)
    return min(xs), min(ys), max(xs), max(ys)
