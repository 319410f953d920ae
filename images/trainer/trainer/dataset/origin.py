"""Finds the prediction that an annotation started from. The dashboard compares them, and retention keeps it.

Predictions that were made under former labels of a project are renamed and kept, so that a person who has one
open can still submit an annotation.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]

_EARLIER = re.compile(r"(\d{4,}(?:\.\d{4,})?) \(earlier\)")


def earlier_name(version: str) -> str:
    """The model_version to which predictions of `version` under former labels are renamed.

    It must not contain the version's name, because Label Studio's filters find parts of a name.
    """
    return f"{version.lstrip('vi')} (earlier)"


def is_earlier_name(model_version: str) -> bool:
    return _EARLIER.fullmatch(model_version) is not None


def version_of(prediction: Json) -> str | None:
    """The version that made a prediction, under present or former labels; None when it has no name."""
    name = str(prediction.get("model_version") or "")
    earlier = _EARLIER.fullmatch(name)
    if earlier is None:
        return name or None
    return f"{'i' if '.' in earlier[1] else 'v'}{earlier[1]}"


def started_from(annotation: Json, predictions: Sequence[Json]) -> Json | None:
    """The prediction that Label Studio names as the annotation's parent, else the newest one that was made
    before the annotation was begun.
    """
    parent = annotation.get("parent_prediction")
    named = next((row for row in predictions if parent is not None and row["id"] == parent), None)
    if named is not None:
        return named
    begun = datetime.fromisoformat(annotation.get("draft_created_at") or annotation["created_at"])
    earlier = [row for row in predictions if datetime.fromisoformat(row["created_at"]) <= begun]
    return max(earlier, key=lambda row: (datetime.fromisoformat(row["created_at"]), row["id"]), default=None)
