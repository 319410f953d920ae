"""Indexes that Label Studio's tables lack, made at every start.

Without them, what is asked for each file or each page reads all rows of the project, and so takes time
quadratic in the number of images.
"""

from django.db import connection

# A file's path may be longer than what PostgreSQL takes into an index of the usual kind.
_OF_A_FILE = {
    "sqlite": "io_storages_localfilesimportstoragelink (storage_id, key)",
    "postgresql": "io_storages_localfilesimportstoragelink USING hash (key)",
}


def ensure() -> None:
    """Makes the indexes that are not there."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE INDEX IF NOT EXISTS labelloop_link_of_a_file ON {_OF_A_FILE[connection.vendor]}"
        )
