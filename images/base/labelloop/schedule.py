"""Decides when a round starts by itself, for the trainer and for `make labels`, which announces it.

This module needs only Python's standard library.
"""

from __future__ import annotations

import math

FIRST_ROUND = 3


def next_round_at(last: int, comparable: int, champion_knows_labels: bool, retrain_every: int) -> int:
    """The number of labelled images at which the next round starts by itself.

    A round starts when that number has doubled since the last round, and the first one at FIRST_ROUND,
    because the first versions save a person the most drawing. If the champion knows the labels already, a
    round waits until the hold-out has enough images to compare versions; those labelled while it trains count
    beside them.
    At the latest, a round starts after RETRAIN_EVERY new images.

    last: labelled images at the last round, 0 without one. comparable: the number of labelled images from
    which versions can be compared, see `comparable_from`.

    >>> [next_round_at(last, 5, False, 50) for last in (0, 3, 6, 80)]
    [3, 6, 12, 130]
    >>> next_round_at(0, 5, True, 50)
    5
    """
    early = last + max(last, FIRST_ROUND)
    if champion_knows_labels:
        early = max(early, comparable)
    return min(early, last + retrain_every)


def comparable_from(holdout_min: int, holdout_percent: int) -> int:
    """The number of labelled images that puts HOLDOUT_MIN of them on the hold-out.

    >>> comparable_from(1, 20)
    5
    """
    return math.ceil(100 * holdout_min / holdout_percent)
