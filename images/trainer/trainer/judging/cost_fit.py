"""What actions cost in one project, from the seconds that Label Studio recorded for its images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from trainer.judging.effort import ACTIONS, Costs, Work

FEWEST = 30
"""With fewer images there is no fit: it would say little more than the table that it leans on."""
MOST = 2000
"""Of more images those with the newest tasks are used."""
LEAST_SD_S = 2.0
"""A table's cost is believed to within its own size, and no more closely than this: the smallest ones are
assumed, and in relation may be off by most.
"""
IMAGE_SD_S = 20.0
"""The prior of the seconds that an image takes whatever is in it: 0, give or take so many."""

_FOLDS, _ITERATIONS = 5, 20
_BESIDE_S = 5.0  # what an image takes beside the table's costs, where its noise is weighed
_HUBER = 1.345  # in standard deviations; beyond it an image pulls no harder than there
_NORMAL = 1.4826  # standard deviation / median absolute deviation of a normal distribution
_LEAST_NOISE = 0.02  # of an image's time, so that made times without any noise can be fitted

Timed = tuple[Work, float]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """costs: as fitted. errors: one standard deviation, by
    ACTIONS. image, image_error: the seconds that an image takes beside its boxes. images: how many it stands
    on. off: the median of how far it is off an image's seconds, on images that it has not seen.
    """

    costs: Costs
    errors: dict[str, float]
    image: float
    image_error: float
    images: int
    off: float
    _covariance: Array

    def saved(self, work: Work) -> tuple[float, float]:
        """The seconds that the work saves over drawing by hand, and their standard deviation."""
        counts = -_row(work)[:-1]
        counts[0] += work.truths
        covariance = self._covariance[:-1, :-1]
        return work.seconds_saved(self.costs), float(np.sqrt(counts @ covariance @ counts))


def fit(timed: Sequence[Timed], table: Costs) -> Fit | None:
    """Fits the costs of actions to images' work and seconds; None with fewer than FEWEST images.

    An image takes a fixed time and the costs of what was done in it, none of them below 0. Its noise grows
    with its time. Where the images say little of an action, its cost stays near `table`, which is believed to
    within its own size or LEAST_SD_S. Images that took far too long or short count as if they were 1.3
    standard deviations off.
    """
    if len(timed) < FEWEST:
        return None
    counts = np.array([_row(work) for work, _ in timed])
    seconds = np.array([lead for _, lead in timed])
    values, covariance = _solve(counts, seconds, table)
    errors = np.sqrt(np.diag(covariance))
    fitted = dict(zip(ACTIONS, map(float, values), strict=False))
    return Fit(
        costs=replace(table, **fitted),
        errors=dict(zip(ACTIONS, map(float, errors), strict=False)),
        image=float(values[-1]),
        image_error=float(errors[-1]),
        images=len(timed),
        off=_off(counts, seconds, table),
        _covariance=covariance,
    )


def _row(work: Work) -> Array:
    """(actions + 1,): the counts by ACTIONS, and 1 for the image itself."""
    return np.array([*work.by_action.values(), 1.0])


def _solve(counts: Array, seconds: Array, table: Costs) -> tuple[Array, Array]:
    """The costs and their covariance. counts: (N, actions + 1), seconds: (N,).

    Iteratively reweighted least squares with Huber's weights. The prior is a row for each cost; the normal
    equations are split by Cholesky, so that non-negative least squares sees a small square matrix.
    """
    prior = np.array([*(getattr(table, action) for action in ACTIONS), 0.0])
    spread = np.array([*(max(float(cost), LEAST_SD_S) for cost in prior[:-1]), IMAGE_SD_S])
    scale = counts @ prior + _BESIDE_S
    rows, times = counts / scale[:, None], seconds / scale
    values = prior
    for _ in range(_ITERATIONS):
        residuals = times - rows @ values
        noise = max(_NORMAL * float(np.median(np.abs(residuals))), _LEAST_NOISE)
        beyond = np.maximum(np.abs(residuals) / (_HUBER * noise), 1.0)
        weights = 1.0 / (beyond * noise**2)
        precision = (rows * weights[:, None]).T @ rows + np.diag(spread**-2)
        lower = np.linalg.cholesky(precision)
        target = (rows * weights[:, None]).T @ times + prior / spread**2
        values, before = nnls(lower.T, np.linalg.solve(lower, target))[0], values
        if np.abs(values - before).max() < 1e-4:
            break
    return values, np.linalg.inv(precision)


def _off(counts: Array, seconds: Array, table: Costs) -> float:
    """The median distance between an image's seconds and those foretold by a fit to the other folds."""
    fold = np.arange(len(seconds)) % _FOLDS
    off = np.empty(len(seconds))
    for held in range(_FOLDS):
        out = fold == held
        values, _ = _solve(counts[~out], seconds[~out], table)
        off[out] = np.abs(seconds[out] - counts[out] @ values)
    return float(np.median(off))
