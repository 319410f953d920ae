"""When a round starts by itself: for the trainer, and for `make labels`, which says so beforehand.

Python's standard library is all that this module needs.
"""

from __future__ import annotations

import math

FIRST_ROUND = 10


def next_round_at(last: int, comparable: int, champion_knows_labels: bool, retrain_every: int) -> int:
    """From how many labelled images on the next round starts by itself.

    When they have doubled since the last round, from FIRST_ROUND on: the first versions spare a person the
    most drawing. Rounds that could promote nothing, for want of hold-out images to compare on, are not begun
    so early. At the latest after RETRAIN_EVERY new ones.

    last: labelled images of the last round, 0 without one. comparable: from how many on versions can be
    compared, see `comparable_from`.

    >>> [next_round_at(last, 25, False, 50) for last in (0, 10, 20, 80)]
    [10, 20, 40, 130]
    >>> next_round_at(0, 25, True, 50)
    25
    """
    early = last + max(last, FIRST_ROUND)
    if champion_knows_labels:
        early = max(early, comparable)
    return min(early, last + retrain_every)


def comparable_from(holdout_min: int, holdout_percent: int) -> int:
    """The number of labelled images that puts HOLDOUT_MIN of them on the hold-out.

    >>> comparable_from(5, 20)
    25
    """
    return math.ceil(100 * holdout_min / holdout_percent)
