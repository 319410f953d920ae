"""What a region of Label Studio's says beside its shape: Label Studio keeps its `meta` as it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def meta_of(region: object) -> Mapping[str, Any]:
    """A region's meta; empty where there is none, or none that can be read.

    >>> meta_of({"id": "a", "meta": {"from": "click"}}), meta_of({"id": "a", "meta": []}), meta_of(None)
    ({'from': 'click'}, {}, {})
    """
    meta = region.get("meta") if isinstance(region, Mapping) else None
    return meta if isinstance(meta, Mapping) else {}
