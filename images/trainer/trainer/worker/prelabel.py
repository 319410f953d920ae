"""Gives every unlabelled task the champion's boxes, in the background and in batches.

All progress is in Label Studio: a run asks it which tasks still lack a prediction of the champion. So a run
can be killed at any time and started again.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelloop.batches import batches
from labelloop.errors import Explained
from labelloop.files import write_text
from labelloop.labels import LabelConfig
from labelloop.locks import holding
from labelloop.registry import Registry
from labelloop.studio import UNLABELLED, Studio, StudioError, where, with_prediction_of, without_prediction_of
from trainer.dataset.origin import earlier_name
from trainer.peers.backend import Backend, BackendError, OtherVersion
from trainer.peers.projects import Project, fetch
from trainer.rounds.progress import Progress, write_progress

log = logging.getLogger(__name__)

Row = dict[str, Any]

# The number of tasks per request for predicting, for storing in Label Studio, and for listing there.
BATCH = 16
PORTION = 48
PAGE = 240
BACKEND_WAIT_S = 120.0
MAX_SWAPS = 30
SWAP_PAUSE_S = 1.0


def lock_path(rounds_dir: Path, project_id: int) -> Path:
    """The lock that a run holds."""
    return rounds_dir / f"predict-{project_id}.lock"


def predicted_labels_path(rounds_dir: Path, project_id: int) -> Path:
    """By version, from which labels and weights the project's predictions were made."""
    return rounds_dir / f"predicted-labels-{project_id}.json"


class PredictionsLost(Explained):
    """Label Studio accepted predictions, but does not have them."""


@dataclass
class _Run:
    """One run over a project. shown: the version whose predictions the project's pages show, "" for none."""

    project: Project
    shown: str
    should_stop: Callable[[], bool]
    on_progress: Callable[[Progress], None]


