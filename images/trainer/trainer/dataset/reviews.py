"""What people decided about doubted labels, in a file beside a project's versions.

A mark is about what was disputed: the task, the label's box and the model's box. So it stays when the
dashboard starts anew, when the model looks again, and when another version looks; and it is about nothing any
more once the label is changed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labelloop.boxes import iou_matrix
from labelloop.errors import Explained
from labelloop.files import write_text
from labelloop.locks import holding
from labelloop.renaming import RenamedConfig, rename_in_results
from trainer.dataset.labelled import Corners

FILE = "reviews.json"
WAIT_S = 10.0
SAME_PX = 0.5
"""A label's box is the same as before if no side of it has moved further."""
SAME_IOU = 0.5
"""Two boxes of the model, of one label, are about the same thing if they overlap as much."""


class ReviewsError(Explained):
    """The file cannot be read; the message says what to do."""


class How(StrEnum):
    """What was decided: the label is right; or what was done to the annotation."""

    RIGHT = "right"
    ACCEPTED = "accepted"
    DELETED = "deleted"
    RELABELLED = "relabelled"


class Side(BaseModel):
    """One of the two disputed boxes, in pixels of the image."""

    model_config = ConfigDict(frozen=True)

    label: str
    box: Corners


class Mark(BaseModel):
    """One decision. doubt: its kind, in words. label: the annotation's box, model: the model's; None where
    there is none. out, into: the rows of the annotation's results that went and that came; annotation: its
    number, None when nothing was changed and in marks of the former release. by: who, at: when.
    """

    model_config = ConfigDict(frozen=True)

    id: str = Field(default_factory=lambda: uuid4().hex[:12])
    task: int
    doubt: str
    how: How
    label: Side | None
    model: Side | None
    by: str
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    out: tuple[dict[str, Any], ...] = ()
    into: tuple[dict[str, Any], ...] = ()
    annotation: int | None = None

    def dismisses(self, label: Side | None, model: Side | None) -> bool:
        """Whether it says that the label is right, about a doubt of its task with these boxes."""
        if self.how is not How.RIGHT or (self.label is None) != (label is None):
            return False
        if self.label is not None and label is not None:
            moved = np.abs(np.subtract(self.label.box, label.box)).max()
            return self.label.label == label.label and bool(moved <= SAME_PX)
        if self.model is None or model is None or self.model.label != model.label:
            return False
        mine, other = (np.array([side.box], dtype=np.float32) for side in (self.model, model))
        return bool(iou_matrix(mine, other)[0, 0] >= SAME_IOU)


class _File(BaseModel):
    marks: list[Mark] = []


class Reviews:
    """The marks of one project. folder: that of its versions. Several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def marks(self) -> list[Mark]:
        """All marks, oldest first. Raises ReviewsError."""
        try:
            return _File.model_validate_json(self.path.read_bytes()).marks
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            raise ReviewsError(
                f"{self.path} cannot be read ({str(error).splitlines()[0]}), so what was decided about "
                "labels is unknown and nothing can be decided; restore it from a backup, or rename it to "
                "begin anew"
            ) from error

    def add(self, *added: Mark) -> None:
        """Adds marks. Raises ReviewsError; OSError, the file cannot be written."""
        with self._changing() as marks:
            marks.extend(added)

    def remove(self, mark_id: str) -> None:
        """Removes a mark, if it is there. Raises ReviewsError; OSError, the file cannot be written."""
        with self._changing() as marks:
            marks[:] = [mark for mark in marks if mark.id != mark_id]

    def rename(self, names: Mapping[str, str]) -> None:
        """Puts new names for labels into the marks, and into the rows that would come back into annotations.

        Raises:
            ReviewsError; OSError.
        """
        config = RenamedConfig("", names, frozenset())
        if not self.path.exists():
            return
        with self._changing() as marks:
            marks[:] = [
                mark.model_copy(
                    update={
                        "label": _renamed(mark.label, names),
                        "model": _renamed(mark.model, names),
                        "out": tuple(rename_in_results([*mark.out], config) or mark.out),
                        "into": tuple(rename_in_results([*mark.into], config) or mark.into),
                    }
                )
                for mark in marks
            ]

    @contextmanager
    def _changing(self) -> Iterator[list[Mark]]:
        with holding(self.path.with_name(f"{FILE}.lock"), WAIT_S):
            marks = self.marks()
            yield marks
            write_text(self.path, _File(marks=marks).model_dump_json())


def _renamed(side: Side | None, names: Mapping[str, str]) -> Side | None:
    return None if side is None else side.model_copy(update={"label": names.get(side.label, side.label)})
