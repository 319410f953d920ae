"""A project's labels as they are now, read in the background for the Downloads page."""

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from labelloop.locks import Busy
from labelloop.studio import StudioError
from labelloop.task_filters import LABELLED, changed_after
from trainer.dataset.snapshot import Snapshot, labels_now
from trainer.loop import Loop
from trainer.system.failures import bug, in_words

log = logging.getLogger(__name__)

MOST_KEPT = 4
ASK_AGAIN_S = 10.0
BUSY = "A round's snapshot is being taken and goes on for long. Read the labels again when that is over."


class Stopped(Exception):
    """The reading was told to stop."""


@dataclass(frozen=True)
class ReadLabels:
    """Labels that were read. began: when; what was submitted later is not among them."""

    snapshot: Snapshot
    began: datetime


@dataclass
class Reading:
    """A reading under way. share: how much is done, 0..1; words: what is done now."""

    share: float = 0.0
    words: str = "asking Label Studio"
    began: datetime = field(default_factory=lambda: datetime.now(UTC))


class CurrentLabels:
    """Reads labels, one reading per project at a time, and keeps what was read last in this process.

    The images stay where they are, and the labels are in temporary databases: memory does not grow with
    them. At most MOST_KEPT projects' labels are kept. problems: by project, why the last reading failed.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._under_way: dict[int, tuple[Reading, threading.Thread]] = {}
        self._kept: dict[int, ReadLabels] = {}
        self._changed: dict[int, tuple[float, int | None]] = {}
        self._stopping = threading.Event()
        self.problems: dict[int, str] = {}

    def begin(self, project_id: int) -> None:
        """Begins to read unless a reading is under way."""
        with self._lock:
            if project_id in self._under_way:
                return
            self.problems.pop(project_id, None)
            reading = Reading()
            thread = threading.Thread(target=self._read, args=(project_id, reading), daemon=True)
            self._under_way[project_id] = reading, thread
            thread.start()

    def reading(self, project_id: int) -> Reading | None:
        """The reading under way."""
        with self._lock:
            return self._under_way[project_id][0] if project_id in self._under_way else None

    def of(self, project_id: int) -> ReadLabels | None:
        """What was read last."""
        with self._lock:
            return self._kept.get(project_id)

    def changed(self, project_id: int) -> int | None:
        """How many labelled tasks were changed since, as Label Studio said in the last ASK_AGAIN_S seconds;
        None where it does not answer.
        """
        read, (asked, count) = self.of(project_id), self._changed.get(project_id, (0.0, None))
        if read is None or time.monotonic() - asked < ASK_AGAIN_S:
            return count
        try:
            count = self._loop.studio.count_tasks(project_id, LABELLED, changed_after(read.began))
        except StudioError:
            count = None
        self._changed[project_id] = time.monotonic(), count
        return count

    def stop(self) -> None:
        """Ends the readings after their present image."""
        self._stopping.set()

    def wait(self, seconds: float) -> bool:
        """Waits until nothing is under way; returns whether that is so."""
        deadline = time.monotonic() + seconds
        for _, thread in list(self._under_way.values()):
            thread.join(max(deadline - time.monotonic(), 0.0))
        return not self._under_way

    def _read(self, project_id: int, reading: Reading) -> None:
        def progress(share: float, words: str) -> None:
            if self._stopping.is_set():
                raise Stopped
            reading.share, reading.words = share, words

        try:
            found = labels_now(self._loop.studio, project_id, self._loop.settings, progress)
            with self._lock:
                self._kept.pop(project_id, None)
                self._kept[project_id] = ReadLabels(found, reading.began)
                self._changed.pop(project_id, None)
                for oldest in list(self._kept)[:-MOST_KEPT]:
                    del self._kept[oldest]
        except Stopped:
            pass
        except Busy:
            self.problems[project_id] = BUSY
        except Exception as error:
            self.problems[project_id] = in_words(error)
            log.warning("reading the labels of project %d: %s", project_id, error, exc_info=bug(error))
        finally:
            with self._lock:
                del self._under_way[project_id]
