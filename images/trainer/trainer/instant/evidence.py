"""Whether what was learnt at once serves: what corrections would have cost on images labelled since."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

WINDOW = 8
"""So many of the newest images count, since a head that knows one image says little of one that knows ten."""
LEAST = 3
"""A champion that knows labels gives way after so many images at the earliest."""
RESAMPLES = 1000
SEED = 20


class Pair(BaseModel):
    """One image, submitted after `version` was learnt: the seconds that correcting its proposals takes, and
    those of the champion.
    """

    task: int
    version: str
    instant: float
    champion: float

    @property
    def saved(self) -> float:
        return self.champion - self.instant


def is_better(pairs: Sequence[Pair], champion_knows: bool, confidence: float) -> bool:
    """Whether an instant version serves in place of its champion.

    A champion that knows none of the labels proposes nothing. It gives way at once, and serves again while
    the proposals cost people more than they save. One that knows labels gives way only once the proposals are
    cheaper with the confidence that the gate asks (GATE_CONFIDENCE), by a bootstrap over LEAST images or
    more.

    >>> worse = Pair(task=1, version="i0000.0001", instant=40.0, champion=35.0)
    >>> is_better([], False, 0.8), is_better([worse], False, 0.8), is_better([], True, 0.8)
    (True, False, False)
    """
    saved = np.array([pair.saved for pair in pairs[-WINDOW:]])
    if not champion_knows:
        return bool(saved.sum() >= 0)
    if len(saved) < LEAST:
        return False
    draws = np.random.default_rng(SEED).integers(len(saved), size=(RESAMPLES, len(saved)))
    return bool((saved[draws].sum(axis=1) > 0).mean() >= confidence)
