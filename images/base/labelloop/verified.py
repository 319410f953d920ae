"""Annotations that were made on the dashboard's page Verify: the model's boxes, which somebody saw crop by
crop and found right. A mark in each region keeps them apart from what was drawn in the editor.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from labelloop.region_meta import meta_of

MARK = "verified"
"""The key in a region's meta."""
BESIDE = "beside"
"""The key, in a prediction's first region, of the highest score among the boxes that are not proposed
although nothing else marks their object. The editor does not copy it into annotations.
"""


def marked(region: Mapping[str, Any], by: str, at: float) -> dict[str, Any]:
    """A proposed region as an annotation has it, with who has seen it and when. at: seconds since 1970.

    >>> row = marked({"id": "a", "score": 0.9, "beside": 0.02, "value": {}}, "ann@example.org", 0.0)
    >>> row["meta"]
    {'verified': {'by': 'ann@example.org', 'at': '1970-01-01T00:00:00+00:00'}}
    >>> sorted(row)
    ['id', 'meta', 'origin', 'value']
    """
    when = datetime.fromtimestamp(at, UTC).isoformat()
    return {**accepted(region), "meta": {MARK: {"by": by, "at": when}}}


def accepted(region: Mapping[str, Any]) -> dict[str, Any]:
    """A proposed region without what only a prediction has, as the editor takes it over."""
    kept = {name: value for name, value in region.items() if name not in ("score", BESIDE)}
    return {**kept, "origin": "prediction"}


def is_marked(region: object) -> bool:
    return MARK in meta_of(region)


def is_verified(results: object) -> bool:
    """Whether an annotation's results are verified boxes and nothing else.

    >>> row = marked({"id": "a"}, "ann@example.org", 0.0)
    >>> is_verified([row]), is_verified([row, {"id": "b"}]), is_verified([])
    (True, False, False)
    """
    rows = list(results) if isinstance(results, Iterable) and not isinstance(results, str | Mapping) else []
    return bool(rows) and all(map(is_marked, rows))