class Prelabeller:
    """Fills in the champion's predictions, project by project."""

    def __init__(
        self,
        studio: Studio,
        backend: Backend,
        registry: Registry,
        rounds_dir: Path,
        backend_wait_s: float = BACKEND_WAIT_S,
    ) -> None:
        self._studio = studio
        self._backend = backend
        self._registry = registry
        self._rounds_dir = rounds_dir
        self._backend_wait_s = backend_wait_s

    def missing(self, project_id: int, version: str) -> int:
        """How many unlabelled tasks have no prediction of `version`."""
        return self._studio.count_tasks(project_id, UNLABELLED, without_prediction_of(version))

    def run(
        self,
        project: Project,
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> int:
        """Makes a project's missing predictions. Returns: how many were stored.

        When none is missing any more, the project's model_version names the champion, so that uncertainty
        sampling and the labelling page use these predictions.

        Raises:
            StudioError, BackendError: one of the two does not answer or refuses, or the backend does not load
                the champion in time.
            Busy: another process is pre-labelling this project.
        """
        run = _Run(project, project.model_version, should_stop, on_progress)
        with holding(lock_path(self._rounds_dir, project.id)):
            stored, swaps = 0, 0
            while not should_stop():
                version = self._registry.project(project.id).champion()
                if version is None:
                    break
                if not self._current(run, version):
                    break
                try:
                    return stored + self._fill(run, version)
                except OtherVersion as change:
                    swaps += 1
                    if swaps == MAX_SWAPS:
                        raise
                    log.info("project %d: %s; starting over", project.id, change)
                    time.sleep(SWAP_PAUSE_S)
            return stored

    def _fill(self, run: _Run, version: str) -> int:
        project_id = run.project.id
        total = self.missing(project_id, version)
        done, stored, started = 0, 0, time.monotonic()
        if total:
            log.info("project %d: %d tasks to pre-label with %s", project_id, total, version)
            self._wait_for(project_id, version, run.should_stop)
        for tasks in self._lacking(project_id, version):
            for rows in self._predictions(run.project, tasks, version):
                if run.should_stop():
                    return stored
                stored += self._store(project_id, version, rows)
                done += len(rows)
                total = max(total, done)
                eta = (time.monotonic() - started) / done * (total - done)
                self._report(Progress(project_id, version, done, total, eta, _now()), run.on_progress)
                if not run.shown:
                    self._point_at(run, version)
        if done:
            self._report(Progress(project_id, version, done, done, None, _now()), run.on_progress)
            log.info(
                "project %d: pre-labelled %d tasks with %s in %.0f s",
                project_id,
                stored,
                version,
                time.monotonic() - started,
            )
        if run.shown != version:
            self._point_at(run, version)
        return stored

    def _wait_for(self, project_id: int, version: str, should_stop: Callable[[], bool]) -> None:
        """Waits until the backend serves `version`, but no longer once another version is the champion.

        Raises:
            OtherVersion: another version is the champion. BackendError: the backend does not serve `version`
                in time.
        """

        def superseded() -> bool:
            return self._registry.project(project_id).champion() != version

        try:
            self._backend.wait_for(
                project_id, version, self._backend_wait_s, lambda: should_stop() or superseded()
            )
        except BackendError as error:
            if superseded():
                raise OtherVersion(f"{version} is the champion no longer") from error
            raise

    def _lacking(self, project_id: int, version: str) -> Iterator[list[Row]]:
        """Tasks without a prediction of `version`, in pages. After the last page it looks again from the
        start, until no such task is left.

        Raises:
            PredictionsLost: the caller stored a page's predictions, but the tasks still lack them.
        """
        previous: list[int] = []
        while True:
            first: list[int] = []
            for tasks in self._studio.unpredicted_tasks(project_id, version, PAGE):
                ids = [task["id"] for task in tasks]
                if not first and ids == previous:
                    raise PredictionsLost(
                        f"{self._studio.url}: tasks {ids[0]} to {ids[-1]} of project {project_id} "
                        f"lack their predictions of {version} although these were stored"
                    )
                first = first or ids
                yield tasks
            if not first:
                return
            previous = first

    def _predictions(self, project: Project, tasks: Sequence[Row], version: str) -> Iterator[list[Row]]:
        """One prediction per task, in portions. The next portion is predicted while the caller stores one."""

        def predict(portion: Sequence[Row]) -> list[Row]:
            predictions = (self._backend.predict(project, b, version) for b in batches(portion, BATCH))
            return [row for rows in predictions for row in rows]

        with ThreadPoolExecutor(1, thread_name_prefix="predict") as ahead:
            portions = batches(tasks, PORTION)
            pending = ahead.submit(predict, next(portions))
            for portion in portions:
                rows = pending.result()
                pending = ahead.submit(predict, portion)
                yield rows
            yield pending.result()

    def _store(self, project_id: int, version: str, rows: list[Row]) -> int:
        """Stores predictions, except for tasks that got one meanwhile, as Label Studio asks the backend too.

        Returns: how many were stored.
        """
        ids = [row["task"] for row in rows]
        still = where("id", "in_list", ids, "List"), without_prediction_of(version)
        # A count takes Label Studio a quarter of the time of a list.
        if self._studio.count_tasks(project_id, *still) != len(ids):
            wanted = {task["id"] for task in self._studio.iter_tasks(project_id, *still)}
            rows = [row for row in rows if row["task"] in wanted]
        if not rows:
            return 0
        try:
            return self._studio.import_predictions(project_id, rows)
        except StudioError as error:
            if error.status != 400:
                raise
        return sum(self._store_alone(project_id, row) for row in rows)

    def _store_alone(self, project_id: int, row: Row) -> int:
        """Stores one prediction. If Label Studio refuses it, it is stored without its boxes, so that the task
        is not predicted again for ever.
        """
        for attempt in (row, {**row, "result": [], "score": 0.0}):
            try:
                return self._studio.import_predictions(project_id, [attempt])
            except StudioError as error:
                if error.status != 400:
                    raise
                log.warning("task %d: Label Studio refuses its prediction: %s", row["task"], error)
        return 0

    def _point_at(self, run: _Run, version: str) -> None:
        """Sets the project's model_version, unless `version` has no prediction, as Label Studio refuses that.

        Raises:
            OtherVersion: another version is the champion by now.
        """
        project_id = run.project.id
        if self._registry.project(project_id).champion() != version:
            raise OtherVersion(f"{version} is the champion no longer")
        if not self._studio.count_tasks(project_id, with_prediction_of(version)):
            return
        shown = fetch(self._studio, project_id).model_version  # an earlier run may have moved it
        if shown != version:
            self._studio.update_project(project_id, model_version=version)
            log.info("project %d: model_version %s → %s", project_id, shown or "unset", version)
        run.shown = version

    def _current(self, run: _Run, version: str) -> bool:
        """Renames predictions with the version's name that were made under former labels of the project, or
        by another model. (A name is used twice if only a part of the data was restored.)

        The predictions are not deleted, because a person may have one open, and Label Studio refuses an
        annotation whose parent prediction is gone. Retention deletes them later.

        Returns: False when it was told to stop before the end.
        """
        project = run.project
        path = predicted_labels_path(self._rounds_dir, project.id)
        try:
            recorded = json.loads(path.read_bytes())
        except (OSError, ValueError):
            recorded = {}
        card = self._registry.project(project.id).card(version)
        labels = _labels_digest(project.labels)
        made_from = f"{labels} {card.weights_sha256[:16]}"
        known = recorded.get(version)
        if known == made_from:
            return True
        if known is not None and known != labels:  # earlier releases recorded only the labels
            words = "project %d: its labels, or %s, have changed; predictions of it are made anew"
            log.info(words, project.id, version)
            before = datetime.now(UTC)
        else:
            before = card.created_at
        for prediction_id in self._stored(project.id, version, before):
            if run.should_stop():
                return False
            self._studio.rename_prediction(prediction_id, earlier_name(version))
        write_text(path, json.dumps({**recorded, version: made_from}))
        return True

    def _stored(self, project_id: int, version: str, before: datetime) -> Iterator[int]:
        """Ids of the predictions of `version` that were made before `before`."""
        tasks = self._studio.iter_tasks(
            project_id, with_prediction_of(version), fields="all", omit="annotations,drafts", page_size=PAGE
        )
        for task in tasks:
            for prediction in task.get("predictions") or []:
                made_at = datetime.fromisoformat(prediction["created_at"])
                if prediction.get("model_version") == version and made_at < before:
                    yield int(prediction["id"])

    def _report(self, progress: Progress, on_progress: Callable[[Progress], None]) -> None:
        write_progress(self._rounds_dir, progress)
        on_progress(progress)


def _labels_digest(labels: LabelConfig) -> str:
    aliased = [label.spellings for label in labels.labels if label.shown]
    return hashlib.sha256(f"{labels!r}{aliased or ''}".encode()).hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
