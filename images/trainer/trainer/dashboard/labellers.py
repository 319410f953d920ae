"""What the page Effort says of the people who labelled, where there are several: each one's work, and where
two of them disagree.

People are not ranked: they stand in the order of their names, and no row is held against another. An
administrator sees everybody, everybody else herself and the images that she labelled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainer.dashboard.annotators import in_words
from trainer.dashboard.book import Agreed, Dispute, Effort
from trainer.dashboard.entries import Author, Comparison, Origin
from trainer.dashboard.ledger import Kept
from trainer.dashboard.people import Person

FEW_BOXES, FEW_IMAGES = 20, 5
"""Below these no share, and no median, is told: one more image would change it too much."""
SHOWN = 25
PEOPLE = (
    *("name", "how", "images", "images with a time", "median seconds", "left out as pauses"),
    *("changed by others", "proposed", "accepted", "moved", "relabelled", "deleted"),
    *("drawn", "clicked", "boxes in the result"),
)
DISPUTES = (
    *("task", "one", "other", "differing boxes", "agreed", "loose", "other label", "only one", "only other"),
    "a round learns from",
)
HOW = {
    Origin.PERSON: "in the editor",
    Origin.VERIFIED: "on the page Verify",
    Origin.PROGRAM: "by a program",
    Origin.IMPORT: "imported",
}


@dataclass(frozen=True)
class Row:
    """One author's work. name: as the page shows it."""

    author: Author
    name: str
    effort: Effort

    @property
    def worked_here(self) -> bool:
        """Whether it is a person's work with boxes that were proposed here."""
        return self.author.origin in (Origin.PERSON, Origin.VERIFIED)

    @property
    def to_tell(self) -> bool:
        """Whether there is something about the numbers that has to be said."""
        return bool(self.effort.pauses or self.effort.changed)

    @property
    def lead_time(self) -> float | None:
        """The median seconds per image; None where too few have any."""
        return self.effort.lead_time if len(self.effort.lead_times) >= FEW_IMAGES else None

    def share(self, count: int) -> float | None:
        """A count's share of the proposed boxes; None where these are too few."""
        return _share(count, self.effort.work.proposed)

    @property
    def share_drawn(self) -> float | None:
        """The share of the boxes in the result that were drawn."""
        return _share(self.effort.work.drawn, self.effort.work.truths)

    @property
    def share_clicked(self) -> float | None:
        """The share of the boxes in the result that a click fetched."""
        return _share(self.effort.work.by_click, self.effort.work.truths)


@dataclass(frozen=True)
class Pair:
    """How far two people agree. names: theirs, in the order of the alphabet; boxes: in the same order."""

    names: tuple[str, str]
    boxes: Comparison
    images: int
    alike: int

    @property
    def share_agreed(self) -> float | None:
        return _share(self.boxes.same, self.boxes.boxes)


@dataclass(frozen=True)
class Differing:
    """An image that two people labelled differently. used: whose annotation a round learns from."""

    task: int
    names: tuple[str, str]
    boxes: Comparison
    used: str

    @property
    def how(self) -> str:
        """What differs: "2 that ann@example.org alone drew, 1 of another label, 3 loose"."""
        alone = zip(self.boxes.only, self.names, strict=True)
        said = [f"{count} that {name} alone drew" for count, name in alone if count]
        said += [f"{self.boxes.label} of another label"] * bool(self.boxes.label)
        return ", ".join(said + [f"{self.boxes.loose} loose"] * bool(self.boxes.loose))


def _share(count: int, of: int) -> float | None:
    return count / of if of >= FEW_BOXES else None


def are_several(kept: Kept) -> bool:
    """Whether more than one person labelled in the project."""
    return sum(author.origin is Origin.PERSON for author in kept.book.authors) > 1


def contents(kept: Kept, viewer: Person) -> dict[str, Any] | None:
    """What the page says of people; None where one alone labelled. whole: the viewer sees everybody."""
    if not are_several(kept):
        return None
    disputes = [_differing(row, kept) for row in kept.book.disputes(_only(viewer), SHOWN)]
    return {
        "rows": rows(kept, viewer),
        "pairs": pairs(kept, viewer),
        "disputes": disputes,
        "whole": _only(viewer) is None,
        "few_boxes": FEW_BOXES,
        "few_images": FEW_IMAGES,
    }


def rows(kept: Kept, viewer: Person) -> list[Row]:
    """Those whom the viewer may see, people first, by name."""
    only = _only(viewer)
    found = (
        Row(author, in_words(author, kept.name(author.user)), effort)
        for author, effort in kept.book.authors.items()
        if only is None or author.user == only
    )
    return sorted(found, key=lambda row: (list(HOW).index(row.author.origin), row.name.casefold()))


def pairs(kept: Kept, viewer: Person) -> list[Pair]:
    """Each two people who labelled the same images, by name; of whom the viewer may see."""
    only = _only(viewer)
    found = (_pair(row, kept) for row in kept.book.agreed if only is None or only in row.boxes.people)
    return sorted(found, key=lambda pair: tuple(map(str.casefold, pair.names)))


def rows_of_people(kept: Kept, viewer: Person) -> Iterator[tuple[object, ...]]:
    """The table PEOPLE; what was not recorded is empty."""
    for row in rows(kept, viewer) if are_several(kept) else ():
        effort, work = row.effort, row.effort.work
        whose = str(kept.name(row.author.user))
        lead = "" if effort.lead_time is None else round(effort.lead_time, 1)
        yield (
            (whose, HOW[row.author.origin], effort.images, len(effort.lead_times), lead)
            + (effort.pauses, effort.changed)
            + (work.proposed, work.accepted, work.adjusted, work.relabelled, work.deleted)
            + (work.drawn, work.by_click, work.truths)
        )


def rows_of_disputes(kept: Kept, viewer: Person) -> Iterator[tuple[object, ...]]:
    """The table DISPUTES: the most differing boxes first."""
    for row in kept.book.disputes(_only(viewer)):
        it = _differing(row, kept)
        boxes = it.boxes
        yield (
            (it.task, *it.names, boxes.differing, boxes.same, boxes.loose, boxes.label)
            + (*boxes.only, it.used)
        )


def _only(viewer: Person) -> int | None:
    """The only user whose work the viewer may see; None for everybody's."""
    return None if viewer.administrator else viewer.id


def _pair(row: Agreed, kept: Kept) -> Pair:
    names, boxes = _in_order(row.boxes, kept)
    return Pair(names, boxes, row.images, row.alike)


def _differing(row: Dispute, kept: Kept) -> Differing:
    names, boxes = _in_order(row.boxes, kept)
    used = in_words(row.used, kept.name(row.used.user))
    return Differing(row.task, names, boxes, used)


def _in_order(boxes: Comparison, kept: Kept) -> tuple[tuple[str, str], Comparison]:
    """The two names in the order of the alphabet, and the boxes in that order."""
    one, other = (kept.name(user).name for user in boxes.people)
    if (one.casefold(), boxes.people[0]) <= (other.casefold(), boxes.people[1]):
        return (one, other), boxes
    swapped = Comparison(boxes.people[::-1], boxes.same, boxes.loose, boxes.label, boxes.only[::-1])
    return (other, one), swapped
