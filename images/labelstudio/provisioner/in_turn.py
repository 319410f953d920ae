"""Writes of many rows, after each of which the database is left to others.

SQLite has one writer at a time, and who waits for it does not queue: she tries again after pauses that grow
to a tenth of a second. A write that began anew at once would keep her out until all of it is done.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from projects.models import Project

LONGEST_PAUSE_S = 0.25


def one_at_a_time(project_id: int) -> Any:
    """Has whoever else calls this for the project, or takes labels in, wait until the transaction ends.

    SQLite has one writer anyway. On PostgreSQL, two transactions at once do not see each other's rows, and a
    statement that has waited for a row still sees the other tables as they were before.

    The row's key is not held. If it were, people who submit would be kept waiting, and PostgreSQL would end
    one of two that wait for each other: whoever submits changes the task before the commit looks for the
    project.

    Returns: the project, None if there is none.
    """
    return Project.objects.select_for_update(no_key=True).filter(pk=project_id).first()


@contextmanager
def written_in_turn() -> Iterator[None]:
    """One transaction. After it, SQLite is left alone for as long as it took, within bounds."""
    with transaction.atomic():
        began = time.monotonic()  # the lock is held from here on
        yield
    if connection.vendor == "sqlite":
        time.sleep(min(time.monotonic() - began, LONGEST_PAUSE_S))
