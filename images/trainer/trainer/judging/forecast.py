"""What labelling the rest of a project's images would take, and give, by what it took and gave so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

import numpy as np

FEWEST_SIZES = 3
"""Of models trained on fewer different numbers of images there is no curve."""
FEWEST_IMAGES = 10
"""With fewer images with a time there is no pace."""
TRAINING_SD = 0.02
"""How far the mAP of two trainings on the same images is from their mean, as a standard deviation."""
LIKELY = 0.8
"""The share of forecasts that ought to have the truth in their range."""

_ENDS = np.linspace(0.01, 1.0, 100)
_LOST = np.linspace(0.0, 1.0, 101)
_SPEEDS = np.linspace(0.3, 1.5, 13)


@dataclass(frozen=True)
class Trained:
    """A model: how many images it was trained on, its mAP on today's hold-out, and that mAP's error by the
    hold-out's size, one standard deviation.
    """

    images: int
    mAP: float
    holdout_sd: float


@dataclass(frozen=True)
class Reached:
    """A forecast mAP. low, high: the range that has it with a chance of LIKELY."""

    mAP: float
    low: float
    high: float


@dataclass(frozen=True)
class Taken:
    """A forecast time. seconds, error: of all images, one standard deviation. images: how many images' times
    it stands on.
    """

    seconds: float
    error: float
    images: int


def reached(models: Sequence[Trained], images: int) -> Reached | None:
    """The mAP of a model trained on so many images; None with fewer than FEWEST_SIZES sizes to go by.

    The curve is end - lost · (n / fewest)^-speed. Each of a grid of such curves counts as much as it agrees
    with the models, give or take TRAINING_SD; no other curve is believed in. The hold-out's own error is that
    of the newest model, and comes on top.
    """
    trained = sorted((model for model in models if model.images > 0), key=lambda model: model.images)
    if len({model.images for model in trained}) < FEWEST_SIZES:
        return None
    sizes = np.array([model.images for model in trained]) / trained[0].images
    values = np.array([model.mAP for model in trained])
    ends, lost, speeds = (axis.ravel() for axis in np.meshgrid(_ENDS, _LOST, _SPEEDS))
    possible = lost <= ends
    ends, lost, speeds = ends[possible], lost[possible], speeds[possible]
    curves = ends - lost * sizes[:, None] ** -speeds  # (models, curves)
    doubt = ((curves - values[:, None]) ** 2).sum(axis=0) / (2 * TRAINING_SD**2)
    belief = np.exp(doubt.min() - doubt)
    belief /= belief.sum()
    then = ends - lost * (images / trained[0].images) ** -speeds
    mean = float(belief @ then)
    spread = math.sqrt(float(belief @ (then - mean) ** 2) + TRAINING_SD**2 + trained[-1].holdout_sd ** 2)
    aside = NormalDist().inv_cdf((1 + LIKELY) / 2) * spread
    return Reached(mean, max(mean - aside, 0.0), min(mean + aside, 1.0))


def taken(lead_times: Sequence[float], images: int) -> Taken | None:
    """The time for so many images, if they are like those with these seconds; None with too few of these."""
    if len(lead_times) < FEWEST_IMAGES:
        return None
    count = len(lead_times)
    error = images * stdev(lead_times) * math.sqrt(1 / count + 1 / images) if images else 0.0
    return Taken(images * fmean(lead_times), error, count)
