"""When a round starts by itself, and how long it trains."""

import math

from labelloop.settings import Settings

FIRST_ROUND = 10
REFERENCE_IMAGES = 40
MIN_FACTOR, MAX_FACTOR = 2 / 3, 10.0


def next_round_at(last: int, champion_knows_labels: bool, settings: Settings) -> int:
    """From how many labelled images on the next round starts by itself.

    When they have doubled since the last round, from FIRST_ROUND on: the first versions spare a person the
    most drawing. Rounds that could promote nothing, for want of hold-out images to compare on, are not begun
    so early. At the latest after RETRAIN_EVERY new ones.

    last: labelled images of the last round, 0 without one.
    """
    early = last + max(last, FIRST_ROUND)
    if champion_knows_labels:
        early = max(early, comparable_from(settings))
    return min(early, last + settings.retrain_every)


def comparable_from(settings: Settings) -> int:
    """The number of labelled images that puts HOLDOUT_MIN of them on the hold-out."""
    return math.ceil(100 * settings.holdout_min / settings.holdout_percent)


def iterations_for(images: int, reference: int, override: int = 0) -> int:
    """Iterations for so many labelled images.

    reference: what the detector's config asks for at REFERENCE_IMAGES images. The number grows with the
    square root of the images: more data is worth longer training, but not in proportion, and a round must not
    take all night.
    override: ITERATIONS of the settings; 0 leaves it to the data.
    """
    if override:
        return override
    factor = math.sqrt(max(images, 1) / REFERENCE_IMAGES)
    return round(reference * min(max(factor, MIN_FACTOR), MAX_FACTOR))
