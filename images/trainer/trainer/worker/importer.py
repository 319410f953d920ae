"""Turns whole images in volumes/images into tasks, each once.

Of many new ones, those that were decoded become tasks while others are still being decoded.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from labelloop.errors import Explained
from labelloop.locks import holding
from labelloop.studio import Studio
from trainer.system.turns import in_turn
from trainer.worker import image_index
from trainer.worker.image_index import NOT_UTF8, ImageIndex

log = logging.getLogger(__name__)

CHECK_S = 1.0
PATIENCE_S = 30.0
SYNC_SILENCE_S = 30.0
PORTION = 2000
"""So many images become tasks before all that are new were decoded."""
# Label Studio takes about a millisecond to make a task, on a busy machine many, and makes all in one request.
SYNC_S, SYNC_S_PER_IMAGE = 600.0, 0.05


class ImportFailed(Explained):
    """Label Studio could not make tasks of the files; the message says why."""


class Importer:
    """Makes tasks for new images by making Label Studio synchronise the projects' local-files storages."""

    def __init__(self, index: ImageIndex, studio: Studio, rounds_dir: Path) -> None:
        self.index = index
        self.deleted = 0
        self.failures: dict[int, Exception] = {}
        self._studio = studio
        self._lock = rounds_dir / "import.lock"
        self._unsettled_since: float | None = None
        self._left = 0
        self._deferred = False
        self._introduced: set[str] = set()
        self._portion_from: int | None = None

    def run(
        self,
        project_ids: list[int],
        wait_s: float = 0.0,
        force: bool = False,
        again: bool = False,
        check: Callable[[], int] | None = None,
    ) -> int:
        """Imports new, whole images into these projects. Returns: how many tasks were made.

        Images whose tasks were deleted stay out; `deleted` is then how many, where a storage comes for the
        first time or with `force`. `failures` is why some projects did not take images, by their ids. While
        files are still being written to the folder or are to be decoded, the import is left to a later call,
        but not for longer than PATIENCE_S, and not of PORTION images.

        wait_s: how long to wait for another import to end, and for the folder to settle. force: decode all
        there is, and import what is whole even when the folder has not settled. again: make tasks of the
        images whose tasks were deleted, too. check: decodes some files, and returns how many are left; by
        default for CHECK_S.

        Raises:
            StudioError: Label Studio does not answer or refuses. ImportFailed: it could not take the files.
                Both are raised only after all projects had their turn.
            Busy: another process is importing.
        """
        check = check or (lambda: self.index.check(CHECK_S))
        deadline = time.monotonic() + wait_s
        self._deferred = False
        with holding(self._lock, wait_s):
            made, self.deleted, self.failures = 0, 0, {}
            if self._portion_from is None:
                self._portion_from = self.index.newest()
            while not (settled := self._look(check)) or (force and self._left):
                if force and self._left:
                    made += self._decode_all(project_ids, check, again)
                elif self._is_portion():
                    made += self._sync_all(project_ids, check)
                    break  # the folder is looked through again before the next one
                elif time.monotonic() < deadline:
                    time.sleep(0.5)
                else:
                    break
            if settled or force:
                self.deleted, self.failures = 0, {}
                made += self._sync_all(project_ids, check, force, again)
            return made

    @property
    def waiting(self) -> bool:
        """Whether the last run left work: files were being written or are to be decoded, or a synchronisation
        was under way.
        """
        return self._deferred or self._left > 0 or self._unsettled_since is not None

    def _look(self, check: Callable[[], int]) -> bool:
        """Whether what the folder holds can be imported now."""
        quiet_s = self.index.scan()
        self._left = check()
        if self._left or quiet_s < image_index.SETTLED_S:
            self._unsettled_since = self._unsettled_since or time.monotonic()
            if time.monotonic() - self._unsettled_since < PATIENCE_S:
                return False
        self._unsettled_since = None
        return True

    def _decode_all(self, project_ids: list[int], check: Callable[[], int], again: bool) -> int:
        """Makes tasks of portions until all is decoded; of none that comes after one that failed."""
        made = 0
        while self._left:
            if again or self.failures or not self._is_portion():
                self._left = check()
                continue
            try:
                made += self._sync_all(project_ids, check)
            except Exception as error:
                log.warning("tried again once all images are decoded: %s", error)
        return made

    def _is_portion(self) -> bool:
        """Whether enough images were decoded since the last synchronisation, or since the start: a tenth of
        all at least, since each synchronisation takes longer the more tasks there are.
        """
        newest = self.index.newest()
        return newest - (self._portion_from or 0) >= max(PORTION, newest // 10)

    def _sync_all(
        self, project_ids: list[int], check: Callable[[], int], force: bool = False, again: bool = False
    ) -> int:
        self._portion_from = self.index.newest()
        self._deferred = False

        def sync(project_id: int) -> int:
            try:
                storages = self._studio.storages(project_id)
                return sum(
                    in_turn(lambda s: self._sync_storage(project_id, s, check, force, again), storages)
                )
            except Exception as error:
                self.failures[project_id] = error
                raise

        return sum(in_turn(sync, project_ids))

    def _sync_storage(
        self, project_id: int, storage: dict[str, Any], check: Callable[[], int], force: bool, again: bool
    ) -> int:
        """Has Label Studio make tasks of the images that are new to a storage.

        The first time, it is asked even if there are none, so that it notes which images are tasks already.
        """
        newest = self.index.newest()
        key = f"{storage['id']} {storage.get('created_at')}"
        since = 0 if again else self.index.synced(key)
        if not newest or (since >= newest and not force and key in self._introduced):
            return 0
        if _is_syncing(storage):
            self._deferred = True
            return 0
        before = self._studio.count_tasks(project_id)
        files = self.index.ready(since, newest)
        seconds = SYNC_S + SYNC_S_PER_IMAGE * newest
        whole = force or key not in self._introduced
        ask = partial(self._studio.sync_storage, storage["id"], seconds, files, again, whole)
        answer = self._decode_beside(ask, check)
        self._require_success(answer)
        self.deleted += int((answer.get("labelloop") or {}).get("deleted", 0))
        self.index.record_sync(key, newest)
        self._introduced.add(key)
        made = self._studio.count_tasks(project_id) - before
        if made:
            log.info("project %d: %d new tasks from %s", project_id, made, self.index.images_dir)
        return made

    def _decode_beside(self, ask: Callable[[], dict[str, Any]], check: Callable[[], int]) -> dict[str, Any]:
        """What Label Studio answers. What is left to decode is decoded meanwhile."""
        answer: Future[dict[str, Any]] = Future()

        def wait() -> None:
            try:
                answer.set_result(ask())
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=wait, name="synchronisation", daemon=True).start()
        more = self._left > 0
        while more and not answer.done():
            before = self._left
            try:
                self._left = check()
            except Exception:  # the next look raises it again, when nobody is asked for tasks
                break
            more = 0 < self._left < before
        return answer.result()

    def _require_success(self, storage: dict[str, Any]) -> None:
        """Raises ImportFailed if a synchronisation failed. Label Studio answers 200 even then, and reports
        the failure in the storage's status and traceback.
        """
        if storage.get("status") != "failed":
            return
        words = str(storage.get("traceback") or "").strip().splitlines() or ["no reason given"]
        unnamed = [problem.path for problem in self.index.problems() if problem.reason == NOT_UTF8]
        hint = f"; rename {', '.join(unnamed)}" if unnamed else ""
        raise ImportFailed(
            f"{self._studio.url}: storage {storage.get('id')} was not synchronised: {words[-1]}{hint}"
        )


def _is_syncing(storage: dict[str, Any]) -> bool:
    """Whether Label Studio is synchronising a storage already, e.g. since before the trainer was restarted.

    If asked again, it would start a second synchronisation beside the first, and both would make tasks for
    the same files.
    """
    if storage.get("status") not in ("queued", "in_progress"):
        return False
    times = [(storage.get("meta") or {}).get(name) for name in ("time_queued", "time_last_ping")]
    newest = max((datetime.fromisoformat(time_) for time_ in times if time_), default=None)
    # After the clock was set back, a dead synchronisation may be dated in the future.
    return newest is not None and abs((datetime.now(UTC) - newest).total_seconds()) < SYNC_SILENCE_S
