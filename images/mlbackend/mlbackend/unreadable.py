"""The images that could not be read, for /health to name."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

KEPT = 50
KEY_CHARACTERS = 40
# The trainer asks at least once an hour for an image that could not be read, as long as its task is there.
FORGOTTEN_AFTER_S = 3 * 3600.0


class Unreadable:
    """The last KEPT tasks whose image could not be read; a task leaves once its image was, or when nobody has
    asked for it for FORGOTTEN_AFTER_S. clock: seconds, as time.monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_task: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._asked_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, task: object, url: str, reason: str) -> bool:
        """Returns whether this is news."""
        key = str(task)[:KEY_CHARACTERS]
        entry = {"task": task if isinstance(task, int | None) else key, "url": url, "reason": reason}
        with self._lock:
            known = self._by_task.pop(key, None)
            self._by_task[key] = entry
            self._asked_at[key] = self._clock()
            while len(self._by_task) > KEPT:
                self._drop(next(iter(self._by_task)))
        return known != entry

    def discard(self, task: object) -> None:
        with self._lock:
            self._drop(str(task)[:KEY_CHARACTERS])

    def entries(self) -> list[dict[str, Any]]:
        """Oldest first."""
        with self._lock:
            long_ago = self._clock() - FORGOTTEN_AFTER_S
            for key in [key for key, asked_at in self._asked_at.items() if asked_at < long_ago]:
                self._drop(key)
            return list(self._by_task.values())

    def _drop(self, key: str) -> None:
        self._by_task.pop(key, None)
        self._asked_at.pop(key, None)
