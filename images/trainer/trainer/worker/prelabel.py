"""Gives every unlabelled task the champion's boxes, in the background and in batches.

While an instant version serves, it looks only at the few tasks that people get next (trainer.worker.ahead).

Images with a labelled near-duplicate get its boxes, too (trainer.worker.twins).

All progress is in Label Studio: a run asks it which tasks still lack a prediction of the champion. So a run
can be killed at any time and started again. A task that cannot be given one, because its image cannot be
read, gets none. It is listed (trainer.rounds.unpredicted), and tried again after a pause.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelloop.errors import Explained
from labelloop.instant import is_instant
from labelloop.locks import holding, is_held
from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.studio import Studio
from labelloop.task_filters import with_prediction_of
from labelloop.task_images import image_name
from trainer.peers.backend import Backend, BackendError, OtherVersion, Unread
from trainer.peers.pool import Pool
from trainer.peers.projects import Project, fetch
from trainer.rounds.pace import Pace
from trainer.rounds.progress import Progress, write_progress
from trainer.rounds.unpredicted import Unpredicted
from trainer.worker.ahead import few_next
from trainer.worker.former import FormerPredictions
from trainer.worker.predicting import Predictors, in_portions
from trainer.worker.showing import Showing
from trainer.worker.storing import gathered, store
from trainer.worker.twins import Twins

log = logging.getLogger(__name__)

Row = dict[str, Any]

PAGE = 480
"""The number of tasks per list of Label Studio's."""
STORE_S = 0.5
"""So long portions are gathered, as each request to store some costs as much as dozens of predictions."""
BACKEND_WAIT_S = 120.0
MAX_SWAPS = 30
SWAP_PAUSE_S = 1.0
LOOKERS_WAIT_S = 5.0
"""Whoever asks whether the lock is held, holds it for that moment."""
# With more than PAGE tasks that failed, a run looks through them all only so often, to find others.
LOOK_THROUGH_S = 60.0


def lock_path(rounds_dir: Path, project_id: int) -> Path:
    """The lock that a run holds."""
    return rounds_dir / f"predict-{project_id}.lock"


def at_work(rounds_dir: Path, project_id: int) -> bool:
    """Whether a run, of whichever process, is predicting. Most runs find nothing to do, and end at once."""
    try:
        return is_held(_work_lock_path(rounds_dir, project_id))
    except FileNotFoundError:
        return False


def _work_lock_path(rounds_dir: Path, project_id: int) -> Path:
    return rounds_dir / f"predicting-{project_id}.lock"


class PredictionsLost(Explained):
    """Label Studio accepted predictions, but does not have them."""


@dataclass
class _Run:
    """One run over a project with one champion.

    shown: the version whose predictions the project's pages show, "" for none. again: whether tasks that
    failed are tried again before their time. twins: knows labelled near-duplicates; None where they do not
    count. failed: the tasks that failed in this run.
    """

    project: Project
    should_stop: Callable[[], bool]
    on_progress: Callable[[Progress], None]
    again: bool
    unpredicted: Unpredicted
    shown: str
    twins: Twins | None = None
    failed: set[int] = field(default_factory=set)


