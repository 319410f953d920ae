"""The trainer's worker: one process that runs the loop for every project.

Training runs in child processes. Importing and pre-labelling run in threads meanwhile.
"""

import logging
import re
import sqlite3
import threading
import time
from contextlib import suppress

from labelloop.locks import Busy
from labelloop.registry import Registry
from labelloop.studio import Studio
from labelloop.task_filters import LABELLED
from trainer.dataset.survey import forget_all_but
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.peers.pool import Pool
from trainer.peers.projects import Project, sort_projects
from trainer.rounds import heartbeat
from trainer.rounds.asking import automatic
from trainer.rounds.heartbeat import STARTING_MODELS
from trainer.rounds.owners import Owners
from trainer.rounds.table import Rounds
from trainer.system.children import Child, Spawn
from trainer.worker import twins
from trainer.worker.adoption import Adoption
from trainer.worker.at_once import LOOK_S as AT_ONCE_LOOK_S
from trainer.worker.at_once import AtOnce
from trainer.worker.bucket_import import BucketImport
from trainer.worker.cached_images import CachedImages
from trainer.worker.chores import FIRST_PAUSE_S, Chore, for_each, tell
from trainer.worker.descriptions import Descriptions
from trainer.worker.image_index import ImageIndex
from trainer.worker.importer import Importer
from trainer.worker.preflight import Preflight
from trainer.worker.prelabel import Prelabeller
from trainer.worker.retention import Retention
from trainer.worker.runner import RoundRunner
from trainer.worker.scorer import Scorer
from trainer.worker.starting_models import StartingModels
from trainer.worker.surveyor import Surveyor
from trainer.worker.trials import TrialKeeper

log = logging.getLogger(__name__)

LOOK_S = 5.0
SOON_S = 1.0
STARTING_S = 300.0
"""For how long a worker without a project looks for one every second: Label Studio may have been started with
it.
"""
TEND_S = 0.5
PREDICT_EVERY_S = 10.0
SURVEY_EVERY_S = 30.0
DESCRIBE_EVERY_S = 60.0
SCORE_EVERY_S = 5.0
TRY_EVERY_S = 5.0
CACHE_EVERY_S = 60.0
RETAIN_EVERY_S = 3600.0
RETAIN_SOON_S = 30.0
CHECK_SLICE_S = 5.0
CHECK_PAUSE_S = 1.0
THREAD_PATIENCE_S = 2.0
ROUNDS_OF_A_CLUSTER = 4
"""So many projects' rounds run at once where a cluster trains them. Each takes its snapshot and is judged on
this machine, and waits for room on the cluster in between.
"""


