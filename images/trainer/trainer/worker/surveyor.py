"""Keeps the list of labels that cannot be used up to date: entries come and go with their cause."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from labelloop.box_sizes import SIZES_FILE, SizesBook, sizes_in
from labelloop.clocks import EVER, LEEWAY
from labelloop.locks import Busy
from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.studio import Studio
from labelloop.task_filters import LABELLED, changed_after, where
from trainer.dataset import split
from trainer.dataset.collector import newest_submitted
from trainer.dataset.examine import Examiner, UsedTask
from trainer.dataset.left_out import Kind, LeftOut
from trainer.dataset.snapshot import snapshotting
from trainer.dataset.survey import Survey
from trainer.peers.projects import Project

Task = Mapping[str, Any]
SizesByLabel = dict[str, list[list[float]]]

OMITTED = "drafts,predictions"
PAGE = 100
LOOK_S = 20.0
"""After so many seconds the images of the remaining entries wait for the next run."""
MOST = 300
"""So many entries are looked at in a run, so that a long list does not keep Label Studio busy."""
MISSES = 3


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
        folder = Registry(self._settings.models_dir).project(project.id).path
        sides = folder / split.SPLIT_FILE
        examiner = Examiner(project.labels, self._settings, split.load(sides) if listed else ())
        sizes: dict[int, SizesByLabel] = {}
        book = SizesBook(folder / SIZES_FILE)
        since = EVER if folder.is_dir() and not book.known else known.began
        looked_at = {row.task: row for row in self._changed(project, examiner, since, listed, sizes)}
        if folder.is_dir():
            book.note(sizes.items())
        left_out = [*self._again(project.id, examiner, listed), *looked_at.values()]
        replace(known, began=began, left_out=tuple(left_out)).write(self._settings.rounds_dir)

    def _again(
        self, project_id: int, examiner: Examiner, listed: Mapping[int, list[LeftOut]]
    ) -> Iterator[LeftOut]:
        """What is left of the entries. Those that were not looked at come first, and so are next.

        These are all beyond MOST or LOOK_S, and then images on servers, once MISSES of these were still away.
        """
        until, misses = self._clock() + LOOK_S, 0
        numbers = list(listed)
        looked_at: list[LeftOut] = []
        passed_over: list[LeftOut] = []
        tasks: dict[int, Task] = {}
        for position, number in enumerate(numbers):
            rows = listed[number]
            if position >= MOST or self._clock() > until:
                yield from (row for left in numbers[position:] for row in listed[left])
                break
            if position % PAGE == 0:
                tasks = self._with_twins(project_id, listed, numbers[position : min(position + PAGE, MOST)])
            if number not in tasks:
                continue
            away = any(row.kind is Kind.AWAY and "://" in (row.url or "") for row in rows)
            if away and misses >= MISSES:
                passed_over += rows
                continue
            left = list(_still(examiner, tasks[number], rows, tasks))
            misses += away and any(row.kind is Kind.AWAY for row in left)
            looked_at += left
        yield from passed_over
        yield from looked_at

    def _changed(
        self,
        project: Project,
        examiner: Examiner,
        since: datetime,
        listed: dict[int, list[LeftOut]],
        sizes: dict[int, SizesByLabel],
    ) -> Iterator[LeftOut]:
        """What the annotations of tasks say, if these were changed. Their images are not looked at.

        listed: the entries by task. Those that are told here are taken out; other changed tasks come first.
        sizes: gets those of each task's boxes, which clicks to box go by.
        """
        conditions = (LABELLED,) if since == EVER else (LABELLED, changed_after(since - LEEWAY))
        changed: set[int] = set()
        for task in self._studio.iter_tasks(
            project.id, *conditions, fields="all", omit=OMITTED, page_size=PAGE
        ):
            annotation = newest_submitted(task.get("annotations"))
            number = int(task["id"])
            sizes[number] = sizes_in((annotation or {}).get("result"), project.labels)
            refused = examiner.refused(task, annotation) if annotation is not None else None
            if refused is not None:
                listed.pop(number, None)
                yield refused
            else:
                changed.add(number)
        order = sorted(listed, key=lambda number: number not in changed)
        entries = [(number, listed[number]) for number in order]
        listed.clear()
        listed.update(entries)

    def _with_twins(
        self, project_id: int, listed: Mapping[int, list[LeftOut]], numbers: Sequence[int]
    ) -> dict[int, Task]:
        """Tasks, and those with the same bytes that their entries name, by their ids."""
        twins = {row.twin for number in numbers for row in listed[number] if row.twin is not None}
        return {int(task["id"]): task for task in self._tasks(project_id, sorted({*numbers, *twins}))}

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
