"""Indexes that Label Studio's tables lack, made at every start.

Without them, what is asked for each file, each page or each next task reads all rows of the project, and so
takes time quadratic in the number of images.
"""

from collections.abc import Mapping

from django.db import connection

_FILES = "io_storages_localfilesimportstoragelink"
INDEXES: Mapping[str, str | Mapping[str, str]] = {
    # A file's path may be longer than what PostgreSQL takes into an index of the usual kind.
    "labelloop_link_of_a_file": {
        "sqlite": f"{_FILES} (storage_id, key)",
        "postgresql": f"{_FILES} USING hash (key)",
    },
    "labelloop_by_score": "prediction (project_id, model_version, score) WHERE cluster IS NULL",
    "labelloop_in_clusters": "prediction (project_id, model_version) WHERE cluster IS NOT NULL",
    # For a million tasks, whose rows would be read from one end to the other. SQLite is for fewer.
    "labelloop_predicted": {"postgresql": "prediction (model_version, task_id)"},
    "labelloop_labelled": {"postgresql": "task (project_id, id) WHERE total_annotations > 0"},
    "labelloop_unlabelled": {"postgresql": "task (project_id, id) WHERE total_annotations = 0"},
}
"""By name, on which rows; where the databases differ, on which of which database."""


def ensure() -> None:
    """Makes the indexes that are not there."""
    with connection.cursor() as cursor:
        for name, rows in INDEXES.items():
            on = rows if isinstance(rows, str) else rows.get(connection.vendor)
            if on is not None:
                cursor.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {on}")
