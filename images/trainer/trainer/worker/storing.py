"""Predictions into Label Studio, for the tasks that still need them."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from labelloop.studio import Studio
from trainer.peers.backend import Unread
from trainer.worker.showing import Showing

Row = dict[str, Any]

SENT = ("task", "result", "score")


def gathered(
    portions: Iterable[tuple[list[Row], list[Unread]]], seconds: float
) -> Iterator[tuple[list[Row], list[Unread]]]:
    """Portions of predictions, joined: those that are made within `seconds`, or one that takes longer. One
    with no prediction is given at once: the images' server may be away.
    """
    rows: list[Row] = []
    unread: list[Unread] = []
    since = time.monotonic()
    for some_rows, some_unread in portions:
        rows += some_rows
        unread += some_unread
        if not some_rows or time.monotonic() - since >= seconds:
            yield rows, unread
            rows, unread, since = [], [], time.monotonic()
    if rows or unread:
        yield rows, unread


def store(studio: Studio, project_id: int, showing: Showing, rows: list[Row]) -> tuple[int, list[Unread]]:
    """Stores predictions, except for tasks that need none any more, as Label Studio asks the backend too.

    Returns: how many were stored, and those that Label Studio refused.

    Raises:
        StudioError: Label Studio does not answer, or refuses for another reason than the boxes.
    """
    if not rows:
        return 0, []
    sent = [{name: row[name] for name in SENT} for row in rows]
    answer = studio.store_predictions(project_id, showing.lacking, sent)
    refused = [
        Unread(int(row["task"]), f"Label Studio refuses its boxes: {row['reason']}")
        for row in answer["refused"]
    ]
    return int(answer["created"]), refused
