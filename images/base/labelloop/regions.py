"""Converts between Label Studio's rectangle regions and bounding boxes.

A region is in percent of the image as a browser shows it: left, top, width, height, and a rotation about its
top-left corner in degrees clockwise.
"""

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from labelloop.boxes import MIN_SIDE_PX, Boxes
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


Corners = tuple[float, float, float, float]
Json = Mapping[str, Any]

# Results that are no shape on the image: answers about the image or about a region, and links between
# regions.
ANSWERS = (
    "choices",
    "taxonomy",
    "textarea",
    "number",
    "rating",
    "datetime",
    "pairwise",
    "ranker",
    "relation",
)
BOXES = ("rectanglelabels", "rectangle")


@dataclass
class Regions:
    """What an annotation says.

    boxes: N boxes of the config's labels. ignored: boxes that are neither truth nor error. Their labels index
    config.labels followed by the ignored labels of the config. excluding: the choices that leave the image
    out. answers: all other choices about the whole image. unknown: labels that the config does not have.
    faults: why regions could not be understood. outside: boxes without a pixel inside the image, thin: boxes
    of less than a pixel's width or height, both in words.
    """

    boxes: Boxes = field(default_factory=Boxes.empty)
    ignored: Boxes = field(default_factory=Boxes.empty)
    excluding: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    thin: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        return [*self.faults, *self.outside, *self.thin]


def from_results(
    results: Iterable[object], config: LabelConfig, size: tuple[int, int] | None = None
) -> tuple[Boxes, list[str]]:
    """The boxes of an annotation (scores 1, labels indexing config.labels), and the reasons why regions give
    none. See `read_regions`.

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
    found = read_regions(results, config, size)
    return found.boxes, found.problems


def read_regions(results: object, config: LabelConfig, size: tuple[int, int] | None = None) -> Regions:
    """Reads an annotation's results.

    size: width and height of the image in pixels; without it each region's own original_width and
    original_height are used. Rotated rectangles become their axis-aligned hull.

    Rectangles of the config's control are boxes. Results of its other controls are no fault: choices, texts,
    relations, shapes with labels of their own. Everything else is a fault, for a box that a person drew may
    stand behind it: a shape of a control that the config lacks, another type than the control's, another
    image, numbers that are missing or not finite, no label, or a label that the config does not have. So is a
    shape that is no rectangle but has a label that is learned: it is an object that no box marks.
    """
    if isinstance(results, str | Mapping) or not isinstance(results, Iterable):
        return Regions(faults=[f"the result is no list of regions but {str(results)[:40]!r}"])
    rows = list(results)
    reader = _Reader(config, size, _left_out_by_answer(rows, config))
    for row in rows:
        reader.read(row)
    return reader.regions()


def _left_out_by_answer(rows: Sequence[object], config: LabelConfig) -> frozenset[str]:
    """The ids of the regions about which a person ticked a choice that leaves them out."""
    marks = config.marks
    return frozenset(
        str(row.get("id"))
        for row in rows
        if isinstance(row, Mapping)
        and str(row.get("from_name")) in marks.per_region
        and marks.excluding.get(str(row.get("from_name")), frozenset()) & set(_choices(row))
    )


def _choices(row: Json) -> list[str]:
    value = row.get("value")
    chosen = value.get("choices") if isinstance(value, Mapping) else None
    return [choice for choice in (chosen if isinstance(chosen, list) else []) if isinstance(choice, str)]


class _Reader:
    """Sorts results into Regions. left_out: ids of the rectangles whose boxes are ignored."""

    def __init__(self, config: LabelConfig, size: tuple[int, int] | None, left_out: frozenset[str]) -> None:
        self._config, self._size, self._left_out = config, size, left_out
        self._names = [*config.names, *config.marks.ignored]
        self._known = {name.strip(): index for index, name in enumerate(self._names)}
        self._boxes: list[tuple[Corners, int]] = []
        self._ignored: list[tuple[Corners, int]] = []
        self._found = Regions()

    def regions(self) -> Regions:
        self._found.boxes, self._found.ignored = _boxes(self._boxes), _boxes(self._ignored)
        return self._found

    def read(self, row: object) -> None:
        if not isinstance(row, Mapping):
            self._found.faults.append(f"no region but {str(row)[:40]!r}")
            return
        try:
            if not self._is_beside(row):
                self._rectangle(row)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = str(error) if isinstance(error, _NotOurs) else f"{type(error).__name__} {error}"
            self._found.faults.append(f"{_named(row)}: {reason}")

    def _is_beside(self, row: Json) -> bool:
        """Whether a result is of another control than the boxes'. Raises _NotOurs where no control fits."""
        kind, control = row.get("type"), row.get("from_name")
        if kind in ANSWERS:
            self._answer(row)
            return True
        if kind is None:
            raise _NotOurs("it has no type")
        if control == self._config.control:
            if kind != "rectanglelabels":
                raise _NotOurs(f"its type is {str(kind)[:40]!r}, that of {control!r} is 'rectanglelabels'")
            return False
        expected = self._config.marks.kinds.get(control) if isinstance(control, str) else None
        if expected is None:
            raise _NotOurs(f"made by {str(control)[:40]!r}, which the label config does not have")
        if kind in BOXES and kind not in (expected, expected.removesuffix("labels")):
            raise _NotOurs(f"its type is {str(kind)[:40]!r}, that of {control!r} is {expected!r}")
        self._require_no_label_of_ours(row, str(kind))
        return True

    def _answer(self, row: Json) -> None:
        control = str(row.get("from_name"))
        if row.get("type") != "choices" or control in self._config.marks.per_region:
            return
        excluding = self._config.marks.excluding.get(control, frozenset())
        for choice in _choices(row):
            (self._found.excluding if choice in excluding else self._found.answers).append(choice)

    def _require_no_label_of_ours(self, row: Json, kind: str) -> None:
        value = row.get("value")
        labels = value.get(kind) if isinstance(value, Mapping) and kind != "rectanglelabels" else None
        for label in labels if isinstance(labels, list) else ():
            if isinstance(label, str) and label.strip() in {name.strip() for name in self._config.names}:
                raise _NotOurs(
                    f"a shape that is no box has the label {label[:40]!r}, which is learned from boxes"
                )

    def _rectangle(self, row: Json) -> None:
        """Takes the box of a rectangle, once for each of its labels.

        Raises:
            _NotOurs: the rectangle is complete, but is not a box of this image with a known label.
            KeyError, TypeError, ValueError, OverflowError: it is incomplete, or holds other things than
                numbers.
        """
        to_name = self._config.to_name
        if row.get("to_name", to_name) != to_name:
            raise _NotOurs(f"drawn on {str(row['to_name'])[:40]!r}, not on {to_name!r}")
        value = row["value"]
        names = value.get("rectanglelabels") if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(names or [], list):
            raise _NotOurs(f"its value is no rectangle but {str(value)[:40]!r}")
        labels = self._labels(names or [])
        width, height = self._size or (int(row["original_width"]), int(row["original_height"]))
        hull = _hull(value, width, height)
        if not all(map(math.isfinite, hull)):
            raise _NotOurs(f"its corners are no finite numbers: {', '.join(f'{side:g}' for side in hull)}")
        inside = _clipped(hull, width, height)
        if inside is None:
            self._note_no_area(row, hull, width, height)
            return
        learned = [label for label in labels if label < len(self._config.labels)]
        ignored = len(learned) < len(labels) or str(row.get("id")) in self._left_out
        (self._ignored if ignored else self._boxes).extend((inside, label) for label in learned or labels)

    def _note_no_area(self, row: Json, hull: Corners, width: int, height: int) -> None:
        x1, y1, x2, y2 = hull
        shown = f"{_named(row)}: x {x1:.5g} to {x2:.5g}, y {y1:.5g} to {y2:.5g} px"
        if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
            self._found.outside.append(f"{shown}, no area inside the image of {width} × {height} px")
        else:
            self._found.thin.append(f"{shown}, no area of a whole pixel")

    def _labels(self, names: Sequence[object]) -> list[int]:
        """The indices of a rectangle's labels, each once. Raises _NotOurs."""
        if not names:
            raise _NotOurs("no label")
        indices: list[int] = []
        for name in names:
            index = self._known.get(name.strip()) if isinstance(name, str) else None
            if index is None:
                if isinstance(name, str):
                    self._found.unknown.append(name.strip())
                raise _NotOurs(f"label {str(name)[:40]!r} is not in the label config")
            if index not in indices:
                indices.append(index)
        return indices


