"""A simulation's measurements, and the arithmetic of its summary."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from labelloop.registry import STARTING_VERSION
from trainer.judging.effort import TABLES, Work

Row = dict[str, Any]
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Step:
    """One batch of labels and the round after it; step 0 is the starting model before any label.

    labels: the number of images labelled so far. work, boxes, seconds, by_hand_seconds: of this batch; boxes
    counts the true boxes, by_hand_seconds is the time to draw them all. state, verdict: the round's. version:
    the champion after the round. mAP, AP50: of that version, on the test images. least_certain_first: the
    share of the batch's tasks that had the lowest score among the remaining ones when Label Studio handed
    them out. round_seconds: the time for training and evaluation. wall_seconds: the time for the whole step.
    """

    order: str
    seed: int
    step: int
    labels: int
    images: int
    boxes: int
    work: Work
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

    def as_row(self) -> Row:
        """The step as a flat dict, for a line of JSON."""
        row = asdict(self)
        work = row.pop("work")
        return {
            **row,
            **work,
            "share_accepted": self.work.share_accepted,
            **{by(name, "saved_by_hand"): self.work.share_saved(costs) for name, costs in TABLES.items()},
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

    detector, start_weights: those of the starting model.
    """

    order: str
    seed: int
    steps: tuple[Step, ...]
    one_round: OneRound
    detector: str
    start_weights: str

    @property
    def work(self) -> Work:
        return sum((step.work for step in self.steps), Work())

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
        for name, costs in TABLES.items():
            loop, once = self.work.seconds(costs), self.one_round.work.seconds(costs)
            found[by(name, "saved_by_hand")] = self.work.share_saved(costs)
            found[by(name, "saved_one_round")] = saved(loop, once)
            found[by(name, "one_round_saved_by_hand")] = self.one_round.work.share_saved(costs)
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
            "share_accepted": self.work.share_accepted,
            "seconds": self.seconds,
            "by_hand_seconds": self.by_hand_seconds,
            "saved_by_hand": self.saved_by_hand,
            "one_round": asdict(self.one_round),
            "saved_one_round": self.saved_one_round,
            **self.saved_by_tables,
            "mAP": self.steps[-1].mAP,
            "AP50": self.steps[-1].AP50,
        }


def by(table: str, figure: str) -> str:
    """The name of a figure that a table of costs gives: "saved_by_hand_careful"."""
    return f"{figure}_{table}"


def saved(seconds: float, instead_of: float) -> float:
    """The share of `instead_of` that is saved; 0 when `instead_of` is 0."""
    return 1 - seconds / instead_of if instead_of else 0.0


def single_round(steps: Sequence[Step], at: int) -> Step | None:
    """The step after which a set-up with a single round stops training.

    It is the first step with at least `at` labels that ends with a trained version in service. If there is
    none, it is the first of all steps that does. None when no version was ever promoted.
    """
    trained = [step for step in steps if step.version != STARTING_VERSION]
    return next((step for step in trained if step.labels >= at), trained[0] if trained else None)


def labels_needed(curve: Curve, target: float) -> float | None:
    """The labels at which a curve of (labels, mAP), ascending by labels, first reaches `target`.

    The curve is interpolated between its points. None when it never reaches `target`.
    """
    before = None
    for labels, value in curve:
        if value >= target:
            if before is None or value == before[1]:
                return labels
            return before[0] + (labels - before[0]) * (target - before[1]) / (value - before[1])
        before = labels, value
    return None


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (None for a single value) of n values."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """The spread of the values that are not None; None without such values."""
        present = [value for value in values if value is not None and math.isfinite(value)]
        if not present:
            return None
        sd = float(np.std(present, ddof=1)) if len(present) > 1 else None
        return cls(float(np.mean(present)), sd, len(present))


@dataclass(frozen=True)
class Reach:
    """Labels that both orders need for the same mAP.

    share: the target, as a share of the random order's last mAP. ratio: labels by uncertainty / labels by
    random order, over the seeds in which both reach the target.
    """

    share: float
    target: float
    uncertainty: Spread | None
    random: Spread | None
    ratio: Spread | None


def reaches(runs: Sequence[RunFigures], shares: Iterable[float]) -> list[Reach]:
    """The labels needed for each share of the random order's mean last mAP; empty unless both orders ran."""
    by_order = _curves(runs)
    if not all(by_order.values()):
        return []
    last = float(np.mean([curve[-1][1] for curve in by_order["random"].values()]))
    found = []
    for share in shares:
        needed = {
            order: {seed: labels_needed(curve, share * last) for seed, curve in curves.items()}
            for order, curves in by_order.items()
        }
        ratios = (
            _ratio(needed["uncertainty"].get(seed), labels) for seed, labels in needed["random"].items()
        )
        found.append(
            Reach(
                share,
                share * last,
                Spread.of(needed["uncertainty"].values()),
                Spread.of(needed["random"].values()),
                Spread.of(ratios),
            )
        )
    return found


