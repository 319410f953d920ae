"""The trainer's worker: one process that keeps the loop turning for every project.

Learning happens in child processes; importing and pre-labelling go on in threads while a round trains.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

from labelloop.registry import Registry
from labelloop.studio import LABELLED, Studio, StudioError
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.peers.projects import NO_PROJECT, label_map, may_be_adopted, retrains_itself, sort_projects
from trainer.rounds import heartbeat
from trainer.rounds.claims import claim
from trainer.rounds.owners import Owners
from trainer.rounds.table import Round, Rounds, State
from trainer.system.children import RETRY, STOPPED, Child, describe
from trainer.system.turns import in_turn
from trainer.worker.adoption import adopt
from trainer.worker.chores import Chore
from trainer.worker.importer import ImageIndex, Importer
from trainer.worker.prelabel import Prelabeller
from trainer.worker.retention import Retention

log = logging.getLogger(__name__)

Row = dict[str, Any]
Spawn = Callable[[list[str], Any], Child]

LOOK_S = 5.0
TEND_S = 0.5
PREDICT_EVERY_S = 10.0
RETAIN_EVERY_S = 3600.0
RETAIN_SOON_S = 30.0
CHECK_SLICE_S = 1.0
CHECK_PAUSE_S = 3.0
CANCEL_PATIENCE_S = 30.0
DEATHS_ALLOWED = 1
RETRY_PAUSES_S = (2.0, 5.0, 10.0, 30.0, 60.0)
THREAD_PATIENCE_S = 2.0


class Worker:
    """Looks after starting models, imports, pre-labels, due rounds and the one round that runs."""

    def __init__(
        self, settings: TrainerSettings, studio: Studio, backend: Backend, spawn: Spawn = Child
    ) -> None:
        self._settings = settings
        self._studio = studio
        self._spawn = spawn
        self._registry = Registry(settings.models_dir)
        self._rounds = Rounds(settings.rounds_dir, self._registry)
        self._importer = Importer(
            ImageIndex(settings.rounds_dir, settings.images_dir), studio, settings.rounds_dir
        )
        self._prelabeller = Prelabeller(studio, backend, self._registry, settings.rounds_dir)
        self._retention = Retention(settings, studio, self._registry, self._rounds)
        self._owners = Owners(self._registry, self._rounds)
        self._projects: list[Row] | None = None
        self._known: set[int] = set()
        self._stamps: dict[int, object] = {}
        self._champions: dict[int, str | None] = {}
        self._stopping = threading.Event()
        self._starting: tuple[int, Child] | None = None
        self._round: tuple[int, Child] | None = None
        self._cancelling_since: float | None = None
        self._not_before: dict[int, float] = {}
        self._retries: dict[int, int] = {}
        self._deaths: dict[int, int] = {}
        self._adopted: set[int] = set()
        self.look = Chore("projects", LOOK_S, self.look_around)
        self.tend = Chore("rounds", TEND_S, self.tend_rounds)
        self.importing = Chore("import", settings.import_every, self.import_images)
        self.predicting = Chore("pre-labels", PREDICT_EVERY_S, self.predict)
        self.retaining = Chore("retention", RETAIN_EVERY_S, self.retain)
        self._chores = (self.look, self.tend, self.importing, self.predicting, self.retaining)

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Works until stop(); an open round stays open, to be taken up by the next worker."""
        threads = [
            threading.Thread(target=self._repeat, args=(chore,), name=chore.name, daemon=True)
            for chore in (self.importing, self.predicting, self.retaining)
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
        for _, child in filter(None, (self._round, self._starting)):
            child.stop()
        for thread in threads:
            thread.join(THREAD_PATIENCE_S)

    def _repeat(self, chore: Chore) -> None:
        while not self._stopping.is_set():
            chore.run_if_due()
            self._stopping.wait(min(chore.due_in(), 0.5) or 0.05)

    def beat(self) -> None:
        projects = self._projects
        champions = (
            None if projects is None else {str(p["id"]): self._champions.get(p["id"]) for p in projects}
        )
        try:
            heartbeat.beat(
                self._settings.rounds_dir, champions, {c.name: c.error for c in self._chores if c.error}
            )
        except OSError as error:  # the disk is full, say: the heartbeat's age tells
            log.error("no sign of life could be given: %s", error)

    def look_around(self) -> None:
        """Learns of projects, has starting models written, and asks for the rounds that are due."""
        projects, others = sort_projects(self._studio)
        waiting = self._owners.settle([*projects, *others])
        self._projects = [project for project in projects if project["id"] not in waiting]
        self._known = {project["id"] for project in (*projects, *others)}
        self._cancel_orphans({project["id"] for project in projects})
        self._tend_starting()
        for project in self._projects:
            champion = self._in_service(project["id"])
            if champion is None:
                self._start(project["id"])
            else:
                self._adopt(project)
                if retrains_itself(project):
                    self._request_if_due(project, champion)

    def _in_service(self, project_id: int) -> str | None:
        """The champion, put right when it, or a file of it, has changed and cannot serve."""
        models = self._registry.project(project_id)
        stamp = models.stamp()
        if self._stamps.get(project_id) != stamp:
            self._champions[project_id] = models.mend()
            self._stamps[project_id] = stamp
            self.predicting.poke()
        return self._champions[project_id]

    def _cancel_orphans(self, project_ids: set[int]) -> None:
        """Cancels the rounds whose project is gone; its versions stay."""
        for round_ in self._rounds.open_rounds():
            if round_.project in project_ids or round_.cancel_requested:
                continue
            log.warning("round %d of project %d: %s", round_.id, round_.project, NO_PROJECT)
            if round_.state == State.REQUESTED:
                self._rounds.move(round_.id, State.CANCELLED, verdict=NO_PROJECT)
            else:
                self._rounds.cancel(round_.id)

    def _why_cancelled(self, round_: Round) -> str:
        known = self._projects is None or round_.project in {p["id"] for p in self._projects}
        return "cancelled" if known else NO_PROJECT

    def _adopt(self, project: Row) -> None:
        """Connects the backend, once: who removes the connection by hand is not overruled."""
        if project["id"] in self._adopted or not self._settings.adopt_projects or not may_be_adopted(project):
            return
        self._adopted.add(project["id"])
        try:
            adopt(self._studio, self._settings, project["id"])
        except StudioError as error:
            log.warning("project %d: the ML backend was not connected: %s", project["id"], error)

    def _start(self, project_id: int) -> None:
        if self._starting is None:
            log.info("project %d: writing the starting model", project_id)
            child = self._spawn(
                ["trainer.training.starting", str(project_id)], self._settings.rounds_dir / "starting.log"
            )
            self._starting = project_id, child

    def _tend_starting(self) -> None:
        if self._starting is None:
            return
        project_id, child = self._starting
        status = child.status()
        if status is None:
            return
        self._starting = None
        if status != 0:
            raise OSError(
                f"project {project_id}: the starting model could not be written: "
                f"{child.last_words() or describe(status)} (see {child.log_path})"
            )
        log.info("project %d: %s", project_id, child.last_words())

    def _request_if_due(self, project: Row, champion: str) -> None:
        project_id, every = project["id"], self._settings.retrain_every
        if not every or self._rounds.open_round(project_id) is not None:
            return
        labelled = self._studio.count_tasks(project_id, LABELLED)
        last = next(iter(self._rounds.history(project_id, 1)), None)
        if last is not None and (last.labelled is None or labelled < last.labelled):
            last = self._rounds.record(last.id, labelled=labelled)
        before = last.labelled or 0 if last is not None else 0
        knows = label_map(project, self._registry.project(project_id).card(champion)).knows_any
        if labelled >= self._settings.next_round_at(before, knows):
            round_, _ = self._rounds.request(project_id, f"RETRAIN_EVERY={every}")
            log.info(
                "project %d: %d new labels; round %d requested", project_id, labelled - before, round_.id
            )

    def tend_rounds(self) -> None:
        """Begins the oldest open round, looks after the one that runs; mends a damaged table."""
        try:
            self._tend_rounds()
        except sqlite3.DatabaseError:
            self._rounds.mend()
            raise

    def _tend_rounds(self) -> None:
        if self._round is None:
            now = time.monotonic()
            waiting = (r for r in self._rounds.open_rounds() if self._not_before.get(r.id, 0.0) <= now)
            chosen = next(waiting, None)
            if chosen is not None:
                self._begin(chosen)
            return
        round_id, child = self._round
        status = child.status()
        if status is None:
            self._enforce_cancel(round_id, child)
        else:
            self._round = self._cancelling_since = None
            self._ended(self._rounds.get(round_id), status, child)

    def _begin(self, chosen: Round) -> None:
        if chosen.cancel_requested:
            self._rounds.move(chosen.id, State.CANCELLED, verdict=self._why_cancelled(chosen))
            return
        log.info(
            "round %d of project %d: %s",
            chosen.id,
            chosen.project,
            "begins" if chosen.started_at is None else "goes on",
        )
        log_path = claim(self._rounds, chosen) / "log.txt"
        self._round = chosen.id, self._spawn(["trainer.worker.stages", str(chosen.id)], log_path)

    def _enforce_cancel(self, round_id: int, child: Child) -> None:
        if not self._rounds.cancel_requested(round_id):
            return
        self._cancelling_since = self._cancelling_since or time.monotonic()
        if time.monotonic() - self._cancelling_since > CANCEL_PATIENCE_S:
            child.stop()

    def _ended(self, round_: Round, status: int, child: Child) -> None:
        if round_.closed:
            log.info("round %d: %s", round_.id, round_.verdict or round_.error or round_.state)
            self.look.poke()
        elif round_.cancel_requested:
            self._rounds.move(round_.id, State.CANCELLED, verdict=self._why_cancelled(round_))
        elif status == RETRY:
            tries = self._retries[round_.id] = self._retries.get(round_.id, 0) + 1
            pause_s = RETRY_PAUSES_S[min(tries, len(RETRY_PAUSES_S)) - 1]
            self._not_before[round_.id] = time.monotonic() + pause_s
            log.warning("round %d: %s; again in %.0f s", round_.id, child.last_words(), pause_s)
        elif status != STOPPED:
            deaths = self._deaths[round_.id] = self._deaths.get(round_.id, 0) + 1
            if deaths <= DEATHS_ALLOWED:
                log.warning(
                    "round %d: its process ended with %s; taking it up again", round_.id, describe(status)
                )
                return
            reason = f"its process ended with {describe(status)} {deaths} times: {child.last_words()}"
            self._rounds.move(round_.id, State.FAILED, error=reason)
            log.error("round %d failed: %s", round_.id, reason)

    def import_images(self) -> float | None:
        """Imports what is new and decodes a few files to learn which nobody can read; seconds to the next."""
        if self._projects is None:
            return CHECK_PAUSE_S
        try:
            return self._import_images(self._projects)
        except sqlite3.DatabaseError:
            self._importer.index.mend()
            raise

    def _import_images(self, projects: list[Row]) -> float | None:
        try:
            if self._importer.run([p["id"] for p in projects]):
                self.predicting.poke()
        finally:
            left = self._importer.index.check(CHECK_SLICE_S, self._stopping.is_set)
        return CHECK_PAUSE_S if left or self._importer.waiting else None

    def predict(self) -> float | None:
        """Fills in the champions' missing predictions."""
        projects = self._projects
        if projects is None:
            return 1.0
        in_turn(lambda project: self._prelabeller.run(project, self._stopping.is_set), projects)
        return None

    def retain(self) -> float | None:
        """Removes what is old; a simulation and the demo, which remove theirs themselves, are left alone."""
        projects = self._projects
        if projects is None:
            return RETAIN_SOON_S
        own = filter(retrains_itself, projects)
        in_turn(lambda project: self._retention.run(project, self._stopping.is_set), own)
        self._retention.prune_gone(self._known)
        return None
