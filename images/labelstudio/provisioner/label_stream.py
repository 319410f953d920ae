"""The label stream goes by the project's own order wherever it is begun, and gives each person another task.

Label Studio's page asks for the next task with its tab's filters, order and selection, empty ones too. Label
Studio takes any of them for a queue of somebody's own, and serves the tasks by id instead of those that the
model is least sure of. Its page leaves them out once **Label All Tasks** was pressed in that browser, but not
before, and so not for whoever comes by a link.

It chooses a task and then locks it for whoever asked, in one transaction, but not on SQLite: there, two who
ask at the same moment would be given the same.
"""

from collections.abc import Mapping
from typing import Any

import projects.api
from data_manager.actions import next_task
from django.db import connection

from labelloop.locks import FOREVER, take
from labelloop.settings import get_settings

LOCK = ".next-task.lock"


def keep_the_projects_order() -> None:
    """Has tasks served by the project's order unless a filter, an order or a selection is there."""
    next_task.filters_ordering_selected_items_exist = _are_there


def give_each_another_task() -> None:
    """Has SQLite's people take their turns, in whichever process, while a task is chosen and locked."""
    label_studios = next_task.get_next_task

    def get_next_task(*arguments: Any, **named: Any) -> Any:
        if connection.vendor != "sqlite":
            return label_studios(*arguments, **named)
        with (get_settings().labelstudio_dir / LOCK).open("a") as turn:
            take(turn, FOREVER)
            return label_studios(*arguments, **named)

    projects.api.get_next_task = next_task.get_next_task = get_next_task


def _are_there(data: Mapping[str, Any]) -> bool:
    """Whether the request for the next task names a filter, an order, or selected tasks."""
    filters, selected = data.get("filters"), data.get("selectedItems")
    if isinstance(filters, Mapping) and "items" in filters:
        filters = filters["items"]
    if isinstance(selected, Mapping) and not selected.get("all"):
        selected = selected.get("included")
    return bool(filters or data.get("ordering") or selected)
