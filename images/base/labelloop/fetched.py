"""Boxes that a click in Label Studio's editor has fetched, told from drawn ones in what is submitted.

The ML backend marks its answer to a click in the region's `meta`, which Label Studio keeps, and says that its
origin is a prediction; as soon as a person moves or resizes it, the editor changes the origin.
"""

from collections.abc import Mapping

from labelloop.region_meta import meta_of

MARK = "click"
CHANGED = "prediction-changed"
"""Label Studio's word, in a region's `origin`, for one that a person has moved or resized."""


def is_fetched(region: object) -> bool:
    """Whether a click has fetched it.

    >>> is_fetched({"id": "a", "origin": "prediction", "meta": {"from": "click"}})
    True
    >>> is_fetched({"id": "a", "origin": "prediction"})
    False
    """
    return meta_of(region).get("from") == MARK


def is_moved(region: Mapping[str, object]) -> bool:
    """Whether a person has moved or resized a box that came from the ML backend."""
    return region.get("origin") == CHANGED
