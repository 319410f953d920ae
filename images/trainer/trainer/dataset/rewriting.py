"""Writes corrections back into annotations: the one way in which the dashboard changes what people drew."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from labelloop.errors import Explained
from labelloop.studio import Studio, StudioError
from trainer.dataset.collector import newest_submitted

log = logging.getLogger(__name__)

Json = Mapping[str, Any]

ONE_AT_A_TIME = threading.RLock()
"""Who reads an annotation to change it holds this, so that of two that do so neither loses what the other
wrote. Label Studio replaces an annotation's results as a whole.
"""


class AnnotationChanged(Explained):
    """An annotation is not any more what the correction was meant for. Nothing was written."""


@dataclass(frozen=True)
class Edit:
    """A change of an annotation's results. out: the rows that go, into: those that come in their place.
    annotation: the number of the one that was changed; None before it is.
    """

    out: tuple[Json, ...]
    into: tuple[Json, ...]
    annotation: int | None = field(default=None, compare=False)

    @property
    def undone(self) -> "Edit":
        return Edit(self.into, self.out)

    def of(self, results: Sequence[Any]) -> list[Any]:
        """The results after the change.

        Raises:
            AnnotationChanged: a row that is to go is not among the results, or one that is to come is.
        """
        kept, position = list(results), len(results)
        for row in self.out:
            if row not in kept:
                raise AnnotationChanged(
                    "the box was changed meanwhile, so nothing was written; open the task in Label Studio"
                )
            at = kept.index(row)
            position = min(position, at)
            del kept[at]
        if any(row in kept for row in self.into):
            raise AnnotationChanged("the box is there already, so nothing was written")
        kept[position:position] = self.into
        return kept


def annotation_now(studio: Studio, task: int) -> Json:
    """The annotation of a task that counts, as it is at this moment.

    Raises:
        AnnotationChanged: there is none any more. StudioError: Label Studio does not answer.
    """
    try:
        found = newest_submitted(studio.task(task).get("annotations"))
    except StudioError as error:
        if error.status != 404:
            raise
        raise AnnotationChanged(f"task {task} is gone from Label Studio, so nothing was written") from error
    if found is None or not isinstance(found.get("result"), list):
        raise AnnotationChanged(f"task {task} has no annotation any more, so nothing was written")
    return found


def rewrite(studio: Studio, task: int, change: Callable[[Json], Edit | None], by: str) -> Edit | None:
    """Changes the annotation of a task that counts.

    change: gets the annotation as it is at this moment, and returns what is to be changed, None for nothing.
    by: the person, for the log. Returns: what was changed.

    Raises:
        AnnotationChanged: there is no such annotation any more, or `change` does not fit it.
        StudioError: Label Studio does not answer or refuses.
    """
    with ONE_AT_A_TIME:
        annotation = annotation_now(studio, task)
        edit = change(annotation)
        if edit is not None:
            edit = replace(edit, annotation=int(annotation["id"]))
            studio.update_annotation(int(annotation["id"]), edit.of(annotation["result"]))
    if edit is not None:
        log.info(
            "task %d: %s changed annotation %s: out %s, in %s",
            task,
            by,
            annotation["id"],
            list(edit.out),
            list(edit.into),
        )
    return edit
