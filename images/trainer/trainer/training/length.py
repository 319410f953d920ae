"""Decides how long a round trains."""

import math

from labelloop.detector import load_detector_config
from labelloop.settings import Settings
from trainer.training.working_size import take_look

REFERENCE_IMAGES = 40
DEFAULT_ITERATIONS = 300
MIN_FACTOR, MAX_FACTOR = 2 / 3, 10.0


def iterations_for(images: int, reference: int, override: int = 0) -> int:
    """The number of iterations for a number of labelled images.

    It grows with the square root of the images: more data is worth longer training, but not in proportion,
    and a round must not take all night.

    reference: the iterations in the detector's config, for REFERENCE_IMAGES images. override: the setting
    ITERATIONS; 0 means that the data decide.
    """
    if override:
        return override
    factor = math.sqrt(max(images, 1) / REFERENCE_IMAGES)
    return round(reference * min(max(factor, MIN_FACTOR), MAX_FACTOR))


def reference_iterations(detector: str, settings: Settings, look: int | None = None) -> int:
    """The iterations in the detector's config, for REFERENCE_IMAGES images.

    look: the test_size of the look; None for the detector's own.
    """
    config = load_detector_config(detector, settings)
    take_look(config, look)
    return int(config.get("loop", {}).get("iterations", DEFAULT_ITERATIONS))
