"""How fast a round learns, and how much it keeps of the weights that it starts from."""

from pydantic import BaseModel

GOING_ON_KEEP = 0.15


class Pace(BaseModel):
    """rate: the share of the detector's learning rate. keep: the share of the starting weights in the result.
    Both 0..1.
    """

    rate: float
    keep: float


ANEW = Pace(rate=1.0, keep=0.0)
"""Some labels begin at random, so there is nothing of them to keep."""
FINE_TUNING = Pace(rate=0.1, keep=0.3)
"""The start learnt every label from far more images than there are now. At the full rate it would forget more
than these teach.
"""


def going_on(seen: int, images: int) -> Pace:
    """The pace of a round that goes on from a version which learnt its labels from this project alone.

    Such a version knows no more than its images taught it. So the full rate holds while at least half of the
    images are new, which is how rounds begin while a project is small, and falls to that of FINE_TUNING where
    nearly all were seen before. What is kept rises meanwhile from GOING_ON_KEEP to that of FINE_TUNING.

    seen: on how many images the version was trained. images: on how many the round trains.

    >>> going_on(8, 32)
    Pace(rate=1.0, keep=0.15)
    >>> going_on(90, 100)
    Pace(rate=0.2, keep=0.283)
    >>> going_on(100, 100)
    Pace(rate=0.1, keep=0.3)
    """
    new = 1 - min(seen / max(images, 1), 1)
    rate = min(max(2 * new, FINE_TUNING.rate), ANEW.rate)
    slower = (ANEW.rate - rate) / (ANEW.rate - FINE_TUNING.rate)
    keep = GOING_ON_KEEP + slower * (FINE_TUNING.keep - GOING_ON_KEEP)
    return Pace(rate=round(rate, 3), keep=round(keep, 3))
