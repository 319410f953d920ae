"""Decides whether a candidate becomes the champion: whether its boxes take a person less time to correct."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelloop.settings import Settings
from trainer.judging.effort import TABLES
from trainer.judging.evaluate import Evaluation
from trainer.judging.matches import mean_average_precision, resamples
from trainer.words import plural

RESAMPLES = 1000
SEED = 20
FEW = 5
"""On fewer images than these nobody can say that a candidate has learnt nothing, and between two that take
the same time mAP chooses as chance would."""
TWICE_THE_IMAGES = 0.9
"""How sure it is of two versions, before anything is compared, that the one which has learnt from twice as
many images or more is the better one."""


@dataclass(frozen=True)
class Verdict:
    """Promote or keep, and why. p: the share of resamples in which the candidate is better. delta: the
    candidate's mAP minus the champion's. seconds: what correcting an image takes, with the champion and with
    the candidate, on average.
    """

    promote: bool
    reason: str
    p: float | None = None
    delta: float | None = None
    seconds: tuple[float, float] | None = None


def decide(
    candidate: Evaluation, champion: Evaluation | None, champion_knows_labels: bool, settings: Settings
) -> Verdict:
    """Compares two evaluations on the same images: the hold-out, and those labelled since the snapshot.

    The candidate is promoted
    - when there is no champion;
    - when nothing can be compared, as there are fewer than HOLDOUT_MIN images, or no box, and the champion
      knows none of the project's labels;
    - when its boxes take less time to correct, in at least GATE_CONFIDENCE of the resamples, by the table of
      COSTS. If both take the same time, mAP decides instead, on FEW images or more; on fewer it says
      nothing. A champion that knows none of the labels is
      replaced unless the candidate takes longer in that share of them, or both the same on FEW images.
    In every other case the champion stays.

    The resamples are those of `probability_quicker`. To a candidate that has learnt from more images than the
    champion, p is how sure they and `beforehand` make together, by Bayes' rule.

    Raises:
        ValueError: the evaluations are of different images, or without counted corrections.
    """
    if champion is None:
        return Verdict(True, f"mAP {_score(candidate.mAP)} on {_images(candidate)}; no model was in service")
    if (candidate.fingerprint, candidate.images) != (champion.fingerprint, champion.images):
        raise ValueError(
            f"the candidate was scored on {candidate.images} images of {candidate.fingerprint[:12]}, "
            f"the champion on {champion.images} of {champion.fingerprint[:12]}"
        )
    scores = f"mAP {_score(champion.mAP)} → {_score(candidate.mAP)}"
    if candidate.mAP is None and champion.mAP is None:
        scores = "no mAP yet"
    before, after = (_seconds(model, settings) for model in (champion, candidate))
    if len(before) != len(after):
        raise ValueError(f"the candidate was scored on {len(after)} images, the champion on {len(before)}")
    if len(after) < settings.holdout_min or not _boxes(candidate):
        why = _cannot_compare(candidate, len(after), settings)
        if not champion_knows_labels:
            return Verdict(True, f"{scores}; the model in service knows none of the labels ({why})")
        return Verdict(False, f"{scores}: {why}")
    delta = None if candidate.mAP is None or champion.mAP is None else candidate.mAP - champion.mAP
    pair = float(before.mean()), float(after.mean())
    tied = bool(np.isclose(*pair))
    times = f"{pair[0]:.1f} {'' if tied else f'→ {pair[1]:.1f} '}s to correct an image"
    told = f"{times}{' with either' if tied else ''}, on {_images(candidate)}; {scores}"
    few = len(after) < FEW
    if tied:
        p = 0.5 if few else probability_better(candidate, champion)
        better = (delta or 0.0) > 0 and not few
    else:
        p, better = probability_quicker(after, before), pair[1] < pair[0]
    may_have_learnt = not tied or few
    learnt_first = not champion_knows_labels and may_have_learnt
    learnt_more = champion_knows_labels and may_have_learnt and 0 < champion.trained_on < candidate.trained_on
    if learnt_more:
        p = together(p, beforehand(champion.trained_on, candidate.trained_on))
        told += f"; it has learnt from {candidate.trained_on} images, not {champion.trained_on}"
    needed = 1 - settings.gate_confidence if learnt_first else settings.gate_confidence
    if not better and (not (learnt_first or learnt_more) or p < needed):
        return Verdict(False, f"{told}: no improvement ({in_words(p)})", p, delta, pair)
    if p < needed:
        wanted = f"{settings.gate_confidence * 100:g} % needed"
        return Verdict(False, f"{told}: it may be chance ({in_words(p)}, {wanted})", p, delta, pair)
    return Verdict(True, f"{told} ({in_words(p)})", p, delta, pair)


def beforehand(fewer: int, more: int) -> float:
    """How sure it is, before anything is compared, that what has learnt from `more` images is better than
    what has learnt from `fewer`. The log odds grow with the logarithm of their ratio, as scores do with the
    number of labels, up to a ratio of two.

    >>> [round(beforehand(12, more), 2) for more in (12, 15, 18, 24, 96)]
    [0.5, 0.67, 0.78, 0.9, 0.9]
    """
    return _of_odds(_odds(TWICE_THE_IMAGES) ** min(math.log2(more / fewer), 1.0))


def together(*sure: float) -> float:
    """How sure independent grounds make together, each of which begins at evens: Bayes' rule, in odds.

    >>> [round(together(0.9, p), 2) for p in (0.2, 0.5, 0.7, 1.0)]
    [0.69, 0.9, 0.95, 1.0]
    """
    return _of_odds(math.prod(map(_odds, sure)))


def _odds(p: float) -> float:
    return p / (1 - p) if p < 1 else math.inf


def _of_odds(odds: float) -> float:
    return odds / (1 + odds) if odds < math.inf else 1.0


def probability_quicker(candidate: NDArray[np.float64], champion: NDArray[np.float64]) -> float:
    """How sure it is that the candidate's boxes take less time: the share of resamples in which they do.

    candidate, champion: (images,), seconds to correct each image's boxes, with either model.

    It is a paired bootstrap over images (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters
    13 and 16; for comparing two systems on one test set Koehn, Statistical Significance Tests for Machine
    Translation Evaluation, EMNLP 2004). Each of RESAMPLES draws as many images as there are, with
    replacement, the same ones for both models; ties count half. The draws are seeded, so the same images get
    the same answer.

    A few images show too little of how images differ. So two are added on which one model is as much better
    as the models differ on the others, in the root mean square: once the candidate, once the champion. One
    image alone makes nobody sure then; of forty the two weigh nothing.

    >>> slow, quick = np.full(4, 30.0), np.full(4, 20.0)
    >>> [round(probability_quicker(quick[:count], slow[:count]), 2) for count in (1, 2, 4)]
    [0.73, 0.84, 0.95]
    """
    saved = champion - candidate
    spread = float(np.sqrt(np.mean(saved**2))) if len(saved) else 0.0
    with_prior = np.append(saved, [spread, -spread])
    sums = resamples(len(with_prior), RESAMPLES, SEED) @ with_prior
    sums[np.isclose(sums, 0.0, atol=1e-9 * max(spread, 1.0))] = 0.0
    return float(((sums > 0) + 0.5 * (sums == 0)).mean())


def probability_better(candidate: Evaluation, champion: Evaluation) -> float:
    """Share of the resamples of the hold-out in which the candidate's mAP is higher; ties count half. Without
    a box on the hold-out, as when it has no image yet, nothing is known: 0.5.
    """
    if not candidate.boxes:
        return 0.5
    weights = resamples(candidate.images, RESAMPLES, SEED)
    difference = mean_average_precision(list(candidate.matches.values()), weights) - mean_average_precision(
        list(champion.matches.values()), weights
    )
    difference = difference[~np.isnan(difference)]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def _seconds(model: Evaluation, settings: Settings) -> NDArray[np.float64]:
    """(images,), the seconds on each image that neither model has seen."""
    if model.evidence is None:
        raise ValueError(f"nobody has counted what correcting {model.version or 'the candidate'} takes")
    return model.evidence.seconds(TABLES[settings.costs])


def _boxes(model: Evaluation) -> int:
    """How many true boxes the images have."""
    return model.boxes + sum(work.truths for work in model.since.work) if model.since else model.boxes


def _cannot_compare(candidate: Evaluation, images: int, settings: Settings) -> str:
    if images < settings.holdout_min:
        missing = max(settings.comparable_from - candidate.labelled, 1)
        return (
            f"a comparison needs {plural(settings.holdout_min, 'hold-out image')}; label about {missing} more"
        )
    return "no hold-out image has a box, so nothing can be compared; label more images that have one"


def in_words(p: float) -> str:
    """p in words. It is rounded down, so that it does not look like what was needed."""
    return f"{'over 99' if p > 0.99 else math.floor(p * 100)} % sure that it is better"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _images(candidate: Evaluation) -> str:
    """As in "8 hold-out images and 3 labelled since"."""
    held, since = plural(candidate.images, "hold-out image"), len(candidate.since or ())
    return f"{held} and {since} labelled since" if since else held
