"""What became of labels since a look at them: Label Studio is asked for the tasks that were changed since,
and for these alone.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelloop.clocks import LEEWAY
from labelloop.errors import Explained
from labelloop.files import Stamp, stamp_of
from labelloop.labels import LabelConfig
from labelloop.regions import read_regions
from labelloop.studio import Row, Studio
from labelloop.task_filters import LABELLED, changed_after, where
from trainer.dataset.collector import newest_submitted
from trainer.dataset.examine import with_regions
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.rounds.folder import SNAPSHOT
from trainer.worker.surveyor import OMITTED, PAGE

log = logging.getLogger(__name__)

Json = Mapping[str, Any]

FRESH_S = 2.0
KEPT = 4
"""Of so many looks the changes since are kept."""


@dataclass
class Since:
    """What was changed since a look.

    images: by task, the image with its labels of now, None when these do not count any more. owners: by task,
    the number of the person who labelled it, where it is known. asked_at: by the clock. problem: why Label
    Studio does not say.
    """

    since: datetime
    ids: dict[int, int]
    images: dict[int, SnapshotImage | None] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)
    asked_at: float = float("-inf")
    problem: str | None = None


class Changes:
    """The changes since the looks that pages show. Several threads use it."""

    def __init__(self, studio: Studio, clock: Callable[[], float] = time.monotonic) -> None:
        self._studio = studio
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[Path, Stamp], Since] = {}

    def since(self, folder: Path, snapshot: Snapshot, looked_at: datetime) -> Since:
        """The changes since the look in a folder, at most FRESH_S seconds old. looked_at: when it began."""
        with self._lock:
            of = folder, stamp_of(folder / SNAPSHOT)
            found = self._kept.get(of)
            if found is None:
                while len(self._kept) >= KEPT:
                    self._kept.pop(next(iter(self._kept)))
                found = Since(looked_at, {image.task: image.id for image in snapshot.images})
                self._kept[of] = found
            if self._clock() - found.asked_at > FRESH_S:
                self._ask(found, snapshot)
            return found

    def forget(self) -> None:
        """Makes the next page ask, because something was changed."""
        with self._lock:
            for found in self._kept.values():
                found.asked_at = float("-inf")

    def look_up(self, found: Since, snapshot: Snapshot, tasks: list[int]) -> None:
        """Asks for some tasks, whether or not they were changed: a page's worth."""
        if not tasks or found.problem:
            return
        try:
            chosen = where("id", "in_list", tasks, "List")
            rows = {int(row["id"]): row for row in self._tasks(snapshot, chosen)}
        except Explained as error:
            log.warning("the labels' owners are unknown: %s", error)
            return
        with self._lock:
            for task in tasks:
                self._take(found, snapshot, task, rows.get(task, {}))

    def _ask(self, found: Since, snapshot: Snapshot) -> None:
        began = datetime.now(UTC)
        try:
            # Not of those without annotations: each new prediction changes its task.
            for task in self._tasks(snapshot, LABELLED, changed_after(found.since - LEEWAY)):
                self._take(found, snapshot, int(task["id"]), task)
            found.since, found.problem = began, None
        except Explained as error:
            log.warning("labels are shown as of the last look at them: %s", error)
            found.problem = str(error)
        found.asked_at = self._clock()

    def _tasks(self, snapshot: Snapshot, *conditions: Row) -> list[Row]:
        rows = self._studio.iter_tasks(
            snapshot.project, *conditions, fields="all", omit=OMITTED, page_size=PAGE
        )
        return list(rows)

    def _take(self, found: Since, snapshot: Snapshot, number: int, task: Json) -> None:
        image = snapshot.images.get(found.ids[number]) if number in found.ids else None
        if image is None:
            return
        annotation = newest_submitted(task.get("annotations"))
        now = None if annotation is None else _now(image, annotation, snapshot.label_config)
        if now == image:
            found.images.pop(number, None)
        else:
            found.images[number] = now
        owner = owner_of(annotation) if annotation is not None else None
        if owner is not None:
            found.owners[number] = owner


def owner_of(annotation: Json) -> int | None:
    """The number of the person who labelled; None when it is unknown."""
    told = annotation.get("completed_by")
    number = told.get("id") if isinstance(told, Mapping) else told
    return number if isinstance(number, int) else None


def _now(image: SnapshotImage, annotation: Json, config: LabelConfig) -> SnapshotImage | None:
    found = read_regions(annotation.get("result") or [], config, (image.width, image.height))
    return None if found.faults or found.excluding else with_regions(image, found)
