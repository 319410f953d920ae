"""Keeps what people did with the model's boxes, project by project, read from Label Studio's annotations.

A project is read whole once, in the background. From then on Label Studio is asked for the tasks that were
changed since, so that a page costs hardly more with a hundred thousand annotations than with a hundred.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from labelloop.clocks import LEEWAY
from labelloop.errors import Explained
from labelloop.labels import LabelConfig
from labelloop.studio import Studio
from labelloop.task_filters import LABELLED, changed_after
from trainer.dashboard import annotators
from trainer.dashboard.annotators import Annotator
from trainer.dashboard.book import Book, Effort
from trainer.dashboard.entries import read_task
from trainer.loop import Loop
from trainer.peers.projects import Project, fetch
from trainer.system.failures import bug

log = logging.getLogger(__name__)

KEPT_S = 60.0
WHOLE_S = 6 * 3600.0
"""After so long a project is read whole again: Label Studio does not tell of annotations deleted in bulk."""
WAIT_S = 1.0
"""How long a page waits for what is read, before it shows what there is, or how far the first reading is."""
PAGE = 100

Json = Mapping[str, Any]


class StillReading(Explained):
    """A project is being read for the first time; the message says how far that is."""


@dataclass(frozen=True)
class Kept:
    """What is known of a project. people: everyone who has an annotation, by id. as_of: when it was read."""

    book: Book
    people: Mapping[int, Annotator]
    as_of: datetime

    def name(self, user: int) -> Annotator:
        return self.people.get(user) or annotators.unknown(user)


def measure(tasks: Iterable[Json], config: LabelConfig) -> list[Effort]:
    """The effort in tasks with annotations and predictions, by version, in the versions' order.

    Annotations that started without a prediction come first.
    """
    book = Book()
    _read(book, tasks, config, lambda done: None)
    return book.efforts


def _read(book: Book, tasks: Iterable[Json], config: LabelConfig, progress: Callable[[int], None]) -> None:
    for done, task in enumerate(tasks, 1):
        book.put(int(task["id"]), read_task(task, config))
        progress(done)


class Ledger:
    """What is known of each project. Several threads use it.

    kept_s: after so many seconds Label Studio is asked again what is new.
    """

    def __init__(self, loop: Loop, kept_s: float = KEPT_S) -> None:
        self._loop = loop
        self._kept_s = kept_s
        self._lock = threading.Lock()
        self._readers: dict[int, _Reader] = {}

    def of(self, project_id: int, first_wait_s: float | None = None) -> Kept:
        """What people did in a project. first_wait_s: how long to wait where nothing is known yet; by default
        WAIT_S.

        Raises:
            StillReading: it is being read for the first time, and that takes longer.
            StudioError: Label Studio does not answer.
            LabelConfigError: boxes can no longer be drawn in the project.
        """
        with self._lock:
            reader = self._readers.setdefault(project_id, _Reader(self._loop.studio, project_id))
        return reader.kept(self._kept_s, WAIT_S if first_wait_s is None else first_wait_s)

    def stop(self) -> None:
        """Ends the reading that is under way."""
        with self._lock:
            for reader in self._readers.values():
                reader.stopping.set()


class _Stopped(Exception):
    """The dashboard ends."""


class _Reader:
    """Reads one project, in a thread of its own. One run at a time."""

    def __init__(self, studio: Studio, project_id: int) -> None:
        self.stopping = threading.Event()
        self._studio = studio
        self._project_id = project_id
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._kept: Kept | None = None
        self._error: Exception | None = None
        self._read_at = self._whole_at = 0.0
        self._label_config = ""
        self._gone = 0
        self._progress = "Label Studio is asked what was labelled."

    def kept(self, kept_s: float, first_wait_s: float) -> Kept:
        with self._lock:
            known = self._kept
            if self._thread is None and (known is None or time.monotonic() - self._read_at > kept_s):
                self._error = None
                self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(first_wait_s if known is None else WAIT_S)
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._kept is None:
                raise StillReading(self._progress)
            return self._kept

    def _run(self) -> None:
        try:
            self._refresh()
        except _Stopped:
            pass
        except Exception as error:
            log.warning("project %d: %s", self._project_id, error, exc_info=bug(error))
            with self._lock:
                self._error = error
        finally:
            with self._lock:
                self._thread = None

    def _refresh(self) -> None:
        began, clock = datetime.now(UTC), time.monotonic()
        project = fetch(self._studio, self._project_id)
        book = self._changed(project) or self._whole(project)
        people = annotators.ask(self._studio, book.users)
        with self._lock:
            self._kept = Kept(book, people, began)
            self._read_at, self._label_config = clock, project.label_config

    def _changed(self, project: Project) -> Book | None:
        """The book that is kept, with what is new; None where the project has to be read whole.

        A task whose only annotation was deleted is not among those that are asked for, so that the book has
        more tasks than Label Studio.
        """
        kept = self._kept
        aged = time.monotonic() - self._whole_at > WHOLE_S
        if kept is None or aged or project.label_config != self._label_config:
            return None
        since = changed_after(kept.as_of - LEEWAY)
        tasks = self._studio.iter_tasks(
            project.id, LABELLED, since, fields="all", omit="drafts", page_size=PAGE
        )
        _read(kept.book, tasks, project.labels, self._stop_if_asked)
        gone = kept.book.tasks - self._studio.count_tasks(project.id, LABELLED)
        return kept.book if gone <= self._gone else None

    def _whole(self, project: Project) -> Book:
        book, began = Book(), time.monotonic()
        total = self._studio.count_tasks(project.id, LABELLED)

        def progress(done: int) -> None:
            self._progress = f"{done:,} of {total:,} labelled images are read."
            self._stop_if_asked(done)

        _read(book, self._studio.annotated_tasks(project.id, predictions=True), project.labels, progress)
        # Label Studio's own count can be wrong for good: only a larger difference tells of something gone.
        self._gone = max(book.tasks - self._studio.count_tasks(project.id, LABELLED), 0)
        self._whole_at = began
        return book

    def _stop_if_asked(self, done: int) -> None:
        if self.stopping.is_set():
            raise _Stopped
