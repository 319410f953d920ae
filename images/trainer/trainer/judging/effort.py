"""A person's time with bounding boxes: what is done with them, and how long that takes."""

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
    """Boxes by what is done with them. A relabelled one lies well and has the wrong label.

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
        """Boxes moved, resized or relabelled."""
        return self.adjusted + self.relabelled

    @property
    def proposed(self) -> int:
        return self.accepted + self.changed + self.deleted

    @property
    def truths(self) -> int:
        """Boxes of the result."""
        return self.accepted + self.changed + self.drawn

    @property
    def share_accepted(self) -> float | None:
        """Of the proposed boxes; None without one."""
        return self.accepted / self.proposed if self.proposed else None

    def seconds(self, costs: Costs = USUAL) -> float:
        """Every box handled as it was."""
        return (
            self.accepted * costs.accept
            + self.changed * costs.adjust
            + self.deleted * costs.delete
            + self.drawn * costs.draw
        )

    def seconds_by_hand(self, costs: Costs = USUAL) -> float:
        """Every box of the result drawn."""
        return self.truths * costs.draw

    def seconds_saved(self, costs: Costs = USUAL) -> float:
        """Negative when the proposed boxes cost more than they spare."""
        return self.seconds_by_hand(costs) - self.seconds(costs)
