"""In which order images are labelled: uncertainty sampling hands out the lowest score first."""

import json
import random
from typing import Any

import numpy as np

from labelloop.boxes import Floats

# Boxes below this score are noise: a detector gives hundreds of them on any image.
CANDIDATE = 0.05


def prediction_score(scores: Floats, weights: float | Floats = 1.0) -> float:
    """How little is to be learnt from an image, 0..1: the lowest is to be labelled first.

    1 / (1 + the weighted sum of its boxes' entropies): each candidate box is a guess between "there" and "not
    there", the further from both the more its correction tells; the weight of rare labels is higher (Brust et
    al., Active learning for deep object detection, VISAPP 2019: sum of uncertainties, weighted by class).
    1.0 when the model saw no candidate at all.

    scores: (N,) float32, of every box of CANDIDATE and above, those that are not proposed too; others, and
    those that are not finite, don't count. weights: one for all, or (N,).
    """
    counts = np.isfinite(scores) & (scores >= CANDIDATE)
    p = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    return float(1 / (1 + np.where(counts, entropy * weights, 0.0).sum()))


def lot(data: Any) -> float:
    """A score in [0, 1) by lot: the same for the same data of a task, whichever number the task has.

    While a handful of images is labelled, and none trained on, a random choice teaches more than the most
    uncertain one, and makes a fairer hold-out (Hacohen et al., Active learning on a budget: opposite
    strategies suit high and low budgets, ICML 2022).
    """
    return random.Random(json.dumps(data, sort_keys=True)).random()