class Prelabeller:
    """Fills in the champion's predictions, project by project."""

    def __init__(
        self,
        studio: Studio,
        backend: Backend,
        registry: Registry,
        rounds_dir: Path,
        backend_wait_s: float = BACKEND_WAIT_S,
        settings: Settings | None = None,
        pool: Pool | None = None,
    ) -> None:
        """settings: where the images are, so that boxes of labelled near-duplicates can be proposed; without
        them, what the model sees is proposed alone. pool: of a cluster, beside the backend.
        """
        self._studio = studio
        self._backend = backend
        self._predictors = Predictors(backend, pool)
        self._registry = registry
        self._rounds_dir = rounds_dir
        self._backend_wait_s = backend_wait_s
        self._former = FormerPredictions(studio, registry, rounds_dir)
        self._looked_through: dict[int, float] = {}
        self._settings = settings

    def showing(self, project: Project) -> Showing | None:
        """What decides whose predictions the project shows, and which are made; None without a champion.

        Raises:
            StudioError: Label Studio does not answer. RegistryError: the champion is damaged.
        """
        models = self._registry.project(project.id)
        version = models.serving()
        if version is None:
            return None
        found = Showing.of(self._studio, project, models, version)
        return replace(found, few=few_next(self._studio, project, models)) if is_instant(version) else found

    def missing(self, project_id: int) -> int:
        """How many unlabelled tasks are to get a prediction, without those that failed and wait for another
        attempt. 0 without a champion.
        """
        showing = self.showing(fetch(self._studio, project_id))
        if showing is None:
            return 0
        lacking = self._studio.count_lacking(project_id, showing.lacking)
        return max(lacking - len(self.unpredicted(project_id).tasks()), 0)

    def unpredicted(self, project_id: int) -> Unpredicted:
        """The tasks that could not be given a prediction."""
        return Unpredicted(self._rounds_dir, project_id)

    def run(
        self,
        project: Project,
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        again: bool = False,
    ) -> int:
        """Makes a project's missing predictions. Returns: how many were stored.

        When none is missing any more, the project's model_version names the champion, so that uncertainty
        sampling and the labelling page use these predictions; `showing` says when it keeps another. Tasks
        that could not be predicted count as done; `unpredicted` lists them.

        again: try those that failed before at once, and all of them.

        Raises:
            StudioError, BackendError: one of the two does not answer or refuses, or the backend does not load
                the champion in time.
            Busy: another process is pre-labelling this project.
        """
        with holding(lock_path(self._rounds_dir, project.id)):
            unpredicted = self.unpredicted(project.id)
            twins = self._twins(project)
            run = _Run(project, should_stop, on_progress, again, unpredicted, project.model_version, twins)
            stored, swaps = 0, 0
            while not should_stop():
                showing = self.showing(project)
                if showing is None:
                    break
                try:
                    if not self._without_former(run, showing.version):
                        break
                    if twins is not None:
                        twins.update(showing.version, should_stop, anew=not showing.others)
                    return stored + self._fill(run, showing)
                except OtherVersion as change:
                    swaps += 1
                    if swaps == MAX_SWAPS:
                        raise
                    log.info("project %d: %s; starting over", project.id, change)
                    time.sleep(SWAP_PAUSE_S)
            return stored

    def _without_former(self, run: _Run, version: str) -> bool:
        """Renames what `version` would not predict today. Returns: False when it was told to stop.

        Under other labels it waits for the backend first, since whoever opens a task meanwhile is shown boxes
        under the former ones; and what Label Studio refused under these is tried again.

        Raises:
            OtherVersion, BackendError: as `_wait_for`.
        """
        if self._former.changed(run.project, version):
            run.again = True
            self._wait_for(run.project.id, version, run.should_stop)
        return self._former.rename(run.project, version, run.should_stop)

    def _twins(self, project: Project) -> Twins | None:
        """None without settings, and in simulations and the demo, which measure or show the model."""
        if self._settings is None or not project.retrains_itself:
            return None
        return Twins(self._studio, self._settings, self._rounds_dir, project)

    def _fill(self, run: _Run, showing: Showing) -> int:
        project_id, version = run.project.id, showing.version
        total = self._to_do(run, showing)
        done, stored, started, pace = 0, 0, time.monotonic(), Pace(warm_up=1, measured=1)
        working = ExitStack()
        try:
            for tasks in self._lacking(run, showing):
                if not done:
                    working.enter_context(
                        holding(_work_lock_path(self._rounds_dir, project_id), LOOKERS_WAIT_S)
                    )
                    log.info("project %d: %d tasks to pre-label with %s", project_id, total, version)
                    self._wait_for(project_id, version, run.should_stop)
                    pace.step(time.monotonic(), done)
                for rows, unread in gathered(self._predictions(run, tasks, version), STORE_S):
                    if run.should_stop():
                        return stored
                    made, refused = store(self._studio, project_id, showing, rows)
                    if run.twins is not None:
                        run.twins.note_stored([row["task"] for row in rows], version)
                    stored += made
                    self._note(run, tasks, rows, [*unread, *refused])
                    done += len(rows) + len(unread)
                    total = max(total, done)
                    pace.step(time.monotonic(), done)
                    eta = pace.left(total - done)
                    self._report(Progress(project_id, version, done, total, eta, _now()), run.on_progress)
                    if not run.shown:
                        self._point(run, showing)
                    if not rows and not run.again:
                        # A server may be away. The other projects get their turn before the rest fails too.
                        return stored
        finally:
            working.close()
            run.unpredicted.save()
        if done:
            self._report(Progress(project_id, version, done, done, None, _now()), run.on_progress)
            took = time.monotonic() - started
            log.info("project %d: pre-labelled %d tasks with %s in %.0f s", project_id, stored, version, took)
        if run.shown != showing.wanted(run.project) or showing.given_back(run.project):
            self._point(run, showing)
        return stored

    def _to_do(self, run: _Run, showing: Showing) -> int:
        """How many tasks this run is to predict, as far as is known before it lists them."""
        lacking = self._studio.count_lacking(run.project.id, showing.lacking)
        known = run.unpredicted.tasks()
        again = len(known) if run.again else len(run.unpredicted.due(time.time()))
        return max(lacking - len(known) + again, 0)

    def _note(self, run: _Run, tasks: Sequence[Row], rows: Sequence[Row], failed: Sequence[Unread]) -> None:
        """Records which tasks have failed, and that the others have not."""
        data = {task["id"]: task["data"] for task in tasks}
        bad = {failure.task for failure in failed}
        run.failed |= bad
        run.unpredicted.discard({row["task"] for row in rows} - bad)
        for failure in failed:
            name = image_name(run.project.labels.image_of(data[failure.task]))
            reason = failure.reason.removeprefix(f"{name}: ")
            if run.unpredicted.add(failure.task, name, reason):
                log.warning(
                    "project %d, task %d: no prediction: %s: %s", run.project.id, failure.task, name, reason
                )

    def _wait_for(self, project_id: int, version: str, should_stop: Callable[[], bool]) -> None:
        """Waits until the backend serves `version` with the classes of its card, which a renamed label
        changes, but no longer once another version is the champion.

        Raises:
            OtherVersion: another version is the champion. BackendError: the backend does not serve `version`
                in time.
        """

        def superseded() -> bool:
            return self._registry.project(project_id).serving() != version

        try:
            classes = self._registry.project(project_id).card(version).classes
            self._backend.wait_for(
                project_id, version, classes, self._backend_wait_s, lambda: should_stop() or superseded()
            )
        except BackendError as error:
            if superseded():
                raise OtherVersion(f"{version} is in service no longer") from error
            raise

    def _lacking(self, run: _Run, showing: Showing) -> Iterator[list[Row]]:
        """Tasks that are to get a prediction, in pages; those that failed before come last, when they are
        due. After the last page it looks again from the start, until no such task is left.

        Raises:
            PredictionsLost: the caller stored a page's predictions, but the tasks still lack them.
        """
        known = run.unpredicted.tasks()
        if self._nothing_new(run, showing, known):
            return
        waiting, now = known, time.time()
        previous: list[int] = []
        while True:
            first: list[int] = []
            seen: set[int] = set()
            for tasks in self._studio.lacking(run.project.id, showing.lacking, PAGE):
                seen.update(task["id"] for task in tasks)
                wanted = [task for task in tasks if task["id"] not in waiting | run.failed]
                ids = [task["id"] for task in wanted]
                if ids and not first and ids == previous:
                    raise PredictionsLost(
                        f"{self._studio.url}: tasks {ids[0]} to {ids[-1]} of project {run.project.id} "
                        f"lack their predictions of {showing.version} although these were stored"
                    )
                first = first or ids
                if wanted:
                    yield wanted
            previous = first
            if first:
                continue
            if showing.few is None:
                run.unpredicted.keep(seen)
            due = known if run.again else run.unpredicted.due(now)
            if not due & waiting & seen:
                return
            waiting = waiting - due

    def _nothing_new(self, run: _Run, showing: Showing, known: set[int]) -> bool:
        """Whether all tasks that lack a prediction are ones that failed, of which none is due. So many are
        not listed in every run.
        """
        project_id = run.project.id
        if len(known) <= PAGE or run.again or run.unpredicted.due(time.time()):
            return False
        if self._studio.count_lacking(project_id, showing.lacking) != len(known):
            return False
        if time.monotonic() < self._looked_through.get(project_id, 0.0):
            return True
        self._looked_through[project_id] = time.monotonic() + LOOK_THROUGH_S
        return False

    def _predictions(
        self, run: _Run, tasks: Sequence[Row], version: str
    ) -> Iterator[tuple[list[Row], list[Unread]]]:
        """One prediction per task, or an Unread, in portions."""
        classes = self._registry.project(run.project.id).card(version).classes

        def ask(batch: Sequence[Row]) -> list[Row | Unread]:
            asked = run.twins.with_twins(batch) if run.twins is not None else batch
            return self._predictors.predict(run.project, asked, version, classes)

        return in_portions(ask, tasks, self._predictors.at_once)

    def _point(self, run: _Run, showing: Showing) -> None:
        """Sets the project's model_version to what `showing` wants, of several backends once all serve it,
        unless that is the champion and it has no prediction, as Label Studio refuses that.

        Raises:
            OtherVersion, BackendError: as `_wait_for`.
        """
        project_id, version = run.project.id, showing.version
        if self._settings is not None and self._settings.backends > 1:
            self._wait_for(project_id, version, run.should_stop)
        if self._registry.project(project_id).serving() != version:
            raise OtherVersion(f"{version} is in service no longer")
        project = fetch(self._studio, project_id)  # an earlier run, or a person, may have moved it
        wanted, shown = showing.wanted(project), project.model_version
        if wanted != shown and (
            wanted != version or self._studio.count_tasks(project_id, with_prediction_of(version))
        ):
            self._studio.show_predictions(project_id, wanted)
            log.info("project %d: model_version %s → %s", project_id, shown or "unset", wanted)
            shown = wanted
        elif showing.given_back(project):
            self._studio.show_predictions(project_id, shown)
        run.shown = shown

    def _report(self, progress: Progress, on_progress: Callable[[Progress], None]) -> None:
        write_progress(self._rounds_dir, progress)
        on_progress(progress)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
