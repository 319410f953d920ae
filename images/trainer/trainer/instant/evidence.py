"""Whether what was learnt at once serves: what corrections would have cost on images labelled since."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import BaseModel

from labelloop.clocks import EVER, is_ahead
from labelloop.verified import is_verified
from trainer.dataset.collector import first_submitted, newest_submitted
from trainer.judging.effort import CLICK_RIGHT
from trainer.judging.gate import probability_quicker

WINDOW = 8
"""So many of the newest images count, since a head that knows one image says little of one that knows ten."""
LEAST = 3
"""A champion that knows labels gives way after so many images at the earliest."""
PRIOR_CLICKS = 6


class Pair(BaseModel):
    """One image, submitted after `version` was learnt: the seconds that correcting its proposals takes, and
    those of the champion, with clicks on what is missing; on how many of its objects a click was tried, and
    how many of these fetched a right box with the eyes of either (none in what earlier releases wrote).
    """

    task: int
    version: str
    instant: float = 0.0
    champion: float = 0.0
    clicks: int = 0
    clicks_right: int = 0
    champion_clicks_right: int = 0

    @property
    def saved(self) -> float:
        return self.champion - self.instant


def telling(tasks: Sequence[Mapping[str, Any]], made_at: datetime) -> Iterator[int]:
    """The tasks whose images are evidence for or against a champion. made_at: when it was made.

    It may have been trained on one that was labelled before and is submitted again. Of one that was verified
    crop by crop on the dashboard, the boxes are its own.
    """
    since = EVER if is_ahead(made_at) else made_at  # the clock was ahead then
    for task in tasks:
        annotation, begun = newest_submitted(task.get("annotations")), first_submitted(task)
        if annotation is None or begun is None or is_verified(annotation.get("result")):
            continue
        if begun > since:
            yield int(task["id"])


def click_right(pairs: Sequence[Pair], of: str = "clicks_right") -> float:
    """The chance that a click fetches a right box, by what it did on the newest images; CLICK_RIGHT, as if
    it had been tried PRIOR_CLICKS times, goes beside that. of: the field with whose eyes.

    >>> click_right([]) == CLICK_RIGHT
    True
    >>> round(click_right([Pair(task=1, version="", clicks=14, clicks_right=4)]), 2)
    0.4
    """
    newest = pairs[-WINDOW:]
    tried, right = (sum(getattr(pair, field) for pair in newest) for field in ("clicks", of))
    return float((right + PRIOR_CLICKS * CLICK_RIGHT) / (tried + PRIOR_CLICKS))


def is_better(pairs: Sequence[Pair], champion_knows: bool, confidence: float) -> bool:
    """Whether an instant version serves in place of its champion.

    A champion that knows none of the labels proposes nothing. It gives way at once, and serves again while
    it takes people less time to click on everything with its eyes. One that knows labels gives way only once
    the proposals are cheaper with the confidence that the gate asks (GATE_CONFIDENCE), as it counts that, on
    LEAST images or more.

    >>> worse = Pair(task=1, version="i0000.0001", instant=40.0, champion=35.0)
    >>> is_better([], False, 0.8), is_better([worse], False, 0.8), is_better([], True, 0.8)
    (True, False, False)
    """
    instant, champion = (
        np.array([getattr(pair, of) for pair in pairs[-WINDOW:]]) for of in ("instant", "champion")
    )
    if not champion_knows:
        return bool(instant.sum() <= champion.sum())
    return len(instant) >= LEAST and probability_quicker(instant, champion) >= confidence
