"""A filter for the tasks that wait for a version's prediction."""

from labelloop.task_filters import Filter, where


def without_prediction_of(version: str) -> Filter:
    return where("predictions_model_versions", "not_contains", [version], "List")
