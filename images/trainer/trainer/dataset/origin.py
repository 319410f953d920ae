"""Which prediction an annotation was made from: the dashboard measures by it, retention keeps it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


def started_from(annotation: Json, predictions: Sequence[Json]) -> Json | None:
    """The prediction that Label Studio names as its parent, else the newest from before it was begun."""
    parent = annotation.get("parent_prediction")
    named = next((row for row in predictions if parent is not None and row["id"] == parent), None)
    if named is not None:
        return named
    begun = datetime.fromisoformat(annotation.get("draft_created_at") or annotation["created_at"])
    earlier = [row for row in predictions if datetime.fromisoformat(row["created_at"]) <= begun]
    return max(earlier, key=lambda row: (datetime.fromisoformat(row["created_at"]), row["id"]), default=None)
