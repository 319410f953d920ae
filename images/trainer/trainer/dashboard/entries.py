"""What one labelled task says of the people who labelled it: each one's work with the proposed boxes, and how
far two of them agree.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np

from labelloop.boxes import Boxes
from labelloop.fetched import is_fetched, is_moved
from labelloop.instant import champion_of, is_instant
from labelloop.labels import LabelConfig
from labelloop.regions import from_results
from labelloop.twins import is_marked
from labelloop.verified import is_verified
from trainer.dashboard.agreement import Agreement, Finding, compare
from trainer.dataset.collector import newest_submitted, submitted_at
from trainer.dataset.origin import started_from, version_of
from trainer.judging.effort import Work

IMPORTED = "imported"
"""Label Studio's word, in an annotation's `last_action`, for one that `make import` has brought."""
AS_IT_WAS = 0.005  # of the image's longer side; by rounding, a mere click on a box can shift it
UNKNOWN_SIZE = (1000, 1000)
MOST_PEOPLE = 8
"""Of a task that more people labelled, so many are compared: those whose annotations are the newest."""
LONGEST_S = 7 * 86400.0
"""What a browser says of the seconds is its own word: more than a week counts as one."""
NOBODY = 0
"""In place of a deleted user's id: Label Studio keeps the annotation and forgets whose it was."""

Json = Mapping[str, Any]


class Origin(StrEnum):
    """How an annotation came about. Label Studio's editor records seconds with each that it submits; what a
    program submits with somebody's token has none. What was verified on the page Verify is marked.
    """

    PERSON = "person"
    VERIFIED = "verified"
    PROGRAM = "program"
    IMPORT = "import"


@dataclass(frozen=True)
class Author:
    """Whose an annotation is. user: the user's id in Label Studio; NOBODY for one who was deleted."""

    user: int
    origin: Origin


@dataclass(frozen=True)
class Entry:
    """The newest annotation of one author in a task.

    counts: it is the newest of all, which a round learns from. version: of the prediction that it was begun
    from; None without one. lead_time: the seconds that Label Studio recorded; None without any. changed:
    somebody else has changed it since. from_twins: the work on boxes from labelled near-duplicates, which are
    no merit of the version.
    """

    author: Author
    counts: bool
    version: str | None
    work: Work
    lead_time: float | None
    changed: bool
    from_twins: Work = Work()


@dataclass(frozen=True)
class Comparison:
    """The boxes of two people in one or more images, paired as `agreement.compare` does.

    people: their ids, the smaller one first. same: pairs that lie well on each other, of one label. loose: of
    one label, but not well on each other. label: of two labels. only: boxes that one of the two alone drew,
    in the order of `people`.
    """

    people: tuple[int, int]
    same: int = 0
    loose: int = 0
    label: int = 0
    only: tuple[int, int] = (0, 0)

    @property
    def boxes(self) -> int:
        return self.same + self.differing

    @property
    def differing(self) -> int:
        return self.loose + self.label + sum(self.only)

    @property
    def share_agreed(self) -> float | None:
        """The share of the boxes that both drew alike; None where neither drew any."""
        return self.same / self.boxes if self.boxes else None


