"""Deletes old data: that of rounds, versions, and predictions of superseded versions.

The newest KEEP_ROUNDS round folders and KEEP_VERSIONS versions of a project stay whole, and so do the
predictions of the newest KEEP_PREDICTIONS versions that have settled. The rounds of a deleted project lose
their data after a week, and so does its model if it was never trained (trainer.worker.abandoned); trained
ones stay (trainer.rounds.owners). A run can be killed at any time. The next one goes on, and nobody sees half
of a version.
"""

import json
import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ijson

from labelloop.files import write_text
from labelloop.registry import STARTING_VERSION, ProjectModels, Registry, RegistryError
from labelloop.studio import Studio, has_draft
from labelloop.task_filters import with_prediction_of
from trainer.dataset import coco
from trainer.dataset.collector import newest_submitted
from trainer.dataset.origin import is_earlier_name, started_from
from trainer.env import TrainerSettings
from trainer.judging import scores
from trainer.peers.projects import Project
from trainer.rounds.claims import moved_aside
from trainer.rounds.folder import CLAIM, EVALUATION, JOB, RETENTION, SEEN, SNAPSHOT
from trainer.rounds.owners import read as read_owner
from trainer.rounds.table import Round, Rounds
from trainer.training.job import Job, JobError
from trainer.words import plural
from trainer.worker import abandoned

log = logging.getLogger(__name__)

Row = Mapping[str, Any]

STAYS = (CLAIM, EVALUATION, JOB, RETENTION)
"""The files that stay in an old round's folder for the dashboard: scores, and what was trained from what."""
SETTLED_AFTER = timedelta(days=1)
"""After this time, a new version or a change of labels counts as settled, and supersedes earlier ones. Before
that, a person may have a task open that shows the older boxes. If that prediction were deleted, the
annotation would be compared with a later one."""
GONE_FOR = timedelta(days=7)
"""How long a deleted project's data stay, because a restored database may bring the project back."""
PAGE = 100
_LEAVING = ".removing-"


def removed(folder: Path) -> bool:
    """Whether retention has removed a round's data."""
    return (folder / RETENTION).is_file()


def snapshot_removed(round_id: int) -> str:
    return f"The snapshot of round {round_id} was removed by retention (KEEP_ROUNDS)."


def weights_removed(version: str) -> str:
    return f"The weights of {version} were removed by retention (KEEP_VERSIONS)."


