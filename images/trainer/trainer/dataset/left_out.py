"""What a snapshot does not use, and why: one closed list of reasons, each with what it means and the way out.

A reason is about a whole image, which is then neither trained on nor held out, or about boxes of an image
that is used without them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class Kind(StrEnum):
    """The reasons. Their values stand in snapshot.json."""

    NO_URL = "no url"
    AWAY = "away"
    UNREADABLE = "unreadable"
    REGION = "region"
    UNKNOWN_LABEL = "unknown label"
    ONLY_JUNK = "only junk"
    EXCLUDED = "excluded"
    SAME_BYTES = "same bytes"
    EARLIER = "earlier"
    OUTSIDE = "box outside"
    SPECK = "speck"
    SLIVER = "sliver"
    NESTED = "nested twin"


@dataclass(frozen=True)
class About:
    """A kind in words. way_out: what a person can do. fault: False where a person wanted it so. boxes:
    whether it is about boxes of an image that is used.
    """

    title: str
    explanation: str
    way_out: str
    fault: bool = True
    boxes: bool = False


ABOUT: Mapping[Kind, About] = {
    Kind.REGION: About(
        "Annotations that could not be understood",
        "A region of the annotation is none that the loop can read, and a box may stand behind it. Without "
        "it the image would teach that nothing is there.",
        "Open the task, delete or draw the region anew, and update the annotation.",
    ),
    Kind.UNKNOWN_LABEL: About(
        "Labels that the label config does not have",
        "A box has a label that is not in the label config, as after a label was renamed there.",
        "`make labels RENAME=old=new` renames it in all annotations, or put the label back into the config.",
    ),
    Kind.AWAY: About(
        "Images that could not be had",
        "The file is not there, or the server that has the image did not give it.",
        "Put the file back or start the server; delete the tasks whose image is gone for good.",
    ),
    Kind.UNREADABLE: About(
        "Images that cannot be read",
        "The file is damaged, too large, or no image of a kind that is read.",
        "Save the image anew under the same name, or delete the task.",
    ),
    Kind.NO_URL: About(
        "Tasks without an image",
        "The task's data has no image under the key that the label config names.",
        "Correct the task's data or the value of <Image>, or delete the task.",
    ),
    Kind.ONLY_JUNK: About(
        "Images with no box but specks and boxes outside",
        "All boxes of the image are too small to show anything, or lie outside it. Without them it would "
        "teach that nothing is there.",
        "Open the task, delete these boxes, draw what is there, and update the annotation.",
    ),
    Kind.EXCLUDED: About(
        "Images that a choice leaves out",
        "A person ticked a choice with exclude in the label config.",
        "Nothing to do. To use the image after all, untick the choice and update the annotation.",
        fault=False,
    ),
    Kind.SAME_BYTES: About(
        "The same image in another task",
        "Another task has the same image, byte for byte, and was labelled later; its annotation counts.",
        "Nothing to do. Delete one of the tasks, if the two do not say the same.",
        fault=False,
    ),
    Kind.EARLIER: About(
        "Left out by an earlier version",
        "The round was taken by an earlier version of labelloop, which kept no more than the sentence.",
        "The next round says more.",
    ),
    Kind.OUTSIDE: About(
        "Boxes outside the image",
        "No part of the box is inside the image. The image is used without it.",
        "Open the task, delete the box, and update the annotation.",
        boxes=True,
    ),
    Kind.SPECK: About(
        "Specks",
        "The box is less than 3 pixels wide and high: a slip of the hand, or what nobody could see.",
        "Open the task, delete the box, and update the annotation.",
        boxes=True,
    ),
    Kind.SLIVER: About(
        "Slivers",
        "The box is less than 2 pixels wide or high: what nobody could see.",
        "Open the task, delete or widen the box, and update the annotation.",
        boxes=True,
    ),
    Kind.NESTED: About(
        "Nested twins",
        "Two boxes of one label mark one object: one lies in the other and fills most of it. The larger is "
        "used.",
        "Open the task, delete one of the two, and update the annotation.",
        boxes=True,
    ),
}


@dataclass(frozen=True)
class LeftOut:
    """An image, or boxes of one, that a snapshot does not use.

    url: the image, without its URL's query, or its file's path; None where the task names none. labels: those
    that the label config does not have. twin: the task with the same bytes whose annotation counts.
    retry_after: for an image that is away, the seconds after which its server wants to be asked again; None
    where asking again soon is of no use. It is not kept.
    """

    task: int
    url: str | None
    kind: Kind
    reason: str
    labels: tuple[str, ...] = ()
    twin: int | None = None
    retry_after: float | None = field(default=None, compare=False, repr=False)

    @property
    def about(self) -> About:
        return ABOUT[self.kind]

    def row(self) -> dict[str, Any]:
        """It as JSON, as `read` reads it."""
        row = {"task": self.task, "url": self.url, "kind": self.kind, "reason": self.reason}
        labels = {"labels": list(self.labels)} if self.labels else {}
        return row | labels | ({} if self.twin is None else {"twin": self.twin})

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """From JSON. What an earlier version wrote has no kind.

        Raises:
            KeyError, TypeError: it is no such row.
        """
        known = row.get("kind") in set(Kind)
        kind = Kind(row["kind"]) if known else Kind.EARLIER
        labels = tuple(row.get("labels") or ())
        return cls(row["task"], row["url"], kind, row["reason"], labels, row.get("twin"))


def by_kind(rows: Iterable[LeftOut]) -> dict[Kind, list[LeftOut]]:
    """The rows by their kind, in the order of ABOUT."""
    found: dict[Kind, list[LeftOut]] = {kind: [] for kind in ABOUT}
    for row in rows:
        found[row.kind].append(row)
    return {kind: of_kind for kind, of_kind in found.items() if of_kind}


def counts_in_words(rows: Iterable[LeftOut]) -> str:
    """How many of each kind: "3 × images that could not be had, 1 × specks"."""
    return ", ".join(
        f"{len(of_kind)} × {ABOUT[kind].title[0].lower()}{ABOUT[kind].title[1:]}"
        for kind, of_kind in by_kind(rows).items()
    )
