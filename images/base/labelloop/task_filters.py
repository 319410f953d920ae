"""Filters of Label Studio's data manager, by which tasks are listed and counted."""

from datetime import UTC, datetime
from typing import Any

from labelloop.clocks import EVER, LEEWAY, is_ahead

Filter = dict[str, Any]


def where(field: str, operator: str, value: Any, kind: str = "Number") -> Filter:
    """One condition, e.g. where("total_annotations", "greater", 0)."""
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}


LABELLED = where("total_annotations", "greater", 0)
UNLABELLED = where("total_annotations", "equal", 0)


def with_prediction_of(version: str) -> Filter:
    """The filter for tasks with a prediction of `version`.

    Label Studio looks for the name anywhere in a prediction's model_version, so it also finds longer names.
    """
    return where("predictions_model_versions", "contains", [version], "List")


def changed_after(moment: datetime) -> Filter:
    """The filter for tasks that were changed later, or have such an annotation. moment: with a time zone. All
    are later than one in the future: the clock was ahead when it was noted, so it does not tell.
    """
    return where("updated_at", "greater", _datetime(EVER if is_ahead(moment) else moment), "Datetime")


def not_ahead() -> Filter:
    """The filter for tasks that were not changed in the future, as those were while the clock was ahead."""
    return where("updated_at", "less", _datetime(datetime.now(UTC) + LEEWAY), "Datetime")


def _datetime(moment: datetime) -> str:
    """In the only form that Label Studio reads."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
