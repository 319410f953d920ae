"""Which promotions of a simulated run were wrong, and whether the loop took them back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

UNDONE_WITHIN = 20
"""Images after a wrong promotion, within which it should be taken back."""


@dataclass(frozen=True)
class Promotion:
    """A round's version that went into service in place of `former`.

    labels: how many images were labelled then. mAP, former_mAP: of the two on the test images. seconds,
    former_seconds: a person's time to correct there what each proposes, without clicks. undone_at: labelled
    images when another version came back by itself; None where none did.
    """

    version: str
    former: str
    labels: int
    mAP: float
    former_mAP: float
    seconds: float
    former_seconds: float
    undone_at: int | None = None

    @property
    def wrong(self) -> bool:
        """Whether the test images say that the former version was better."""
        return self.mAP < self.former_mAP

    @property
    def slower(self) -> bool:
        """Whether correcting the test images takes longer than with the former version."""
        return self.seconds > self.former_seconds

    @property
    def undone_soon(self) -> bool:
        return self.undone_at is not None and self.undone_at - self.labels <= UNDONE_WITHIN

    def as_row(self) -> dict[str, Any]:
        return {**asdict(self), "wrong": self.wrong, "slower": self.slower, "undone_soon": self.undone_soon}


def undone(promotions: Sequence[Promotion], version: str, labels: int) -> list[Promotion]:
    """The promotions, after `version` left the service by itself when so many images were labelled."""
    return [
        replace(row, undone_at=labels) if row.version == version and row.undone_at is None else row
        for row in promotions
    ]


def counts(rounds: int, promotions: Sequence[Promotion]) -> dict[str, Any]:
    """Rounds, promotions, and how many of these were wrong by mAP or slower, and taken back in time; the
    share of wrong ones in all rounds, None without a round.
    """
    wrong = [row for row in promotions if row.wrong]
    slower = [row for row in promotions if row.slower]
    return {
        "rounds": rounds,
        "promoted": len(promotions),
        "wrong": len(wrong),
        "wrong_undone_soon": sum(row.undone_soon for row in wrong),
        "slower": len(slower),
        "slower_undone_soon": sum(row.undone_soon for row in slower),
        "share_wrong": len(wrong) / rounds if rounds else None,
        "share_slower": len(slower) / rounds if rounds else None,
    }