class Worker:
    """Takes care of starting models, imports, pre-labels, due rounds and the round that runs."""

    def __init__(
        self, settings: TrainerSettings, studio: Studio, backend: Backend, spawn: Spawn = Child
    ) -> None:
        self._settings = settings
        self._studio = studio
        self._registry = Registry(settings.models_dir)
        self._rounds = Rounds(settings.rounds_dir, self._registry)
        self._importer = Importer(
            ImageIndex(settings.rounds_dir, settings.images_dir), studio, settings.rounds_dir
        )
        self._prelabeller = Prelabeller(
            studio,
            backend,
            self._registry,
            settings.rounds_dir,
            settings=settings,
            pool=Pool.connect(settings),
        )
        self._preflight = Preflight(settings, studio, self._registry)
        self._refused: dict[int, str | None] = {}
        self._surveyor = Surveyor(settings, studio)
        self._descriptions = Descriptions(studio, settings, self._registry, self._rounds)
        self._retention = Retention(settings, studio, self._registry, self._rounds)
        self._owners = Owners(self._registry, self._rounds)
        self._projects: list[Project] | None = None
        self._known: set[int] = set()
        self._stamps: dict[int, object] = {}
        self._champions: dict[int, str | None] = {}
        self._stopping = threading.Event()
        self._started = time.monotonic()
        self._adoption = Adoption(studio, settings)
        at_once = 1 if settings.cluster == "none" else ROUNDS_OF_A_CLUSTER
        self.runner = RoundRunner(self._rounds, spawn, lambda: self.look.poke(), at_once)
        self._starting_models = StartingModels(settings.rounds_dir, spawn)
        self._scorer = Scorer(self._registry, self._rounds, spawn, lambda: self._starting_models.busy)
        self._trials = TrialKeeper(studio, self._registry, self._rounds, spawn)
        self._at_once = AtOnce(studio, self._registry, settings.rounds_dir, spawn)
        self._cached_images = CachedImages(settings)
        self._bucket = BucketImport(studio, settings)
        self.look = Chore("projects", LOOK_S, self.look_around, longest_pause_s=FIRST_PAUSE_S)
        self.tend = Chore("rounds", TEND_S, self.runner.tend)
        self.importing = Chore("import", settings.import_every, self.import_images)
        self.predicting = Chore("pre-labels", PREDICT_EVERY_S, self.predict)
        self.retaining = Chore("retention", RETAIN_EVERY_S, self.retain)
        self.surveying = Chore("data", SURVEY_EVERY_S, self.survey)
        self.describing = Chore("descriptions", DESCRIBE_EVERY_S, self.describe)
        self.scoring = Chore("scores", SCORE_EVERY_S, self.score)
        self.trying = Chore("trials", TRY_EVERY_S, self.try_promotions)
        self.learning = Chore("learning at once", AT_ONCE_LOOK_S, self.learn_at_once)
        self.listing = Chore("bucket", settings.import_every, self.list_bucket)
        self.caching = Chore("image cache", CACHE_EVERY_S, self._cached_images.tend)
        self._chores = (
            self.look,
            self.tend,
            self.importing,
            self.predicting,
            self.retaining,
            self.surveying,
            self.describing,
            self.scoring,
            self.trying,
            self.learning,
            self.listing,
            self.caching,
        )

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Works until stop(). An open round stays open, and the next worker resumes it."""
        threads = [
            threading.Thread(target=self._repeat, args=(chore,), name=chore.name, daemon=True)
            for chore in self._chores
            if chore not in (self.look, self.tend)
        ]
        for thread in threads:
            thread.start()
        next_beat = 0.0
        while not self._stopping.is_set():
            self.look.run_if_due()
            self.tend.run_if_due()
            if time.monotonic() >= next_beat:
                self.beat()
                next_beat = time.monotonic() + heartbeat.BEAT_S
            self._stopping.wait(TEND_S)
        self.runner.stop()
        self._starting_models.stop()
        self._scorer.stop()
        self._trials.stop()
        self._at_once.stop()
        for thread in threads:
            thread.join(THREAD_PATIENCE_S)

    def _repeat(self, chore: Chore) -> None:
        while not self._stopping.is_set():
            chore.run_if_due()
            self._stopping.wait(min(chore.due_in(), 0.5) or 0.05)

    def beat(self) -> None:
        projects = self._projects
        champions = None if projects is None else {str(p.id): self._champions.get(p.id) for p in projects}
        errors = {c.name: c.error for c in self._chores if c.error}
        try:
            heartbeat.beat(self._settings.rounds_dir, champions, errors, self._project_errors())
        except OSError as error:  # e.g. a full disk; health checks see it by the heartbeat's age
            log.error("no sign of life could be given: %s", error)

    def _project_errors(self) -> dict[str, dict[str, str]]:
        """What concerns one project alone, by its id and the chore."""
        found: dict[str, dict[str, str]] = {}
        causes = [(chore.name, chore.project_errors) for chore in self._chores]
        for name, reasons in (*causes, (STARTING_MODELS, self._starting_models.problems())):
            for project_id, reason in reasons.items():
                found.setdefault(str(project_id), {})[name] = reason
        return found

    def look_around(self) -> float | None:
        """Finds projects, has starting models written, and requests the rounds that are due.

        Returns: the seconds until the next look, or None for the usual pause.
        """
        projects, others = sort_projects(self._studio)
        waiting = self._owners.settle([*projects, *others])
        settled = [project for project in projects if project.id not in waiting]
        self._projects = self._adoption.worked_on(settled)
        self._known = {project.id for project in (*projects, *others)}
        self.runner.keep_to({project.id for project in settled})
        self._starting_models.tend()
        lacking: set[int] = set()
        try:
            for_each(lambda project: self._look_after(project, lacking), self._projects)
        finally:
            self._starting_models.write_for(sorted(lacking))
        starting = not self._projects and time.monotonic() - self._started < STARTING_S
        return SOON_S if starting or self._starting_models.busy else None

    def _look_after(self, project: Project, lacking: set[int]) -> None:
        """Does what is due for one project. Without a champion, its id is added to `lacking`."""
        champion = self._in_service(project.id)
        if champion is None:
            lacking.add(project.id)
            return
        if not self._settings.instant:
            self._registry.project(project.id).instant.serve(None)
        self._adoption.offer(project)
        if project.retrains_itself:
            self._request_if_due(project, champion)

    def _in_service(self, project_id: int) -> str | None:
        """The champion. If its files or the pointer have changed and it cannot serve, it is mended first."""
        models = self._registry.project(project_id)
        stamp = models.stamp()
        if self._stamps.get(project_id) != stamp:
            self._champions[project_id] = models.mend()
            models.mend_instant()
            self._stamps[project_id] = stamp
            self.predicting.poke()
        return self._champions[project_id]

    def _request_if_due(self, project: Project, champion: str) -> None:
        project_id, every = project.id, self._settings.retrain_every
        if not every or self._rounds.open_round(project_id) is not None:
            return
        labelled = self._studio.count_tasks(project_id, LABELLED)
        last = next(iter(self._rounds.history(project_id, 1)), None)
        if last is not None and (last.labelled is None or labelled < last.labelled):
            last = self._rounds.record(last.id, labelled=labelled)
        before = last.labelled or 0 if last is not None else 0
        knows = project.label_map(self._registry.project(project_id).card(champion)).knows_any
        if labelled >= self._settings.next_round_at(before, knows):
            why_not = self._preflight.why_not(project, labelled)
            if _kind_of(why_not) != _kind_of(self._refused.get(project_id)):
                self._refused[project_id] = why_not
                if why_not is not None:
                    log.warning("project %d: a round is due, but cannot work: %s", project_id, why_not)
            if why_not is not None:
                return
            round_, _ = self._rounds.request(project_id, automatic(labelled, before))
            log.info(
                "project %d: %d new labels; round %d requested", project_id, labelled - before, round_.id
            )

    def import_images(self) -> float | None:
        """Imports new images, and decodes some files to find those that cannot be read.

        Returns: the seconds until the next run, or None for the usual pause.
        """
        if self._projects is None:
            return CHECK_PAUSE_S
        try:
            return self._import_images(self._projects)
        except sqlite3.DatabaseError:
            self._importer.index.mend()
            raise

    def _import_images(self, projects: list[Project]) -> float | None:
        index = self._importer.index
        try:
            if self._importer.run(
                [p.id for p in projects], check=lambda: index.check(CHECK_SLICE_S, self._stopping.is_set)
            ):
                self.predicting.poke()
        except Busy:  # `make import` is at it, and takes what is new
            return CHECK_PAUSE_S
        except Exception:
            tell(self._importer.failures)
            raise
        return CHECK_PAUSE_S if self._importer.waiting else None

    def list_bucket(self) -> float | None:
        """Makes tasks of new images in the bucket. A large one rests for as long as it took to go through."""
        projects = self._projects
        if projects is None:
            return CHECK_PAUSE_S
        began = time.monotonic()
        if self._bucket.run((project.id for project in projects), self._stopping.is_set):
            self.predicting.poke()
        return max(self._settings.import_every, time.monotonic() - began)

    def predict(self) -> float | None:
        """Makes the champions' missing predictions."""
        projects = self._projects
        if projects is None:
            return 1.0
        for_each(self._prelabel, projects)
        return None

    def survey(self) -> float | None:
        """Looks for labels that cannot be used, except in simulations and the demo."""
        projects = self._projects
        if projects is None:
            return 1.0
        for_each(self._surveyor.run, (project for project in projects if project.retrains_itself))
        forget_all_but(self._settings.rounds_dir, self._known)
        return None

    def describe(self) -> float | None:
        """Brings the projects' descriptions up to date."""
        projects = self._projects
        if projects is None:
            return 1.0
        for_each(self._descriptions.update, projects)
        return None

    def score(self) -> float | None:
        """Has models scored on today's hold-out while there is nothing else to do."""
        if self._projects is None or self._stopping.is_set():
            return None
        return self._scorer.tend(self._projects)

    def try_promotions(self) -> float | None:
        """Has promoted versions compared with the ones before them on what is labelled since."""
        if self._projects is None or self._stopping.is_set():
            return None
        return self._trials.tend(self._projects)

    def learn_at_once(self) -> float | None:
        """Has projects learn from what is submitted; simulations and the demo do it themselves, if at all."""
        if self._projects is None or self._stopping.is_set():
            return None
        if self._settings.instant:
            own = [project for project in self._projects if project.retrains_itself]
            if self._at_once.tend(own):
                self.predicting.poke()
        return None

    def _prelabel(self, project: Project) -> None:
        with suppress(Busy):  # `make predict` is at it
            self._prelabeller.run(project, self._stopping.is_set)

    def retain(self) -> float | None:
        """Removes old data, except that of simulations and the demo, which remove theirs themselves."""
        projects = self._projects
        if projects is None:
            return RETAIN_SOON_S
        own = (project for project in projects if project.retrains_itself)
        for_each(lambda project: self._retention.run(project, self._stopping.is_set), own)
        self._retention.prune_gone(self._known)
        twins.forget_all_but(self._settings.rounds_dir, self._known)
        return None


def _kind_of(reason: str | None) -> str | None:
    """A reason without its numbers, which change with each label."""
    return None if reason is None else re.sub(r"\d+", "…", reason)