@dataclass(frozen=True)
class MeanReach:
    """The mAP that the random order reaches with `labels`, and the labels that uncertainty sampling needs.

    mAP, uncertainty: from the orders' mean curves over the `seeds` with which both were run. uncertainty is
    interpolated, and None when that curve never reaches mAP.
    """

    labels: int
    mAP: float
    uncertainty: float | None
    seeds: int


def mean_reaches(runs: Sequence[RunFigures]) -> list[MeanReach]:
    """The comparison at each number of labels where the random order's mean is higher than with fewer labels.

    Empty when the orders have no seed in common.
    """
    by_order = _curves(runs)
    seeds = by_order["uncertainty"].keys() & by_order["random"].keys()
    means = {order: _mean([curves[seed] for seed in seeds]) for order, curves in by_order.items()}
    found, best = list[MeanReach](), -math.inf
    for labels, value in means["random"]:
        if labels and value > best:
            needed = labels_needed(means["uncertainty"], value)
            found.append(MeanReach(int(labels), value, needed, len(seeds)))
        best = max(best, value)
    return found


def _curves(runs: Sequence[RunFigures]) -> dict[str, dict[int, Curve]]:
    """The runs' curves by order and seed."""
    return {
        order: {run.seed: run.curve for run in runs if run.order == order}
        for order in ("uncertainty", "random")
    }


def _mean(curves: Sequence[Curve]) -> Curve:
    """The mean of curves that have points at the same numbers of labels."""
    return [
        (points[0][0], float(np.mean([value for _, value in points]))) for points in zip(*curves, strict=True)
    ]


def _ratio(mine: float | None, its: float | None) -> float | None:
    return mine / its if mine is not None and its else None


def summary(runs: Sequence[RunFigures], shares: Iterable[float]) -> Row:
    """Mean and spread over the seeds: per order, per order and number of labels, and the orders compared."""
    orders = list(dict.fromkeys(run.order for run in runs))
    return {
        "orders": {order: _totals([run for run in runs if run.order == order]) for order in orders},
        "steps": [row for order in orders for row in _steps([run for run in runs if run.order == order])],
        "labels_needed": [asdict(reach) for reach in reaches(runs, shares)],
        "labels_needed_on_means": [asdict(reach) for reach in mean_reaches(runs)],
        "runs": [run.as_row() for run in runs],
    }


_TOTALS: dict[str, Callable[[RunFigures], float | None]] = {
    "seconds": lambda run: run.seconds,
    "by_hand_seconds": lambda run: run.by_hand_seconds,
    "one_round_seconds": lambda run: run.one_round.seconds,
    "saved_by_hand": lambda run: run.saved_by_hand,
    "saved_one_round": lambda run: run.saved_one_round,
    "one_round_saved_by_hand": lambda run: saved(run.one_round.seconds, run.by_hand_seconds),
    "share_accepted": lambda run: run.work.share_accepted,
    "mAP": lambda run: run.steps[-1].mAP,
    "AP50": lambda run: run.steps[-1].AP50,
}
_STEP: dict[str, Callable[[Step], float | None]] = {
    "mAP": lambda step: step.mAP,
    "AP50": lambda step: step.AP50,
    "share_accepted": lambda step: step.work.share_accepted,
    "saved_by_hand": lambda step: saved(step.seconds, step.by_hand_seconds) if step.images else None,
    "least_certain_first": lambda step: step.least_certain_first,
    "round_seconds": lambda step: step.round_seconds,
}


def _totals(runs: Sequence[RunFigures]) -> Row:
    totals = {name: _plain(Spread.of(map(value, runs))) for name, value in _TOTALS.items()}
    tables = [run.saved_by_tables for run in runs]
    return totals | {name: _plain(Spread.of(row[name] for row in tables)) for name in tables[0]}


def _steps(runs: Sequence[RunFigures]) -> list[Row]:
    """The steps' means and spreads by number of labels."""
    rows = []
    for labels in sorted({step.labels for run in runs for step in run.steps}):
        steps = [step for run in runs for step in run.steps if step.labels == labels]
        spreads = {name: _plain(Spread.of(map(value, steps))) for name, value in _STEP.items()}
        labelled = [step.work for step in steps if step.images]
        for name, costs in TABLES.items():
            shares = (work.share_saved(costs) for work in labelled)
            spreads[by(name, "saved_by_hand")] = _plain(Spread.of(shares))
        rows.append({"order": runs[0].order, "labels": labels, **spreads})
    return rows


def _plain(spread: Spread | None) -> Row | None:
    return asdict(spread) if spread else None
