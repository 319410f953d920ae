"""Turns a dataset's labels into what Label Studio stores, in the project's own words."""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labelloop.boxes import MIN_SIDE_PX
from labelloop.labels import LabelConfig
from trainer.intake.label_names import LabelNames
from trainer.intake.records import BadShape, Corners, Labels, Record, Shape, ShapeKind

IMPORTED_VERSION = "imported"
"""The model_version of predictions that are brought."""
_NAMESPACE = uuid.UUID("7d0f1a52-0c4b-4a55-9a4c-6f2c6c0b1b5e")

Json = dict[str, Any]
Size = tuple[int, int]


@dataclass
class Counts:
    """What was met in the dataset. boxes: by the dataset's label and the project's. shapes: those that are no
    upright boxes. specks: boxes without area inside the image. others: results of controls that the project
    lacks, by type. authors: annotations by person.
    """

    boxes: Counter[tuple[str, str]] = field(default_factory=Counter)
    shapes: Counter[ShapeKind] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    authors: Counter[str] = field(default_factory=Counter)
    specks: int = 0


@dataclass(frozen=True)
class Draft:
    """What is to be stored for an image, as provisioner.intake takes it."""

    annotations: list[Json]
    predictions: list[Json]
    boxes: int

    @property
    def is_negative(self) -> bool:
        stored = [*self.annotations, *self.predictions]
        return bool(stored) and not self.boxes and not any(row.get("was_cancelled") for row in stored)


class Drafting:
    """Makes drafts for one project.

    people: e-mail addresses for the dataset's names of people. as_predictions: what is brought is to be
    looked at, not taken for true.
    """

    def __init__(
        self,
        project_id: int,
        config: LabelConfig,
        names: LabelNames,
        people: Mapping[str, str],
        as_predictions: bool,
    ) -> None:
        self._project_id = project_id
        self._config = config
        self._names = names
        self._people = people
        self._as_predictions = as_predictions
        self.counts = Counts()

    def draft(self, record: Record, size: Size, identity: str) -> Draft:
        """The draft of a record. size: of its image, in pixels. identity: what tells the image from others,
        and is the same the next time.

        Raises:
            BadShape: it has boxes, and none of them has an area inside the image.
        """
        boxes = 0
        annotations: list[Json] = []
        predictions: list[Json] = []
        for labels in record.labels:
            specks = self.counts.specks
            results = self._results(labels, record.scale or size, size)
            drawn = sum(result["type"] == "rectanglelabels" for result in results)
            if self.counts.specks > specks and not drawn and not labels.was_cancelled:
                raise BadShape(
                    f"no box of {len(labels.shapes)} has an area inside the image, which without them would "
                    "be one that shows nothing; are they in pixels from the image's corner?"
                )
            if self._as_predictions:
                if not labels.was_cancelled:
                    predictions = [self._prediction(results, labels.shapes)]
                    boxes = drawn
                continue
            annotations.append(self._annotation(labels, results, identity))
            boxes += drawn
        return Draft(annotations, predictions, boxes)

    def _annotation(self, labels: Labels, results: list[Json], identity: str) -> Json:
        content = [self._project_id, identity, labels.source_id, labels.was_cancelled, results]
        unique = uuid.uuid5(_NAMESPACE, json.dumps(content, sort_keys=True))
        person = self._people.get((labels.by or "").removeprefix("user "), labels.by)
        if person:
            self.counts.authors[person] += 1
        return {
            "unique_id": str(unique),
            "result": results,
            "completed_by": person,
            "created_at": labels.created_at,
            "updated_at": labels.updated_at,
            "lead_time": labels.lead_time,
            "was_cancelled": labels.was_cancelled,
            "ground_truth": labels.ground_truth,
        }

    def _prediction(self, results: list[Json], shapes: Sequence[Shape]) -> Json:
        scores = [shape.score for shape in shapes if shape.score is not None]
        score = sum(scores) / len(scores) if scores else None
        return {"result": results, "score": score, "model_version": IMPORTED_VERSION}

    def _results(self, labels: Labels, scale: tuple[float, float], size: Size) -> list[Json]:
        results: list[Json] = []
        for shape in labels.shapes:
            label = self._names.find(shape.label)
            if shape.kind is not ShapeKind.BOX:
                self.counts.shapes[shape.kind] += 1
            if label is None:
                continue
            corners = _in_percent(shape.corners, scale)
            if _is_speck(corners, size):
                self.counts.specks += 1
                continue
            self.counts.boxes[shape.label, label] += 1
            results.append(self._region(corners, label, size, shape.score, len(results)))
        for other in labels.others:
            if self._names.has_control(other.get("from_name"), other.get("type")):
                results.append(dict(other))
            else:
                self.counts.others[str(other.get("type"))] += 1
        return results

    def _region(self, corners: Corners, label: str, size: Size, score: float | None, position: int) -> Json:
        x1, y1, x2, y2 = corners
        digest = hashlib.sha256(json.dumps([position, label, corners]).encode()).hexdigest()
        region: Json = {
            "id": digest[:10],
            "from_name": self._names.control_of(label),
            "to_name": self._config.to_name,
            "type": "rectanglelabels",
            "original_width": size[0],
            "original_height": size[1],
            "image_rotation": 0,
            "value": {
                "x": x1,
                "y": y1,
                "width": round(x2 - x1, 6),
                "height": round(y2 - y1, 6),
                "rotation": 0,
                "rectanglelabels": [label],
            },
        }
        if self._as_predictions and score is not None:
            region["score"] = score
        return region


def _in_percent(corners: Corners, scale: tuple[float, float]) -> Corners:
    """Corners in percent of the image, clipped to it."""
    x1, y1, x2, y2 = (
        round(min(max(100.0 * corner / side, 0.0), 100.0), 6)
        for corner, side in zip(corners, (*scale, *scale), strict=True)
    )
    return x1, y1, x2, y2


def _is_speck(percent: Corners, size: Size) -> bool:
    """Whether a box is thinner than a pixel, in which nobody sees anything."""
    x1, y1, x2, y2 = percent
    width, height = (x2 - x1) * size[0] / 100, (y2 - y1) * size[1] / 100
    return width < MIN_SIDE_PX - 1e-3 or height < MIN_SIDE_PX - 1e-3