class Retention:
    """Applies KEEP_ROUNDS, KEEP_VERSIONS and KEEP_PREDICTIONS to one project after the other."""

    def __init__(
        self,
        settings: TrainerSettings,
        studio: Studio,
        registry: Registry,
        rounds: Rounds,
        settled_after: timedelta = SETTLED_AFTER,
    ) -> None:
        self._settings = settings
        self._studio = studio
        self._registry = registry
        self._rounds = rounds
        self._settled_after = settled_after
        self._looked_through: dict[tuple[int, str], int] = {}

    def run(self, project: Project, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Removes what a project no longer needs.

        Raises:
            RegistryError: the pointer to the version in service is damaged; nothing was removed.
            StudioError: Label Studio does not answer or refuses. OSError: a file cannot be removed.
        """
        models = self._registry.project(project.id)
        champion = models.champion()
        if champion is None:
            return
        rounds = self.prune_rounds(project.id, models.card(champion).round)
        versions = self.prune_versions(project.id)
        predictions = self.prune_predictions(project, should_stop)
        if rounds or versions or predictions:
            log.info(
                "project %d: retention removed the data of %s, %s and %s",
                project.id,
                plural(rounds, "round"),
                plural(versions, "version"),
                plural(predictions, "prediction"),
            )

    def prune_rounds(self, project_id: int, made_champion: int | None) -> int:
        """Removes the data of old rounds, except of the round that made the champion. Returns: how many."""
        pruned, models = 0, self._registry.project(project_id)
        for round_ in self._rounds.older(project_id, self._settings.keep_rounds):
            folder = self._rounds.folder(round_.id)
            if round_.id != made_champion and any(_leaving(folder)):
                _empty(folder)
                scores.path_of(models, scores.key_of_candidate(round_.id)).unlink(missing_ok=True)
                pruned += 1
        return pruned

    def prune_gone(self, known: Collection[int]) -> int:
        """Removes the data of rounds whose project was deleted, or whose folder was moved aside, at least
        GONE_FOR ago, what versions saw on the labelled images of such projects, and models of these that were
        never trained.

        known: the ids of all projects in Label Studio. Returns: how many rounds lost their data.
        """
        long_ago = datetime.now(UTC) - GONE_FOR
        pruned = 0
        for folder in moved_aside(self._rounds):
            if folder.stat().st_mtime < long_ago.timestamp() and any(_leaving(folder)):
                _empty(folder)
                pruned += 1
        for project_id in sorted(self._rounds.projects() - set(known)):
            owner = read_owner(self._registry.project(project_id).path) if project_id > 0 else None
            if owner is not None and (owner.missing_since is None or owner.missing_since > long_ago):
                continue
            if owner is not None:
                shutil.rmtree(self._registry.project(project_id).path / SEEN, ignore_errors=True)
            for round_ in self._rounds.older(project_id, 0):
                folder = self._rounds.folder(round_.id)
                ended_at = datetime.fromisoformat(round_.finished_at or round_.requested_at)
                if ended_at < long_ago and any(_leaving(folder)):
                    _empty(folder)
                    pruned += 1
        freed = abandoned.free(self._registry, known, long_ago)
        if pruned or freed:
            log.info(
                "retention removed the data of %s, and %s, of projects that are gone",
                plural(pruned, "round"),
                plural(freed, "model that was never trained", "models that were never trained"),
            )
        return pruned

    def prune_versions(self, project_id: int) -> int:
        """Removes old versions, except for their cards. Returns: how many."""
        models = self._registry.project(project_id)
        models.clear_removed()
        old = models.versions()[: -self._settings.keep_versions]
        needed = self._needed(models, self._rounds.open_round(project_id))
        going = [version for version in old if version not in needed]
        return sum(self._removed(models, version) for version in going)

    @staticmethod
    def _removed(models: ProjectModels, version: str) -> bool:
        """Removes a version, unless somebody has put it into service meanwhile. Returns: whether it did."""
        try:
            models.remove(version)
        except RegistryError as error:
            if models.in_service() != version:
                raise
            log.info("%s", error)
            return False
        return True

    def _needed(self, models: ProjectModels, open_round: Round | None) -> set[str | None]:
        """The versions that stay, however old they are."""
        champion = models.champion()
        needed = {STARTING_VERSION, champion, models.card(champion).parent if champion else None}
        if open_round is not None:
            needed |= {open_round.parent, open_round.version}
            try:
                job = Job.load(self._rounds.folder(open_round.id))
                needed |= {job.parent, Path(job.start_weights).parent.name}
            except (OSError, JobError):  # the round has no job yet, or reports the fault itself
                pass
        return needed

    def prune_predictions(self, project: Project, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Deletes predictions of superseded versions and of former labels, except those from which an
        annotation started. Returns: how many.

        They are deleted one by one. Label Studio can delete a version's predictions at once, but that would
        include those from which annotations started. It would also lock the database, and keep all the boxes
        in memory, until it is over (11 s and 50 MB for 2,000).
        """
        project_id = project.id
        counts = self._studio.prediction_counts(project_id)
        deleted = 0
        shown = project.model_version
        earlier = [version for version in counts if is_earlier_name(version) and version != shown]
        superseded = [*self._superseded(project, counts), *self._superseded_instants(project, counts)]
        for version in [*earlier, *superseded]:
            if self._looked_through.get((project_id, version)) == counts[version]:
                continue
            left, too_new = counts[version], 0
            for prediction in self._unneeded(project_id, version):
                if should_stop():
                    return deleted
                if version in earlier and not self._renamed_long_ago(prediction):
                    too_new += 1
                    continue
                self._studio.delete_prediction(int(prediction["id"]))
                deleted, left = deleted + 1, left - 1
            if not too_new:
                self._looked_through[project_id, version] = left
        return deleted

    def _renamed_long_ago(self, prediction: Row) -> bool:
        renamed_at = datetime.fromisoformat(prediction["updated_at"])
        return renamed_at < datetime.now(UTC) - self._settled_after

    def _superseded(self, project: Project, counts: Mapping[str, int]) -> list[str]:
        """Versions with predictions that are older than the newest KEEP_PREDICTIONS settled ones."""
        models = self._registry.project(project.id)
        ours = [version for version in models.ever() if counts.get(version)]
        settled = [version for version in ours if self._has_settled(models, version)]
        if len(settled) < self._settings.keep_predictions:
            return []
        older = ours[: ours.index(settled[-self._settings.keep_predictions])]
        serving = {models.champion(), project.model_version}
        return [version for version in older if version not in serving]

    def _superseded_instants(self, project: Project, counts: Mapping[str, int]) -> list[str]:
        """Instant versions with predictions that have settled, and neither serve nor are shown."""
        models = self._registry.project(project.id)
        ours = [version for version in models.instant.ever() if counts.get(version)]
        serving = {models.serving(), project.model_version}
        return [version for version in ours if version not in serving and self._has_settled(models, version)]

    def _has_settled(self, models: ProjectModels, version: str) -> bool:
        try:
            return models.card(version).created_at < datetime.now(UTC) - self._settled_after
        except RegistryError:  # a damaged card has no date
            return False

    def _unneeded(self, project_id: int, version: str) -> Iterator[Row]:
        """Predictions of `version` from which no annotation started and no draft can have started."""
        tasks = self._studio.iter_tasks(project_id, with_prediction_of(version), fields="all", page_size=PAGE)
        for task in tasks:
            if has_draft(task):  # a draft does not name its prediction
                continue
            needed = _started_from(task)
            for prediction in task.get("predictions") or []:
                if prediction.get("model_version") == version and prediction["id"] not in needed:
                    yield prediction


def _started_from(task: Row) -> set[object]:
    """Ids of the predictions from which a task's annotations started, by the same rule as the Effort page."""
    annotations = task.get("annotations") or []
    needed = {annotation.get("parent_prediction") for annotation in annotations}
    newest = newest_submitted(annotations)
    origin = started_from(newest, task.get("predictions") or []) if newest is not None else None
    return needed | ({origin["id"]} if origin is not None else set())


def _leaving(folder: Path) -> Iterator[Path]:
    """The files to remove from an old round's folder."""
    if folder.is_dir():
        yield from (entry for entry in folder.iterdir() if entry.name not in STAYS)


def _empty(folder: Path) -> None:
    """Removes all files except STAYS. The note is written first, so that pages can say why they are gone."""
    if not removed(folder):
        note = {"removed_at": datetime.now(UTC).isoformat(timespec="seconds"), "dataset": _dataset(folder)}
        write_text(folder / RETENTION, json.dumps(note) + "\n")
    for entry in list(_leaving(folder)):
        if not entry.is_dir():
            entry.unlink(missing_ok=True)
            continue
        if not entry.name.startswith(_LEAVING):
            entry = entry.rename(folder / f"{_LEAVING}{entry.name}")
        shutil.rmtree(entry)


def _dataset(folder: Path) -> str | None:
    """The fingerprint of a round's snapshot; None when it has none that can be read."""
    try:
        return str(coco.read_value(folder / SNAPSHOT, "info")["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, ijson.JSONError):
        return None
