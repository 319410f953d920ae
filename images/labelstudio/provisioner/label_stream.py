"""The label stream goes by the project's own order wherever it is begun.

Label Studio's page asks for the next task with its tab's filters, order and selection, empty ones too. Label
Studio takes any of them for a queue of somebody's own, and serves the tasks by id instead of those that the
model is least sure of. Its page leaves them out once **Label All Tasks** was pressed in that browser, but not
before, and so not for whoever comes by a link.
"""

from collections.abc import Mapping
from typing import Any

from data_manager.actions import next_task


def keep_the_projects_order() -> None:
    """Has tasks served by the project's order unless a filter, an order or a selection is there."""
    next_task.filters_ordering_selected_items_exist = _are_there


def _are_there(data: Mapping[str, Any]) -> bool:
    """Whether the request for the next task names a filter, an order, or selected tasks."""
    filters, selected = data.get("filters"), data.get("selectedItems")
    if isinstance(filters, Mapping) and "items" in filters:
        filters = filters["items"]
    if isinstance(selected, Mapping) and not selected.get("all"):
        selected = selected.get("included")
    return bool(filters or data.get("ordering") or selected)
