"""A simulation's measurements."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from labelloop.registry import STARTING_VERSION
from trainer.judging.effort import TABLES, Work
from trainer.rounds.table import State
from trainer.simulate.options import Person
from trainer.simulate.promotions import Promotion
from trainer.simulate.work_done import PRICES, Effort, saved

FIRST_IMAGES = 10
"""The first images, whose time saved is told apart: on these the model knows least."""

_ROUND_OVER = (str(State.PROMOTED), str(State.KEPT))

Row = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One batch of labels and the round after it; step 0 is the starting model before any label.

    labels: the number of images labelled so far. effort, boxes, seconds, by_hand_seconds: of this batch;
    boxes counts the true boxes, by_hand_seconds is the time to draw those that the result has. handed_over:
    images that the page Verify has left to the editor. state, verdict: the round's; "labelled" without one.
    version: the champion after the round. mAP, AP50: of that version, on the test
    images. least_certain_first: the share of the batch's tasks that had the lowest score among the remaining
    ones when Label Studio handed them out. round_seconds: the time for training and evaluation.
    wall_seconds: the time for the whole step, spent: the same by what it went into. clicks_tried,
    clicks_right: how many first, second … clicks on an object there were, and how many of them fetched a
    right box. test_work: what the person would do on the test images with what the version proposes, without
    clicks. efforts: those of this batch, image by image; pages of crops that no image came after are in
    none.
    """

    order: str
    seed: int
    step: int
    labels: int
    images: int
    boxes: int
    effort: Effort
    seconds: float
    by_hand_seconds: float
    state: str
    verdict: str
    version: str
    mAP: float
    AP50: float
    least_certain_first: float | None
    round_seconds: float
    wall_seconds: float
    clicks_tried: tuple[int, ...] = ()
    clicks_right: tuple[int, ...] = ()
    test_work: Work = Work()
    efforts: tuple[Effort, ...] = ()
    handed_over: int = 0
    spent: dict[str, float] = field(default_factory=dict)

    @property
    def work(self) -> Work:
        """In the editor."""
        return self.effort.work

    @property
    def first_click_right(self) -> float | None:
        """The share of the objects at which it was clicked whose first click fetched a right box."""
        return self.clicks_right[0] / self.clicks_tried[0] if self.clicks_tried else None

    def as_row(self) -> Row:
        """The step as a flat dict, for a line of JSON."""
        row = asdict(self)
        effort = row.pop("effort")
        return {
            **row,
            **effort.pop("work"),
            **effort,
            "share_accepted": self.work.share_accepted,
            "first_click_right": self.first_click_right,
            **{by(name, "saved_by_hand"): self.effort.share_saved(PRICES[name]) for name in TABLES},
        }


@dataclass(frozen=True)
class OneRound:
    """The comparison with a single round, on the same images in the same order: the first `labels` images are
    corrected with the starting model's boxes, the rest with those of `version`.
    """

    labels: int
    version: str
    work: Work
    seconds: float


