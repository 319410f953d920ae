"""The arithmetic of a simulation's summary: means and spreads over seeds, and the orders compared."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from trainer.simulate.figures import Row, RunFigures, Step, by
from trainer.simulate.promotions import counts
from trainer.simulate.show import recorded, show
from trainer.simulate.spread import Spread, plain
from trainer.simulate.work_done import PRICES, saved

Curve = Sequence[tuple[float, float]]


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
    """The mean of curves, interpolated between their points, as far as all of them reach.

    Runs with the page Verify train at other numbers of labels.

    >>> _mean([[(0, 0.0), (10, 0.4)], [(0, 0.0), (5, 0.4), (20, 0.4)]])
    [(0.0, 0.0), (5.0, 0.3), (10.0, 0.4)]
    """
    if not curves:
        return []
    last = min(curve[-1][0] for curve in curves)
    labels = sorted({float(at) for curve in curves for at, _ in curve if at <= last})
    values = [np.interp(labels, [at for at, _ in curve], [mAP for _, mAP in curve]) for curve in curves]
    return list(zip(labels, np.mean(values, axis=0).tolist(), strict=True))


def _ratio(mine: float | None, its: float | None) -> float | None:
    return mine / its if mine is not None and its else None


def summary(runs: Sequence[RunFigures], shares: Iterable[float]) -> Row:
    """Mean and spread over the seeds: per order, per order and number of labels, and the orders compared."""
    orders = list(dict.fromkeys(run.order for run in runs))
    shown = {order: show([run for run in runs if run.order == order]) for order in orders}
    return {
        "orders": {order: _totals([run for run in runs if run.order == order]) for order in orders},
        "steps": [row for order in orders for row in _steps([run for run in runs if run.order == order])],
        "labels_needed": [asdict(reach) for reach in reaches(runs, shares)],
        "labels_needed_on_means": [asdict(reach) for reach in mean_reaches(runs)],
        "promotions": counts(
            sum(run.rounds for run in runs), [row for run in runs for row in run.promotions]
        ),
        "runs": [run.as_row() for run in runs],
        "show": shown,
        "figures": recorded(shown),
    }


_TOTALS: dict[str, Callable[[RunFigures], float | None]] = {
    "seconds": lambda run: run.seconds,
    "by_hand_seconds": lambda run: run.by_hand_seconds,
    "one_round_seconds": lambda run: run.one_round.seconds,
    "saved_by_hand": lambda run: run.saved_by_hand,
    "saved_first_images": lambda run: run.saved_first_images,
    "saved_one_round": lambda run: run.saved_one_round,
    "one_round_saved_by_hand": lambda run: run.one_round.work.share_saved(run.costs),
    "share_verified": lambda run: run.share_verified,
    "share_accepted": lambda run: run.work.share_accepted,
    "first_click_right": lambda run: run.first_click_right,
    "learning_s": lambda run: float(np.mean(run.learning_s)) if run.learning_s else None,
    "learning_most_s": lambda run: max(run.learning_s, default=None),
    "wall_seconds": lambda run: sum(run.spent.values()),
    "mAP": lambda run: run.steps[-1].mAP,
    "AP50": lambda run: run.steps[-1].AP50,
}
_STEP: dict[str, Callable[[Step], float | None]] = {
    "mAP": lambda step: step.mAP,
    "AP50": lambda step: step.AP50,
    "share_accepted": lambda step: step.work.share_accepted,
    "first_click_right": lambda step: step.first_click_right,
    "saved_by_hand": lambda step: saved(step.seconds, step.by_hand_seconds) if step.images else None,
    "least_certain_first": lambda step: step.least_certain_first,
    "round_seconds": lambda step: step.round_seconds,
}


def _totals(runs: Sequence[RunFigures]) -> Row:
    totals = {name: plain(map(value, runs)) for name, value in _TOTALS.items()}
    tables = [run.saved_by_tables for run in runs]
    return totals | {name: plain(row[name] for row in tables) for name in tables[0]}


def _steps(runs: Sequence[RunFigures]) -> list[Row]:
    """The steps' means and spreads by number of labels: of the runs' first rounds, of their second ones …"""
    rows = []
    for number in sorted({step.step for run in runs for step in run.steps}):
        steps = [step for run in runs for step in run.steps if step.step == number]
        labels = round(float(np.mean([step.labels for step in steps])))
        spreads = {name: plain(map(value, steps)) for name, value in _STEP.items()}
        labelled = [step.effort for step in steps if step.images]
        for name, person in PRICES.items():
            shares = (effort.share_saved(person) for effort in labelled)
            spreads[by(name, "saved_by_hand")] = plain(shares)
        rows.append({"order": runs[0].order, "labels": labels, **spreads})
    return rows
