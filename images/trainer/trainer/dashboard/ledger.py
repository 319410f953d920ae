"""Measures what people did with the model's boxes, by comparing annotations with the predictions they started
from.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from labelloop.boxes import Boxes
from labelloop.labels import LabelConfig
from labelloop.regions import from_results
from labelloop.twins import is_marked
from trainer.dashboard.agreement import Agreement, Finding, compare
from trainer.dataset.collector import newest_submitted
from trainer.dataset.origin import started_from, version_of
from trainer.judging.effort import Work
from trainer.loop import Loop
from trainer.peers.projects import fetch

KEPT_S = 60.0
IMPORTED = "imported"
"""Label Studio's word, in an annotation's `last_action`, for one that `make import` has brought."""
AS_IT_WAS = 0.005  # of the image's longer side; by rounding, a mere click on a box can shift it
UNKNOWN_SIZE = (1000, 1000)

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Effort:
    """What people did with the boxes of one version.

    version: None where there was no prediction to start from. lead_times: the seconds per image that Label
    Studio recorded. from_twins: the work on boxes from labelled near-duplicates, which are no merit of the
    version.
    """

    version: str | None
    images: int = 0
    work: Work = Work()
    lead_times: tuple[float, ...] = ()
    from_twins: Work = Work()

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(
            self.version,
            self.images + other.images,
            self.work + other.work,
            self.lead_times + other.lead_times,
            self.from_twins + other.from_twins,
        )

    @property
    def lead_time(self) -> float | None:
        """The median lead time, in seconds."""
        return median(self.lead_times) if self.lead_times else None


def measure(tasks: Iterable[Json], config: LabelConfig) -> list[Effort]:
    """The effort in tasks with annotations and predictions, by version, in the versions' order.

    Annotations that started without a prediction come first. Those that were brought from elsewhere are no
    work with our boxes.
    """
    by_version: dict[str | None, Effort] = {}
    for task in tasks:
        annotation = newest_submitted(task.get("annotations"))
        if annotation is None or annotation.get("last_action") == IMPORTED:
            continue
        effort = _effort(annotation, started_from(annotation, task.get("predictions") or []), config)
        by_version[effort.version] = by_version.get(effort.version, Effort(effort.version)) + effort
    return [by_version[version] for version in sorted(by_version, key=lambda version: version or "")]


def _effort(annotation: Json, prediction: Json | None, config: LabelConfig) -> Effort:
    lead = annotation.get("lead_time")
    lead_times = (float(lead),) if isinstance(lead, int | float) and lead > 0 else ()
    results = annotation.get("result") or []
    proposed = (prediction.get("result") or []) if prediction else []
    size = _size([*results, *proposed])
    mine = _boxes(results, config, size)
    own, copied = (
        _boxes([row for row in proposed if is_marked(row) is from_twin], config, size)
        for from_twin in (False, True)
    )
    found = Boxes(
        np.concatenate([own.xyxy, copied.xyxy]),
        np.concatenate([own.scores, copied.scores]),
        np.concatenate([own.labels, copied.labels]),
    )
    work, from_twins = Work(), Work()
    for finding in compare(mine, found):
        one = _one(finding, mine, found, size)
        if finding.found is not None and finding.found >= len(own):
            from_twins += one
        else:
            work += one
    version = version_of(prediction) if prediction else None
    return Effort(version, 1, work, lead_times, from_twins)


def _one(finding: Finding, mine: Boxes, found: Boxes, size: tuple[int, int]) -> Work:
    """The work on one box."""
    match finding.kind:
        case Agreement.MISSED:
            return Work(drawn=1)
        case Agreement.SPURIOUS:
            return Work(deleted=1)
        case Agreement.WRONG_LABEL:
            return Work(relabelled=1)
    shift = np.abs(mine.xyxy[finding.truth] - found.xyxy[finding.found]).max()
    return Work(accepted=1) if shift <= AS_IT_WAS * max(size) else Work(adjusted=1)


def _size(results: Sequence[Json]) -> tuple[int, int]:
    sized = next((row for row in results if row.get("original_width") and row.get("original_height")), None)
    return (int(sized["original_width"]), int(sized["original_height"])) if sized else UNKNOWN_SIZE


def _boxes(results: Sequence[Json], config: LabelConfig, size: tuple[int, int]) -> Boxes:
    return from_results(list(results), config, size)[0]


class Ledger:
    """Asks Label Studio for a project's annotations at most once in KEPT_S seconds."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[float, list[Effort]]] = {}

    def of(self, project_id: int) -> list[Effort]:
        """The efforts in a project, at most KEPT_S seconds old.

        Raises:
            StudioError: Label Studio does not answer.
            LabelConfigError: boxes can no longer be drawn in the project.
        """
        with self._lock:
            made_at, efforts = self._kept.get(project_id, (0.0, []))
            if not made_at or time.monotonic() - made_at > KEPT_S:
                config = fetch(self._loop.studio, project_id).labels
                efforts = measure(self._loop.studio.annotated_tasks(project_id, predictions=True), config)
                self._kept[project_id] = time.monotonic(), efforts
            return efforts
