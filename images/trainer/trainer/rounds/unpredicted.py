"""The tasks that could not be given a prediction, why, and when each is tried again.

They are listed by project in volumes/rounds/unpredicted-<id>.json. A task leaves the list when it gets its
prediction, when a person labels it, and when it is deleted.
"""

import json
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from labelloop.files import write_text

FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 3600.0
WORDS = 300


@dataclass(frozen=True)
class Failure:
    """One task without a prediction.

    name: its image, as messages call it. attempts: how many failed in a row. since, retry_at: Unix times of
    the first failure and of the next attempt.
    """

    task: int
    name: str
    reason: str
    attempts: int
    since: float
    retry_at: float

    def due(self, now: float) -> bool:
        """Whether it is to be tried again. After the clock was set back, it is."""
        return not now < self.retry_at <= now + LONGEST_RETRY_S


class Unpredicted:
    """One project's list. Changes are in memory until `save`."""

    def __init__(self, rounds_dir: Path, project_id: int) -> None:
        self._path = rounds_dir / f"unpredicted-{project_id}.json"
        self._by_task = _read(self._path)
        self._saved = dict(self._by_task)

    def tasks(self) -> set[int]:
        return set(self._by_task)

    def due(self, now: float) -> set[int]:
        return {task for task, failure in self._by_task.items() if failure.due(now)}

    def failures(self) -> list[Failure]:
        """By task."""
        return [self._by_task[task] for task in sorted(self._by_task)]

    def add(self, task: int, name: str, reason: str) -> bool:
        """Records a failed attempt. The pause before the next one doubles. Returns: whether it is news."""
        now, before = time.time(), self._by_task.get(task)
        attempts = before.attempts + 1 if before else 1
        pause_s = min(FIRST_RETRY_S * 2 ** min(attempts - 1, 20), LONGEST_RETRY_S)
        since = before.since if before else now
        failure = Failure(task, name[:WORDS], reason[:WORDS], attempts, since, now + pause_s)
        self._by_task[task] = failure
        return before is None or before.reason != failure.reason

    def discard(self, tasks: Collection[int]) -> None:
        """Forgets tasks."""
        for task in tasks:
            self._by_task.pop(task, None)

    def keep(self, tasks: Collection[int]) -> None:
        """Forgets all but these tasks."""
        self.discard(self._by_task.keys() - set(tasks))

    def save(self) -> None:
        """Writes the list, if it has changed; an empty one is no file."""
        if self._by_task == self._saved:
            return
        if self._by_task:
            write_text(self._path, json.dumps([asdict(failure) for failure in self.failures()]))
        else:
            self._path.unlink(missing_ok=True)
        self._saved = dict(self._by_task)


def _read(path: Path) -> dict[int, Failure]:
    """The list on disk. One that is missing or damaged is empty: whatever fails again is listed again."""
    try:
        return {row["task"]: Failure(**row) for row in json.loads(path.read_bytes())}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
