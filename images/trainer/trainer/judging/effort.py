"""What a person does with bounding boxes, and how long that takes."""

from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Costs:
    """Seconds of a person's time: to draw a box, move or relabel one, delete one, look at a good one."""

    draw: float = 7.0
    adjust: float = 3.5
    delete: float = 1.0
    accept: float = 0.5


USUAL = Costs()


@dataclass(frozen=True)
class Work:
    """Counts of boxes by what a person does with them. A relabelled box is well placed but has a wrong label.

    >>> work = Work(accepted=10, adjusted=2, deleted=1, drawn=1)
    >>> work.share_accepted, work.seconds(), work.seconds_by_hand()
    (0.7692307692307693, 20.0, 91.0)
    """

    accepted: int = 0
    adjusted: int = 0
    relabelled: int = 0
    deleted: int = 0
    drawn: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    @property
    def changed(self) -> int:
        """The number of boxes that are moved, resized or relabelled."""
        return self.adjusted + self.relabelled

    @property
    def proposed(self) -> int:
        return self.accepted + self.changed + self.deleted

    @property
    def truths(self) -> int:
        """The number of boxes in the result."""
        return self.accepted + self.changed + self.drawn

    @property
    def share_accepted(self) -> float | None:
        """The share of the proposed boxes that is accepted; None without a proposed box."""
        return self.accepted / self.proposed if self.proposed else None

    def seconds(self, costs: Costs = USUAL) -> float:
        """The time that this work takes."""
        return (
            self.accepted * costs.accept
            + self.changed * costs.adjust
            + self.deleted * costs.delete
            + self.drawn * costs.draw
        )

    def seconds_by_hand(self, costs: Costs = USUAL) -> float:
        """The time that drawing every box of the result takes."""
        return self.truths * costs.draw

    def seconds_saved(self, costs: Costs = USUAL) -> float:
        """The time saved over drawing by hand; negative when the proposed boxes cost more than they save."""
        return self.seconds_by_hand(costs) - self.seconds(costs)
