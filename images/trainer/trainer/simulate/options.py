"""The options of a simulation, and the costs of a person's actions."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Self

from trainer.judging.effort import PAGE_TABLES, TABLES, Costs, PageCosts
from trainer.simulate.errors import OptionError

ORDERS = ("uncertainty", "random")
ALL = "all"
NONE = "none"
AUTO = "auto"


@dataclass(frozen=True)
class Person(Costs):
    """A simulated person: its actions' costs, and the lowest IoUs at which it accepts or adjusts a box.

    clicks: how often it clicks on an object at most, 0 for a person who only draws. click_adjusted_iou: from
    there on it adjusts a box that a click has fetched. pages: what the page Verify costs it.
    """

    accepted_iou: float = 0.7
    adjusted_iou: float = 0.3
    clicks: int = 3
    click_adjusted_iou: float = 0.5
    pages: PageCosts = PageCosts()

    @classmethod
    def of(cls, table: str, **given: float | None) -> Self:
        """The person with a table's costs. given: other values for fields, of PageCosts too; None leaves the
        field as it is.

        Raises:
            OptionError: there is no such table, or a value is impossible.
        """
        if table not in TABLES:
            raise OptionError(f"COSTS={table}: choose among {','.join(TABLES)}")
        other = {name: value for name, value in given.items() if value is not None}
        pages = asdict(PAGE_TABLES[table])
        pages |= {field.name: other.pop(field.name) for field in fields(PageCosts) if field.name in other}
        return cls(**{**asdict(TABLES[table]), **other}, pages=PageCosts(**pages))

    def __post_init__(self) -> None:
        actions = self.draw, self.adjust, self.delete, self.accept, self.relabel, self.click
        if min(*actions, *astuple(self.pages)) < 0:
            raise OptionError(f"{self}: no action takes less than 0 seconds")
        if not 0 < self.adjusted_iou <= self.accepted_iou <= 1:
            raise OptionError(f"{self}: needed 0 < ADJUSTED_IOU <= ACCEPTED_IOU <= 1")
        if self.clicks < 0:
            raise OptionError(f"CLICKS={self.clicks}: needed a number of clicks on an object, 0 for none")


@dataclass(frozen=True)
class Options:
    """schedule: `auto` for rounds when the appliance opens them by itself; or the numbers of labelled images
    at which a round trains, `all` for the training set; `none` alone for no round. budget: the most images to
    label, 0 for no limit. one_round_at: the number of labels at which the single round trains, with which the
    loop is compared. reach: the shares of the random order's last mAP at which the labels needed are
    compared. predicted: by label, the model classes for its `predicted_values`. at_once: the images of a run
    on which learning at once is played. verify: whether the page Verify is played after each round. keep:
    whether the projects stay.
    """

    name: str
    orders: tuple[str, ...] = ORDERS
    seeds: tuple[int, ...] = (0, 1, 2)
    schedule: tuple[str, ...] = (AUTO,)
    budget: int = 0
    one_round_at: int = 40
    reach: tuple[float, ...] = (0.9, 0.95, 1.0)
    predicted: dict[str, str] = field(default_factory=dict)
    costs: Person = Person()
    at_once: int = 40
    verify: bool = True
    keep: bool = False

    def __post_init__(self) -> None:
        unknown = set(self.orders) - set(ORDERS)
        if unknown or not self.orders:
            raise OptionError(f"ORDERS={','.join(self.orders)}: choose among {','.join(ORDERS)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise OptionError(f"SEEDS={','.join(map(str, self.seeds))}: needed one or more, each another")
        wrong = [count for count in self.schedule if count != ALL and not (count.isdigit() and int(count))]
        if self.trains and not self.auto and (wrong or not self.schedule):
            given = ",".join(self.schedule)
            raise OptionError(f"SCHEDULE={given}: needed numbers above 0, {ALL}, or {AUTO} or {NONE} alone")

    @property
    def trains(self) -> bool:
        """Whether there are rounds."""
        return self.schedule != (NONE,)

    @property
    def auto(self) -> bool:
        """Whether rounds are those that the appliance opens by itself."""
        return self.schedule == (AUTO,)

    def most(self, images: int) -> int:
        """The most images to label of a training set of `images` images."""
        return min(images, self.budget or images)

    def counts(self, images: int) -> list[int]:
        """The schedule for a training set of `images` images, ascending, cut off at the budget; where it says
        nothing of rounds, its end.
        """
        most = self.most(images)
        wanted = (most if count in (ALL, NONE, AUTO) else int(count) for count in self.schedule)
        return sorted({min(count, most) for count in wanted})


def numbers(text: str, name: str) -> tuple[int, ...]:
    """Whole numbers from "0,1,2".

    Raises:
        OptionError: the text is no such list.
    """
    try:
        return tuple(int(part) for part in words(text))
    except ValueError:
        raise OptionError(f"{name}={text}: needed whole numbers with commas between") from None


def image_count(text: str, name: str) -> int:
    """A number of images from "40"; with "all" there are more than in any dataset.

    Raises:
        OptionError: the text is neither.
    """
    if text.strip() == ALL:
        return sys.maxsize
    if not text.strip().isdigit():
        raise OptionError(f"{name}={text}: needed a number of images, 0 for none, or {ALL}")
    return int(text)


def words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def predicted_values(pairs: Sequence[str]) -> dict[str, str]:
    """The model classes by label, from texts like "raccoon=cat,dog,bear", one per label.

    Raises:
        OptionError: a text has no =.
    """
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise OptionError(f"PREDICTED={wrong[0]}: needed LABEL=CLASS,CLASS")
    return {label.strip(): classes.strip() for label, _, classes in (pair.partition("=") for pair in pairs)}
