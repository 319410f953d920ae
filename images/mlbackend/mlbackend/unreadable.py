"""The images that could not be read, for /health to name."""

import threading
from collections import OrderedDict
from typing import Any

KEPT = 50
KEY_CHARACTERS = 40


class Unreadable:
    """The last KEPT tasks whose image could not be read; a task leaves once its image was."""

    def __init__(self) -> None:
        self._by_task: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, task: object, url: str, reason: str) -> bool:
        """Returns whether this is news."""
        key = str(task)[:KEY_CHARACTERS]
        entry = {"task": task if isinstance(task, int | None) else key, "url": url, "reason": reason}
        with self._lock:
            known = self._by_task.pop(key, None)
            self._by_task[key] = entry
            while len(self._by_task) > KEPT:
                self._by_task.popitem(last=False)
        return known != entry

    def discard(self, task: object) -> None:
        with self._lock:
            self._by_task.pop(str(task)[:KEY_CHARACTERS], None)

    def entries(self) -> list[dict[str, Any]]:
        """Oldest first."""
        with self._lock:
            return list(self._by_task.values())