class _NotOurs(ValueError):
    """A result gives no box; the message says why."""


def _named(row: Json) -> str:
    return f"region {str(row.get('id', '?'))[:40]}"


def _boxes(rows: Sequence[tuple[Corners, int]]) -> Boxes:
    return Boxes.of([box for box, _ in rows], np.ones(len(rows)), [label for _, label in rows])


def _clipped(hull: Corners, width: int, height: int) -> Corners | None:
    """A box clipped to the image, as Boxes.clip does it; None when it is thinner than a pixel then."""
    limits = (width, height, width, height)
    x1, y1, x2, y2 = (
        float(np.float32(min(max(side, 0.0), limit))) for side, limit in zip(hull, limits, strict=True)
    )
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= MIN_SIDE_PX else None


def _hull(value: Mapping[str, Any], width: int, height: int) -> tuple[float, float, float, float]:
    """Axis-aligned hull, in pixels, of a rectangle in percent rotated about its top-left corner."""
    x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
    w, h = float(value["width"]) * width / 100, float(value["height"]) * height / 100
    angle = math.radians(float(value.get("rotation") or 0))
    cos, sin = math.cos(angle), math.sin(angle)
    xs = (x, x + w * cos, x - h * sin, x + w * cos - h * sin)
    ys = (y, y + w * sin, y + h * cos, y + w * sin + h * cos)
    return min(xs), min(ys), max(xs), max(ys)