@dataclass(frozen=True)
class Labelled:
    """What a task says. comparisons: between any two people who labelled it."""

    task: int
    entries: tuple[Entry, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def used(self) -> Author:
        """The author of the annotation that a round learns from."""
        return next(entry.author for entry in self.entries if entry.counts)


def read_task(task: Json, config: LabelConfig) -> Labelled | None:
    """A task with annotations and predictions; None if every annotation was skipped.

    Of several annotations of one author the newest counts.
    """
    annotations = task.get("annotations")
    newest = newest_submitted(annotations)
    if newest is None:
        return None
    by_author: dict[Author, Json] = {}
    for annotation in _submitted(annotations):
        author = _author(annotation)
        by_author.pop(author, None)
        by_author[author] = annotation
    predictions = task.get("predictions") or []
    entries = tuple(
        _entry(author, annotation, annotation is newest, predictions, config)
        for author, annotation in by_author.items()
    )
    people = {author.user: row for author, row in by_author.items() if author.origin is Origin.PERSON}
    compared = dict(sorted(list(people.items())[-MOST_PEOPLE:]))
    return Labelled(int(task["id"]), entries, tuple(_comparisons(compared, config)))


def _submitted(annotations: object) -> list[Json]:
    """The oldest first. Skipped ones are left out."""
    rows = annotations if isinstance(annotations, list) else []
    submitted = [row for row in rows if isinstance(row, Mapping) and not row.get("was_cancelled")]
    return sorted(submitted, key=lambda row: (submitted_at(row), row.get("id") or 0))


def _author(annotation: Json) -> Author:
    by = annotation.get("completed_by")
    user = by if isinstance(by, int) else NOBODY
    if annotation.get("last_action") == IMPORTED or annotation.get("import_id") is not None:
        return Author(user, Origin.IMPORT)
    if is_verified(annotation.get("result")):
        return Author(user, Origin.VERIFIED)
    return Author(user, Origin.PROGRAM if _lead_time(annotation) is None else Origin.PERSON)


def _lead_time(annotation: Json) -> float | None:
    lead = annotation.get("lead_time")
    return float(min(lead, LONGEST_S)) if isinstance(lead, int | float) and lead > 0 else None


def _entry(
    author: Author, annotation: Json, counts: bool, predictions: Sequence[Json], config: LabelConfig
) -> Entry:
    prediction = started_from(annotation, predictions)
    every = annotation.get("result") or []
    results = [row for row in every if not is_fetched(row)]
    proposed = (prediction.get("result") or []) if prediction else []
    size = _size([*every, *proposed])
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
    work, from_twins = _fetched(every, config, size), Work()
    for finding in compare(mine, found):
        one = _one(finding, mine, found, size)
        if finding.found is not None and finding.found >= len(own):
            from_twins += one
        else:
            work += one
    version = _together(version_of(prediction)) if prediction else None
    changed = annotation.get("updated_by") not in (None, annotation.get("completed_by"))
    return Entry(author, counts, version, work, _lead_time(annotation), changed, from_twins)


def _together(version: str | None) -> str | None:
    """The name under which a version's work is told. There is an instant version for nearly every image, so
    all that were learnt upon one champion go by one name, which comes right after the champion's.

    >>> _together("v0003"), _together("i0003.0012"), sorted(["v0004", "v0003, at once", "v0003"])
    ('v0003', 'v0003, at once', ['v0003', 'v0003, at once', 'v0004'])
    """
    return f"{champion_of(version)}, at once" if version and is_instant(version) else version


def _fetched(results: Sequence[Json], config: LabelConfig, size: tuple[int, int]) -> Work:
    """The boxes that clicks have fetched, and that stayed. What was proposed at their place was deleted."""
    fetched = [row for row in results if is_fetched(row)]
    moved = len(_boxes([row for row in fetched if is_moved(row)], config, size))
    return Work(clicked=len(_boxes(fetched, config, size)) - moved, click_adjusted=moved)


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


def _comparisons(people: Mapping[int, Json], config: LabelConfig) -> Iterator[Comparison]:
    if len(people) < 2:
        return
    size = _size([row for annotation in people.values() for row in annotation.get("result") or []])
    boxes = {user: _boxes(row.get("result") or [], config, size) for user, row in people.items()}
    for one, other in combinations(boxes, 2):
        kinds = [finding.kind for finding in compare(boxes[one], boxes[other])]
        yield Comparison(
            (one, other),
            kinds.count(Agreement.RIGHT),
            kinds.count(Agreement.LOOSE),
            kinds.count(Agreement.WRONG_LABEL),
            (kinds.count(Agreement.MISSED), kinds.count(Agreement.SPURIOUS)),
        )


def _size(results: Sequence[Json]) -> tuple[int, int]:
    sized = next((row for row in results if row.get("original_width") and row.get("original_height")), None)
    return (int(sized["original_width"]), int(sized["original_height"])) if sized else UNKNOWN_SIZE


def _boxes(results: Sequence[Json], config: LabelConfig, size: tuple[int, int]) -> Boxes:
    return from_results(list(results), config, size)[0]