@dataclass(frozen=True)
class RunFigures:
    """The figures of one run, with one order and seed, from the first label to the last round.

    detector, start_weights: those of the starting model. costs: the person's. efforts: that for each image,
    in the order in which they were labelled; pages of crops count with the image that came next. learning_s:
    each time that the stack learnt at once, the seconds from a submission to boxes that know of it.
    promotions: of its rounds.
    """

    order: str
    seed: int
    steps: tuple[Step, ...]
    one_round: OneRound
    detector: str
    start_weights: str
    costs: Person = Person()
    efforts: tuple[Effort, ...] = ()
    learning_s: tuple[float, ...] = ()
    promotions: tuple[Promotion, ...] = ()

    @property
    def effort(self) -> Effort:
        return sum((step.effort for step in self.steps), Effort())

    @property
    def work(self) -> Work:
        """In the editor."""
        return self.effort.work

    @property
    def share_verified(self) -> float:
        """The share of the images that was submitted from the page Verify."""
        return self.effort.verified.images / self.steps[-1].labels if self.steps[-1].labels else 0.0

    @property
    def first_images(self) -> Effort:
        """That for the first FIRST_IMAGES images."""
        return sum(self.efforts[:FIRST_IMAGES], Effort())

    @property
    def saved_first_images(self) -> float:
        """The share of the time by hand that is saved on the first FIRST_IMAGES images."""
        return self.first_images.share_saved(self.costs)

    @property
    def rounds(self) -> int:
        return sum(step.state in _ROUND_OVER for step in self.steps)

    @property
    def first_click_right(self) -> float | None:
        """As of a step, over all steps."""
        tried = sum(step.clicks_tried[0] for step in self.steps if step.clicks_tried)
        right = sum(step.clicks_right[0] for step in self.steps if step.clicks_right)
        return right / tried if tried else None

    @property
    def spent(self) -> dict[str, float]:
        """The seconds of all steps, by what they went into."""
        total: dict[str, float] = {}
        for step in self.steps:
            for on, seconds in step.spent.items():
                total[on] = total.get(on, 0.0) + seconds
        return total

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps)

    @property
    def by_hand_seconds(self) -> float:
        return sum(step.by_hand_seconds for step in self.steps)

    @property
    def saved_by_hand(self) -> float:
        """The share of the time by hand that the loop saves; negative when the loop takes longer."""
        return saved(self.seconds, self.by_hand_seconds)

    @property
    def saved_one_round(self) -> float:
        """The share of the time with a single round that the loop saves."""
        return saved(self.seconds, self.one_round.seconds)

    @property
    def saved_by_tables(self) -> Row:
        """What the loop and a single round save by each of TABLES, whatever the person's own costs are."""
        found: Row = {}
        for name, person in PRICES.items():
            loop, once = self.effort.seconds(person), self.one_round.work.seconds(person)
            found[by(name, "saved_by_hand")] = self.effort.share_saved(person)
            found[by(name, "saved_first_images")] = self.first_images.share_saved(person)
            found[by(name, "saved_in_editor")] = self.effort.share_saved_in_editor(person)
            found[by(name, "saved_one_round")] = saved(loop, once)
            found[by(name, "one_round_saved_by_hand")] = self.one_round.work.share_saved(person)
        return found

    @property
    def curve(self) -> list[tuple[float, float]]:
        """Labels and mAP, ascending by labels."""
        return [(float(step.labels), step.mAP) for step in self.steps]

    def as_row(self) -> Row:
        return {
            "order": self.order,
            "seed": self.seed,
            "detector": self.detector,
            "start_weights": self.start_weights,
            "labels": self.steps[-1].labels,
            **asdict(self.work),
            "pages": asdict(self.effort.pages),
            "verified": asdict(self.effort.verified),
            "share_verified": self.share_verified,
            "handed_over": sum(step.handed_over for step in self.steps),
            "share_accepted": self.work.share_accepted,
            "first_images": asdict(self.first_images.work),
            **{
                by(name, "seconds_first_images"): self.first_images.seconds(person)
                for name, person in PRICES.items()
            },
            "first_click_right": self.first_click_right,
            "learning_s": list(self.learning_s),
            "promotions": [row.as_row() for row in self.promotions],
            "spent": self.spent,
            "seconds": self.seconds,
            "by_hand_seconds": self.by_hand_seconds,
            "saved_by_hand": self.saved_by_hand,
            "saved_first_images": self.saved_first_images,
            "one_round": asdict(self.one_round),
            "saved_one_round": self.saved_one_round,
            **self.saved_by_tables,
            "mAP": self.steps[-1].mAP,
            "AP50": self.steps[-1].AP50,
        }


def by(table: str, figure: str) -> str:
    """The name of a figure that a table of costs gives: "saved_by_hand_careful"."""
    return f"{figure}_{table}"


def single_round(steps: Sequence[Step], at: int) -> Step | None:
    """The step after which a set-up with a single round stops training.

    It is the first step with at least `at` labels that ends with a trained version in service. If there is
    none, it is the first of all steps that does. None when no version was ever promoted.
    """
    trained = [step for step in steps if step.version != STARTING_VERSION]
    return next((step for step in trained if step.labels >= at), trained[0] if trained else None)
