"""Scores that decide the order of labelling: uncertainty sampling hands out the lowest score first."""

import json
import random
from typing import Any

import numpy as np

from labelloop.boxes import Floats

# Boxes below this score are noise: a detector finds hundreds of them on any image.
CANDIDATE = 0.05
LAST = 1.0
"""The score of what is labelled last: near-duplicates of labelled images."""
TELLS_FROM = 10
"""The doubts of a version that has learnt from fewer images say what it confuses, not what there is to learn:
the first images would be those with the most wrong boxes, and they would become the hold-out."""


def prediction_score(scores: Floats, weights: float | Floats = 1.0) -> float:
    """A score 0..1 that is lowest for the image from which the model can learn most, to be labelled first.

    It is 1 / (1 + the weighted sum of the entropies of the image's boxes). A box's entropy is highest when
    the model is least sure whether an object is there, and then a person's correction teaches most. Rare
    labels have a higher weight (Brust et al., Active learning for deep object detection, VISAPP 2019: sum of
    uncertainties, weighted by class). The score is 1.0 when the model saw no candidate at all.

    scores: (N,) float32, of all boxes of CANDIDATE and above, including boxes that are not proposed to
    people. Lower scores, and scores that are not finite, do not count. weights: one for all, or (N,).
    """
    counts = np.isfinite(scores) & (scores >= CANDIDATE)
    p = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    return float(1 / (1 + np.where(counts, entropy * weights, 0.0).sum()))


def lot(data: Any) -> float:
    """A pseudo-random score in [0, 1) that depends on a task's data alone, not on its id.

    As long as few images are labelled and none was trained on, randomly chosen images teach more than the
    most uncertain ones, and give a fairer hold-out (Hacohen et al., Active learning on a budget: opposite
    strategies suit high and low budgets, ICML 2022).
    """
    return random.Random(json.dumps(data, sort_keys=True)).random()
