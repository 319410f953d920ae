"""How fast a round learns that starts from weights which know every label, and how much of these it keeps."""

KEEP = 0.3
"""The share of the starting weights in the result."""
SLOWEST = 0.1
"""The share of the detector's learning rate where the start learnt the labels from far more images than there
are now, as published weights did. At the full rate it would forget more than these teach.
"""


def going_on(seen: int, images: int) -> float:
    """The share of the detector's learning rate for a round that goes on from a version which learnt its
    labels from this project alone.

    Such a version knows no more than its images taught it. So the full rate holds while at least half of the
    images are new, which is how rounds begin while a project is small, and falls to SLOWEST where nearly all
    were seen before.

    seen: on how many images the version was trained. images: on how many the round trains.

    >>> going_on(8, 32), going_on(64, 96), going_on(100, 100)
    (1.0, 0.667, 0.1)
    """
    new = 1 - min(seen / max(images, 1), 1)
    return round(min(max(2 * new, SLOWEST), 1.0), 3)
