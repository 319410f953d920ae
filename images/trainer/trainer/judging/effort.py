"""What a person does with bounding boxes, and how long that takes.

The tables of costs are here and nowhere else. TABLES has them by the values of the setting COSTS, SOURCES
says where their figures come from.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from types import MappingProxyType

ACTIONS = MappingProxyType(
    {
        "draw": "Draw a box",
        "adjust": "Move or resize one",
        "relabel": "Give one another label",
        "delete": "Delete one",
        "accept": "Look at one that is right, or at what a click has fetched",
        "click": "Click on an object, so that a box appears",
    }
)
"""What is counted, in words, by the field of Costs."""

CLICK_RIGHT = 2 / 3
"""The chance that a click fetches a right box, as long as nobody has counted."""
NO_CLICKS = 0.0
"""That chance where clicks fetch nothing."""


@dataclass(frozen=True)
class Costs:
    """Seconds of a person's time: to draw a box, move or resize one, delete one, look at a good one, give one
    another label, and click on an object so that a box appears.

    All but the click include the look at the box.
    """

    draw: float = 7.0
    adjust: float = 3.5
    delete: float = 1.0
    accept: float = 0.5
    relabel: float = 3.5
    click: float = 1.9

    def with_clicks(self, right: float = CLICK_RIGHT) -> "Costs":
        """The table for a person who clicks on an object that has no box, where that is expected to be
        quicker: `draw` then stands for the click, the look at what it fetches, and deleting that and drawing
        where it is wrong. right: the chance that it isn't.

        >>> [round(costs.with_clicks().draw, 2) for costs in (QUICK, CAREFUL)]
        [4.9, 6.03]
        >>> QUICK.with_clicks(right=0.2) == QUICK
        True
        """
        wrong = self.delete + self.draw
        return replace(self, draw=min(self.draw, self.click + right * self.accept + (1 - right) * wrong))


QUICK = Costs()
CAREFUL = Costs(draw=7.0, adjust=4.5, delete=2.0, accept=1.7, relabel=3.0, click=1.9)
TABLES: Mapping[str, Costs] = MappingProxyType({"quick": QUICK, "careful": CAREFUL})

_ASSUMED = "assumed"
SOURCES = MappingProxyType(
    {
        "draw": "Papadopoulos et al., Extreme clicking for efficient object annotation, ICCV 2017: 7 s a box",
        "adjust": _ASSUMED,
        "relabel": f"{_ASSUMED}; quick: as long as moving one",
        "delete": _ASSUMED,
        "accept": _ASSUMED,
        "click": "Papadopoulos et al., Training object class detectors with click supervision, CVPR 2017: "
        "1.9 s a click",
    }
)
"""By field of Costs. What is not measured by anybody whom we could name is assumed."""


@dataclass(frozen=True)
class Work:
    """Counts of boxes by what a person does with them. A relabelled box is well placed but has a wrong label.

    clicked: boxes that a click fetched and that were right. reclicked: further clicks at the same place, each
    after a look at a box that was not right. click_adjusted: boxes that a click fetched and that were then
    adjusted. click_drawn: boxes that were drawn after a click had fetched one that had to be deleted.

    >>> work = Work(accepted=10, adjusted=2, relabelled=1, deleted=1, drawn=1)
    >>> work.seconds_by_hand(QUICK), work.seconds(QUICK), work.seconds(CAREFUL)
    (98.0, 23.5, 38.0)
    >>> round(Work(clicked=1).seconds(CAREFUL), 2), round(Work(clicked=1, reclicked=1).seconds(CAREFUL), 2)
    (3.6, 7.2)
    """

    accepted: int = 0
    adjusted: int = 0
    relabelled: int = 0
    deleted: int = 0
    drawn: int = 0
    clicked: int = 0
    reclicked: int = 0
    click_adjusted: int = 0
    click_drawn: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    @property
    def proposed(self) -> int:
        """The number of boxes that were there before anybody did anything."""
        return self.accepted + self.adjusted + self.relabelled + self.deleted

    @property
    def by_click(self) -> int:
        """The number of boxes in the result at which it was clicked."""
        return self.clicked + self.click_adjusted + self.click_drawn

    @property
    def clicks(self) -> int:
        return self.by_click + self.reclicked

    @property
    def truths(self) -> int:
        """The number of boxes in the result."""
        return self.accepted + self.adjusted + self.relabelled + self.drawn + self.by_click

    @property
    def share_accepted(self) -> float | None:
        """The share of the proposed boxes that is accepted; None without a proposed box."""
        return self.accepted / self.proposed if self.proposed else None

    @property
    def by_action(self) -> dict[str, int]:
        """The counts by ACTIONS, in their order. What follows on a click is counted as what it is: the look
        at its box, or moving, or deleting and drawing.
        """
        return {
            "draw": self.drawn + self.click_drawn,
            "adjust": self.adjusted + self.click_adjusted,
            "relabel": self.relabelled,
            "delete": self.deleted + self.click_drawn,
            "accept": self.accepted + self.clicked + self.reclicked,
            "click": self.clicks,
        }

    def seconds(self, costs: Costs) -> float:
        """The time that this work takes."""
        return sum(count * float(getattr(costs, action)) for action, count in self.by_action.items())

    def seconds_by_hand(self, costs: Costs) -> float:
        """The time that drawing every box of the result takes."""
        return self.truths * costs.draw

    def seconds_saved(self, costs: Costs) -> float:
        """The time saved over drawing by hand; negative when the proposed boxes cost more than they save."""
        return self.seconds_by_hand(costs) - self.seconds(costs)

    def share_saved(self, costs: Costs) -> float:
        """The share of the time by hand that is saved; 0 without a box in the result."""
        by_hand = self.seconds_by_hand(costs)
        return self.seconds_saved(costs) / by_hand if by_hand else 0.0


@dataclass(frozen=True)
class PageCosts:
    """Seconds of a person's time on the dashboard's page Verify: to look at a crop, to mark one as wrong, and
    for each page beside its crops (read of which label they are, press Enter, wait for the next ones).

    All are assumed.
    """

    glance: float = 0.5
    mark: float = 1.0
    page: float = 2.0


PAGE_TABLES: Mapping[str, PageCosts] = MappingProxyType(
    {"quick": PageCosts(), "careful": PageCosts(glance=1.0, mark=2.0, page=4.0)}
)
"""By the names of TABLES."""


@dataclass(frozen=True)
class PageWork:
    """Counts of what a person does on the page Verify: the crops that she looks at, those of them that she
    marks as wrong, and the pages that she answers.

    >>> work = PageWork(crops=24, marked=2, pages=1)
    >>> [work.seconds(costs) for costs in PAGE_TABLES.values()]
    [16.0, 32.0]
    """

    crops: int = 0
    marked: int = 0
    pages: int = 0

    def __add__(self, other: "PageWork") -> "PageWork":
        return PageWork(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def seconds(self, costs: PageCosts) -> float:
        return self.crops * costs.glance + self.marked * costs.mark + self.pages * costs.page
