"""Decides whether a candidate becomes the champion."""

import math
from dataclasses import dataclass

import numpy as np

from labelloop.settings import Settings
from trainer.judging.evaluate import Evaluation
from trainer.judging.matches import mean_average_precision, resamples

RESAMPLES = 1000
SEED = 20


@dataclass(frozen=True)
class Verdict:
    """Promote or keep, and why. p: the share of resamples in which the candidate is better. delta: the
    candidate's mAP minus the champion's.
    """

    promote: bool
    reason: str
    p: float | None = None
    delta: float | None = None


def decide(
    candidate: Evaluation, champion: Evaluation | None, champion_knows_labels: bool, settings: Settings
) -> Verdict:
    """Compares two evaluations on the same hold-out.

    The candidate is promoted
    - when there is no champion;
    - when the hold-out has fewer than HOLDOUT_MIN images, or no box, and the champion knows none of the
      project's labels;
    - when its mAP is higher and better than the champion's in at least GATE_CONFIDENCE of the resamples.
    In every other case the champion stays.

    The resamples are a paired bootstrap over images (Efron & Tibshirani, An Introduction to the Bootstrap,
    1993, chapters 13 and 16; for comparing two systems on one test set Koehn, Statistical Significance Tests
    for Machine Translation Evaluation, EMNLP 2004). Each of RESAMPLES draws as many images as the hold-out
    has, with replacement, and both models are scored on the same draw. p is the share of draws in which the
    candidate's mAP is higher; ties count half. The draws are seeded, so the same evaluations get the same
    verdict.

    Raises:
        ValueError: the evaluations are of different hold-outs.
    """
    if champion is None:
        return Verdict(
            True, f"mAP {_score(candidate.mAP)} on {_images(candidate.images)}; no model was in service"
        )
    if (candidate.fingerprint, candidate.images) != (champion.fingerprint, champion.images):
        raise ValueError(
            f"the candidate was scored on {candidate.images} images of {candidate.fingerprint[:12]}, "
            f"the champion on {champion.images} of {champion.fingerprint[:12]}"
        )
    scores = f"mAP {_score(champion.mAP)} → {_score(candidate.mAP)} on {_images(candidate.images)}"
    if candidate.images < settings.holdout_min or candidate.mAP is None or champion.mAP is None:
        why = _cannot_compare(candidate, settings)
        if not champion_knows_labels:
            return Verdict(True, f"{scores}; the model in service knows none of the labels ({why})")
        return Verdict(False, f"{scores}: {why}")
    delta = candidate.mAP - champion.mAP
    p = probability_better(candidate, champion)
    if delta <= 0:
        return Verdict(False, f"{scores} is no improvement ({_sure(p)})", p, delta)
    if p < settings.gate_confidence:
        needed = f"{settings.gate_confidence * 100:g} % needed"
        return Verdict(False, f"{scores} may be chance ({_sure(p)}, {needed})", p, delta)
    return Verdict(True, f"{scores} ({_sure(p)})", p, delta)


def probability_better(candidate: Evaluation, champion: Evaluation) -> float:
    """Share of the resamples in which the candidate's mAP is higher; ties count half."""
    weights = resamples(candidate.images, RESAMPLES, SEED)
    difference = mean_average_precision(list(candidate.matches.values()), weights) - mean_average_precision(
        list(champion.matches.values()), weights
    )
    difference = difference[~np.isnan(difference)]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def _cannot_compare(candidate: Evaluation, settings: Settings) -> str:
    if candidate.images < settings.holdout_min:
        missing = max(settings.comparable_from - candidate.labelled, 1)
        return f"a comparison needs {settings.holdout_min} hold-out images; label about {missing} more"
    return "no hold-out image has a box, so nothing can be compared; label more images that have one"


def _sure(p: float) -> str:
    """p in words. It is rounded down, so that it does not look like what was needed."""
    return f"{'over 99' if p > 0.99 else math.floor(p * 100)} % sure that it is better"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _images(count: int) -> str:
    return "1 hold-out image" if count == 1 else f"{count} hold-out images"
