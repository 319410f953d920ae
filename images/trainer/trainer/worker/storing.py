"""Predictions into Label Studio, for the tasks that still need them."""

from typing import Any

from labelloop.studio import Studio, StudioError, where
from trainer.peers.backend import Unread
from trainer.worker.showing import Showing

Row = dict[str, Any]


def store(studio: Studio, project_id: int, showing: Showing, rows: list[Row]) -> tuple[int, list[Unread]]:
    """Stores predictions, except for tasks that need none any more, as Label Studio asks the backend too.

    Returns: how many were stored, and those that Label Studio refused.

    Raises:
        StudioError: Label Studio does not answer, or refuses for another reason than the boxes.
    """
    if not rows:
        return 0, []
    ids = [row["task"] for row in rows]
    still = where("id", "in_list", ids, "List"), *showing.lacking[1:]
    # A count takes Label Studio a quarter of the time of a list.
    if studio.count_tasks(project_id, *still) != len(ids):
        wanted = {task["id"] for task in studio.iter_tasks(project_id, *still)}
        rows = [row for row in rows if row["task"] in wanted]
    if not rows:
        return 0, []
    try:
        return studio.import_predictions(project_id, rows), []
    except StudioError as error:
        if error.status != 400:
            raise
    refused: list[Unread] = []
    stored = sum(_store_alone(studio, project_id, row, refused) for row in rows)
    return stored, refused


def _store_alone(studio: Studio, project_id: int, row: Row, refused: list[Unread]) -> int:
    """Stores one prediction. If Label Studio refuses it, it is added to `refused`."""
    try:
        return studio.import_predictions(project_id, [row])
    except StudioError as error:
        if error.status != 400:
            raise
        refused.append(Unread(row["task"], f"Label Studio refuses its boxes: {error}"))
    return 0
