"""Boxes that are proposed for an image because a near-duplicate of it, its twin, was labelled.

The trainer sends a labelled twin's boxes with a task to the ML backend, which puts them together with what
the model sees (`composed`). Label Studio shows predictions of one version alone, so they are stored under the
model's version; a mark in each region keeps them apart from the model's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Boxes, iou_matrix
from labelloop.labels import LabelConfig
from labelloop.region_meta import meta_of

FIELD = "twin"
"""The name, in a task that is sent to the ML backend, of what is known of its twin."""
MARK = "near-duplicate"
SAME = 0.5
"""From this IoU on two boxes are of one object, when the model's would not be proposed on its own."""
ROUGHLY_SAME = 0.3
"""From this IoU on a box that the model proposes anyway is that of a twin's object."""


@dataclass(frozen=True)
class Twin:
    """A labelled near-duplicate. task: its number. boxes: in percent of the image; each one's score says how
    surely its object was found again at that place in the other image, 0 if it was not found.
    """

    task: int
    boxes: tuple[tuple[str, tuple[float, float, float, float], float], ...]

    def row(self) -> dict[str, Any]:
        """It as JSON, as `read` reads it."""
        boxes = [{"label": label, "xyxy": list(xyxy), "score": score} for label, xyxy, score in self.boxes]
        return {"task": self.task, "boxes": boxes}

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError, ValueError: it is no such row."""
        boxes = []
        for box in row["boxes"]:
            x1, y1, x2, y2 = map(float, box["xyxy"])
            boxes.append((str(box["label"]), (x1, y1, x2, y2), float(box["score"])))
        return cls(int(row["task"]), tuple(boxes))

    def in_pixels(self, config: LabelConfig, width: int, height: int) -> Boxes:
        """Its boxes in an image of that size, with labels that index config.labels; others are left out."""
        known = config.by_spelling()
        scale = np.array([width, height, width, height]) / 100
        rows = [
            (np.array(xyxy) * scale, score, known[label])
            for label, xyxy, score in self.boxes
            if label in known
        ]
        return Boxes.of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


def composed(twin: Boxes, candidates: Boxes, proposed: NDArray[np.bool_]) -> tuple[Boxes, Boxes]:
    """What is proposed for an image with a labelled twin: the model's own boxes, and those from the twin.

    candidates: (N,) all boxes of the model; proposed: (N,) whether each would be proposed on its own.

    - A twin's object that the model proposes under the same label is the model's: it has moved.
    - Else it is where it was found again, under its label.
    - One that was not found again is where the model sees it, however faintly, under the same label; else it
      is gone, and nothing is proposed.
    - A box of the model on one of these, under another label, is left out: the person's label wins.
    """
    overlaps = iou_matrix(twin.xyxy, candidates.xyxy)
    same = twin.labels[:, None] == candidates.labels[None, :]
    partner = _partners(np.where(same & proposed[None, :], overlaps, 0.0), ROUGHLY_SAME)
    taken = {found for found in partner if found is not None}
    added: list[tuple[Any, float, int]] = []
    for index, found in enumerate(partner):
        if found is not None:
            continue
        if twin.scores[index] > 0:
            added.append((twin.xyxy[index], float(twin.scores[index]), int(twin.labels[index])))
            continue
        faint = np.where(same[index] & ~proposed, overlaps[index], 0.0)
        best = int(np.argmax(faint)) if len(faint) else 0
        if len(faint) and faint[best] >= SAME and best not in taken:
            taken.add(best)
            added.append((candidates.xyxy[best], float(candidates.scores[best]), int(twin.labels[index])))
    from_twin = Boxes.of([row[0] for row in added], [row[1] for row in added], [row[2] for row in added])
    covered = (iou_matrix(candidates.xyxy, from_twin.xyxy) >= SAME).any(axis=1)
    keep = proposed & ~covered
    keep[[index for index in taken if proposed[index]]] = True
    return candidates.select(keep), from_twin


def _partners(overlaps: NDArray[Any], least: float) -> list[int | None]:
    """For each row the column that is its partner, each column for one row, the largest overlap first."""
    partners: list[int | None] = [None] * len(overlaps)
    left = overlaps.copy()
    while left.size and left.max() >= least:
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        partners[int(row)] = int(column)
        left[row, :] = left[:, column] = 0.0
    return partners


def marked(regions: Sequence[Mapping[str, Any]], task: int) -> Iterator[dict[str, Any]]:
    """Regions with the mark, and with words for the labeller, which Label Studio shows with the region."""
    meta = {"text": [f"from a near-duplicate, task {task}"], "from": MARK}
    return ({**region, "meta": meta} for region in regions)


def is_marked(region: object) -> bool:
    return meta_of(region).get("from") == MARK
