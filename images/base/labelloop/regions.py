"""Converts between Label Studio's rectangle regions and bounding boxes.

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
    """Label Studio's rectangle results for boxes whose labels index config.labels, clipped to the image.

    >>> from labelloop.labels import Label, LabelConfig
    >>> config = LabelConfig("label", "image", "image", (Label("fox"),))
    >>> [region] = to_results(Boxes.of([[10, 20, 60, 40]], [0.5], [0]), config, width=100, height=200)
    >>> region["from_name"], region["value"]["rectanglelabels"]
    ('label', ['fox'])
    >>> [region["value"][name] for name in ("x", "y", "width", "height")]
    [10.0, 10.0, 50.0, 10.0]
    """
    clipped = boxes.clip(width, height)
    percent = clipped.xyxy.astype(np.float64) * (100.0 / np.array([width, height, width, height]))
    return [
        {
            "id": uuid.uuid4().hex[:10],
            "from_name": config.labels[label].control or config.control,
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
    results: Iterable[object], config: LabelConfig, size: tuple[int, int] | None = None
) -> tuple[Boxes, list[str]]:
    """The boxes of an annotation (scores 1, labels indexing config.labels), and the reasons why regions were
    left out.

    size: width and height of the image in pixels; without it each region's own original_width and
    original_height are used. Rotated rectangles become their axis-aligned hull. Regions of other controls
    (polygons, choices) are ignored without a reason. A reason is given for each rectangle that is on another
    image, has no label of the config, has numbers that are missing or not finite, or has no area inside the
    image, and for each entry that is no region at all.

    >>> from labelloop.labels import Label, LabelConfig
    >>> config = LabelConfig("label", "image", "image", (Label("fox"),))
    >>> region = {"id": "a", "type": "rectanglelabels", "from_name": "label", "to_name": "image"}
    >>> value = {"x": 10, "y": 10, "width": 50, "height": 10, "rectanglelabels": ["fox"]}
    >>> boxes, problems = from_results([region | {"value": value}], config, size=(100, 200))
    >>> boxes.xyxy.tolist(), problems
    ([[10.0, 20.0, 60.0, 40.0]], [])
    >>> from_results([region | {"value": value | {"rectanglelabels": ["owl"]}}], config, size=(100, 200))[1]
    ["region a: label 'owl' is not in the label config"]
    """
    if isinstance(results, str | Mapping) or not isinstance(results, Iterable):
        return Boxes.empty(), [f"the result is no list of regions but {str(results)[:40]!r}"]
    known, controls = config.by_spelling(), config.controls
    xyxy: list[tuple[float, float, float, float]] = []
    labels: list[int] = []
    problems: list[str] = []
    for result in results:
        if not isinstance(result, Mapping):
            problems.append(f"no region but {str(result)[:40]!r}")
            continue
        if result.get("type") != "rectanglelabels" or result.get("from_name") not in controls:
            continue
        try:
            box, indices = _rectangle(result, config.to_name, known, size)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = str(error) if isinstance(error, _NotOurs) else f"{type(error).__name__} {error}"
            problems.append(f"region {str(result.get('id', '?'))[:40]}: {reason}")
            continue
        xyxy += [box] * len(indices)
        labels += indices
    return Boxes.of(xyxy, np.ones(len(labels)), labels), problems


class _NotOurs(ValueError):
    """A rectangle gives no box; the message says why."""


def _rectangle(
    result: Mapping[str, Any], to_name: str, known: Mapping[str, int], size: tuple[int, int] | None
) -> tuple[tuple[float, float, float, float], list[int]]:
    """The box of a rectangle, clipped to the image, and the indices of its labels.

    Raises:
        _NotOurs: the rectangle is complete, but is not a box of this image with a known label.
        KeyError, TypeError, ValueError, OverflowError: it is incomplete, or holds other things than numbers.
    """
    if result.get("to_name", to_name) != to_name:
        raise _NotOurs(f"drawn on {str(result['to_name'])[:40]!r}, not on {to_name!r}")
    value = result["value"]
    names = value.get("rectanglelabels") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(names or [], list):
        raise _NotOurs(f"its value is no rectangle but {str(value)[:40]!r}")
    if not names:
        raise _NotOurs("no label")
    indices: list[int] = []
    for label in names:
        index = known.get(label.strip()) if isinstance(label, str) else None
        if index is None:
            raise _NotOurs(f"label {str(label)[:40]!r} is not in the label config")
        if index not in indices:
            indices.append(index)
    width, height = size or (int(result["original_width"]), int(result["original_height"]))
    box = Boxes.of([_hull(value, width, height)], [1.0], [0]).clip(width, height)
    if not len(box):
        raise _NotOurs("no area inside the image")
    x1, y1, x2, y2 = box.xyxy[0].tolist()
    return (x1, y1, x2, y2), indices


def _hull(value: Mapping[str, Any], width: int, height: int) -> tuple[float, float, float, float]:
    """Axis-aligned hull, in pixels, of a rectangle in percent rotated about its top-left corner."""
    x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
    w, h = float(value["width"]) * width / 100, float(value["height"]) * height / 100
    angle = math.radians(float(value.get("rotation") or 0))
    cos, sin = math.cos(angle), math.sin(angle)
    xs = (x, x + w * cos, x - h * sin, x + w * cos - h * sin)
    ys = (y, y + w * sin, y + h * cos, y + w * sin + h * cos)
    return min(xs), min(ys), max(xs), max(ys)
