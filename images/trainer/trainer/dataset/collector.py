"""Collects what was labelled, task by task, and what of it cannot be used."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from labelloop.verified import is_verified
from trainer.dataset.examine import Examiner
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.left_out import Kind, LeftOut
from trainer.words import plural

PATIENCE_S = 180.0
FIRST_PAUSE_S = 1.0
MOST_AWAY = 2000
"""So many tasks whose images are away are kept in memory, to be asked for again."""


class Collector:
    """Collects labelled images with different bytes, in the order of their tasks, and what could not be used.

    labelled: how many tasks have an annotation that counts.
    """

    def __init__(self, examiner: Examiner) -> None:
        self._examiner = examiner
        self._answers: Counter[str] = Counter()
        self._boxes_left_out: dict[int, list[LeftOut]] = {}
        self._away: list[tuple[Mapping[str, Any], Mapping[str, Any], LeftOut]] = []
        self._flaws: list[str] = []
        self.labelled = 0
        self.images = LabelledImages()
        self.skipped: list[LeftOut] = []

    @property
    def boxes_left_out(self) -> tuple[LeftOut, ...]:
        return tuple(row for rows in self._boxes_left_out.values() for row in rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is used as far as browsers show it, and choices that may have been meant otherwise."""
        choices = (
            f"{plural(count, 'image')} without a box and with the choice {choice!r} taught that nothing is "
            f'there; exclude="{choice}" on its <Choices> in the label config leaves such images out'
            for choice, count in self._answers.most_common()
        )
        return (*self._flaws, *choices)

    def add(self, task: Mapping[str, Any]) -> None:
        annotation = newest_submitted(task.get("annotations"))
        if annotation is None:
            return
        self.labelled += 1
        self._add(task, annotation)

    def _add(self, task: Mapping[str, Any], annotation: Mapping[str, Any]) -> None:
        found = self._examiner.examine(task, annotation)
        if isinstance(found, LeftOut):
            if found.retry_after is not None and len(self._away) < MOST_AWAY:
                self._away.append((task, annotation, found))
            else:
                self.skipped.append(found)
        elif self._is_newest(found.image, annotation):
            if found.flaw:
                self._flaws.append(f"task {found.image.task}: {found.name}: {found.flaw}")
            if found.boxes_left_out:
                self._boxes_left_out[found.image.task] = found.boxes_left_out
            if not found.image.labels and not found.image.ignored:
                self._answers.update(set(found.answers))

    def _is_newest(self, image: SnapshotImage, annotation: Mapping[str, Any]) -> bool:
        """Adds the image, unless one with the same bytes was labelled later. Of two the older is left out."""
        submitted = submitted_at(annotation).timestamp()
        twin = self.images.same_bytes(image.sha256)
        if twin is not None:
            known, known_submitted = twin
            if submitted <= known_submitted:
                self._skip(image, known)
                return False
            self._skip(known, image)
            self.images.remove(known)
            self._boxes_left_out.pop(known.task, None)
        self.images.add(image, submitted, is_verified(annotation.get("result")))
        return True

    def _skip(self, image: SnapshotImage, winner: SnapshotImage) -> None:
        reason = f"the same bytes as the image of task {winner.task}, which was labelled later"
        self.skipped.append(LeftOut(image.task, image.file, Kind.SAME_BYTES, reason, twin=winner.task))

    def add_what_was_away(self, say: Callable[[str], None]) -> None:
        """Asks again, after longer and longer pauses, for the images that were away. Leaves out those that
        stay so for PATIENCE_S.
        """
        deadline, pause = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S
        while self._away and (left := deadline - time.monotonic()) > 0:
            say(f"{plural(len(self._away), 'image is', 'images are')} away; asking again")
            wanted = max(row.retry_after or 0.0 for *_, row in self._away)
            time.sleep(min(max(pause, wanted), left))
            pause *= 2
            again, self._away = self._away, []
            self._examiner.remote.ask_again()
            for task, annotation, _ in again:
                self._add(task, annotation)
        self.skipped += [row for *_, row in self._away]
        self._away = []


def newest_submitted(annotations: object) -> Mapping[str, Any] | None:
    """The annotation that counts in a task's list of annotations; None when all were skipped."""
    submitted = [
        annotation
        for annotation in (annotations if isinstance(annotations, list) else [])
        if isinstance(annotation, Mapping) and not annotation.get("was_cancelled")
    ]
    return max(submitted, key=lambda annotation: (submitted_at(annotation), _id(annotation)), default=None)


def submitted_at(annotation: Mapping[str, Any]) -> datetime:
    """When an annotation was submitted. An imported one without a readable date counts as older than all
    others.
    """
    return _dated(annotation, "updated_at", "created_at")


def first_submitted(task: Mapping[str, Any]) -> datetime | None:
    """When a task's first annotation was made; None without one that counts."""
    rows = task.get("annotations") or []
    return min((_dated(row, "created_at") for row in rows if not row.get("was_cancelled")), default=None)


def _dated(annotation: Mapping[str, Any], *keys: str) -> datetime:
    for key in keys:
        try:
            when = datetime.fromisoformat(annotation[key])
        except (KeyError, TypeError, ValueError):
            continue
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)


def _id(annotation: Mapping[str, Any]) -> int:
    number = annotation.get("id")
    return number if isinstance(number, int) else 0
