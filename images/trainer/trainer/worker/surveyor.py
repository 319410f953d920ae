"""Keeps the list of labels that cannot be used up to date: entries come and go with their cause."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from labelloop.locks import Busy
from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.studio import LABELLED, Studio, changed_after, where
from trainer.dataset import split
from trainer.dataset.collector import newest_submitted
from trainer.dataset.examine import Examiner, UsedTask
from trainer.dataset.left_out import Kind, LeftOut
from trainer.dataset.snapshot import snapshotting
from trainer.dataset.survey import Survey
from trainer.peers.projects import Project

Task = Mapping[str, Any]

OMITTED = "drafts,predictions"
PAGE = 100
LOOK_S = 20.0
"""After so many seconds the images of the remaining entries wait for the next run."""
MISSES = 3
LEEWAY = timedelta(minutes=1)
EVER = datetime.fromtimestamp(0, UTC)


class Surveyor:
    """Looks at the tasks that were changed since the last look, and again at those that are listed."""

    def __init__(
        self, settings: Settings, studio: Studio, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._studio = studio
        self._clock = clock

    def run(self, project: Project) -> None:
        """Brings a project's survey up to date, unless a snapshot is being taken, which does it too.

        Raises:
            StudioError: Label Studio does not answer. split.SplitError: split.json is damaged.
        """
        try:
            with snapshotting(self._settings.rounds_dir, wait_s=0.0):
                self._run(project)
        except Busy:
            return

    def _run(self, project: Project) -> None:
        began = datetime.now(UTC)
        known = Survey.load(self._settings.rounds_dir, project.id)
        if known is None or known.label_config != project.label_config:
            known = Survey(project.id, EVER, project.label_config, known.left_out if known else ())
        listed: dict[int, list[LeftOut]] = {}
        for row in known.left_out:
            listed.setdefault(row.task, []).append(row)
        sides = Registry(self._settings.models_dir).project(project.id).path / split.SPLIT_FILE
        examiner = Examiner(project.labels, self._settings, split.load(sides) if listed else ())
        left_out = [
            *self._again(project.id, examiner, listed),
            *self._changed(project.id, examiner, known.began, listed),
        ]
        replace(known, began=began, left_out=tuple(left_out)).write(self._settings.rounds_dir)

    def _again(
        self, project_id: int, examiner: Examiner, listed: Mapping[int, list[LeftOut]]
    ) -> Iterator[LeftOut]:
        """What is left of the entries. Those that were not looked at come first, and so are next: once LOOK_S
        are over, and images on servers once MISSES of these were still away.
        """
        wanted = {*listed, *(row.twin for rows in listed.values() for row in rows if row.twin is not None)}
        tasks = {int(task["id"]): task for task in self._tasks(project_id, sorted(wanted))}
        until, misses = self._clock() + LOOK_S, 0
        looked_at: list[LeftOut] = []
        for number, rows in listed.items():
            if number not in tasks:
                continue
            away = any(row.kind is Kind.AWAY and "://" in (row.url or "") for row in rows)
            if self._clock() > until or (away and misses >= MISSES):
                yield from rows
                continue
            left = list(_still(examiner, tasks[number], rows, tasks))
            misses += away and any(row.kind is Kind.AWAY for row in left)
            looked_at += left
        yield from looked_at

    def _changed(
        self, project_id: int, examiner: Examiner, since: datetime, listed: Mapping[int, object]
    ) -> Iterator[LeftOut]:
        """What the annotations of other tasks say, if these were changed. Their images are not looked at."""
        conditions = (LABELLED,) if since == EVER else (LABELLED, changed_after(since - LEEWAY))
        for task in self._studio.iter_tasks(
            project_id, *conditions, fields="all", omit=OMITTED, page_size=PAGE
        ):
            annotation = newest_submitted(task.get("annotations"))
            if annotation is not None and int(task["id"]) not in listed:
                refused = examiner.refused(task, annotation)
                if refused is not None:
                    yield refused

    def _tasks(self, project_id: int, numbers: Sequence[int]) -> Iterator[Task]:
        for first in range(0, len(numbers), PAGE):
            chosen = where("id", "in_list", list(numbers[first : first + PAGE]), "List")
            yield from self._studio.iter_tasks(project_id, chosen, fields="all", omit=OMITTED, page_size=PAGE)


def _still(
    examiner: Examiner, task: Task, rows: list[LeftOut], tasks: Mapping[int, Task]
) -> Iterator[LeftOut]:
    """What is to be said of a listed task now."""
    annotation = newest_submitted(task.get("annotations"))
    if annotation is None:
        return
    found = examiner.examine(task, annotation)
    if isinstance(found, UsedTask):
        yield from found.boxes_left_out
        twins = (row for row in rows if row.kind is Kind.SAME_BYTES and row.twin is not None)
        yield from (row for row in twins if newest_submitted(tasks.get(row.twin or 0, {}).get("annotations")))
    else:
        yield found
