"""Gives another name to stored predictions that the champion would not make today."""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from logging import getLogger
from pathlib import Path
from typing import Any

from labelloop.files import write_text
from labelloop.instant import is_instant
from labelloop.labels import LabelConfig
from labelloop.registry import Registry
from labelloop.studio import Studio
from labelloop.task_filters import UNLABELLED, where, with_prediction_of
from trainer.dataset.origin import earlier_name
from trainer.peers.projects import Project

log = getLogger(__name__)

Row = dict[str, Any]

PAGE = 240
READ = "read"
UNREAD_SCORE = 1.0
"""Releases before this record had the word READ stored a prediction without boxes, with this score, for an
image that could not be read."""


def predicted_labels_path(rounds_dir: Path, project_id: int) -> Path:
    """By version, from which labels and weights the project's predictions were made."""
    return rounds_dir / f"predicted-labels-{project_id}.json"


class FormerPredictions:
    """Predictions with the champion's name that were made under former labels of the project, by another
    model, or for an image that nobody could read.

    A name is used twice if only a part of the data was restored. What the champion's predictions were made
    from is recorded by project (`predicted_labels_path`).
    """

    def __init__(self, studio: Studio, registry: Registry, rounds_dir: Path) -> None:
        self._studio = studio
        self._registry = registry
        self._rounds_dir = rounds_dir

    def changed(self, project: Project, version: str) -> bool:
        """Whether the labels, or the version itself, are others than those that its predictions were made
        from.
        """
        labels, weights = self._made_from(project, version)
        alike = (f"{labels} {weights} {READ}", f"{labels} {weights}", labels, None)
        return self._recorded(project).get(version) not in alike

    def rename(self, project: Project, version: str, should_stop: Callable[[], bool]) -> bool:
        """Renames them, so that they are made anew.

        They are not deleted, because a person may have one open, and Label Studio refuses an annotation whose
        parent prediction is gone. Retention deletes them later.

        Returns: False when it was told to stop before the end.
        """
        recorded = self._recorded(project)
        labels, weights = self._made_from(project, version)
        made_from = f"{labels} {weights} {READ}"
        known = recorded.get(version)
        if known == made_from:
            return True
        going: list[int] = []
        # Earlier releases recorded only the labels, or only labels and weights.
        if known in (labels, f"{labels} {weights}"):
            going += self._unread(project, version)
        if known is None or known == labels:
            created = self._registry.project(project.id).card(version).created_at
            going += self._made_before(project.id, version, created)
        elif known != f"{labels} {weights}":
            words = "project %d: its labels, or %s, have changed; predictions of it are made anew"
            log.info(words, project.id, version)
            going += self._made_before(project.id, version, datetime.now(UTC))
        for prediction_id in going:
            if should_stop():
                return False
            self._studio.rename_prediction(prediction_id, earlier_name(version))
        path = predicted_labels_path(self._rounds_dir, project.id)
        lasting = {name: of for name, of in recorded.items() if not is_instant(name)}
        write_text(path, json.dumps({**lasting, version: made_from}))
        return True

    def _recorded(self, project: Project) -> dict[str, str]:
        try:
            return dict(json.loads(predicted_labels_path(self._rounds_dir, project.id).read_bytes()))
        except (OSError, ValueError):
            return {}

    def _made_from(self, project: Project, version: str) -> tuple[str, str]:
        """The digests of the project's labels and of the version's weights."""
        card = self._registry.project(project.id).card(version)
        return _labels_digest(project.labels), card.weights_sha256[:16]

    def _made_before(self, project_id: int, version: str, before: datetime) -> Iterator[int]:
        """Ids of the predictions of `version` that were made before `before`."""
        tasks = self._studio.iter_tasks(
            project_id, with_prediction_of(version), fields="all", omit="annotations,drafts", page_size=PAGE
        )
        for prediction in _predictions_of(version, tasks):
            if datetime.fromisoformat(prediction["created_at"]) < before:
                yield int(prediction["id"])

    def _unread(self, project: Project, version: str) -> Iterator[int]:
        """Ids of the predictions of `version`, for unlabelled tasks, that an earlier release may have stored
        for an image that it could not read.
        """
        scored = where("predictions_score", "equal", UNREAD_SCORE)
        conditions = [UNLABELLED, with_prediction_of(version)]
        if project.model_version == version:  # Label Studio filters by the scores of that version alone
            conditions.append(scored)
        tasks = self._studio.iter_tasks(
            project.id, *conditions, fields="all", omit="annotations,drafts", page_size=PAGE
        )
        for prediction in _predictions_of(version, tasks):
            if not prediction.get("result") and prediction.get("score") == UNREAD_SCORE:
                yield int(prediction["id"])


def _labels_digest(labels: LabelConfig) -> str:
    """For labels without aliases, none of which may overlap, it is that of earlier releases."""
    aliased = [label.spellings for label in labels.labels if label.shown]
    overlapping = sorted(labels.marks.overlapping)
    return hashlib.sha256(f"{labels!r}{aliased or ''}{overlapping or ''}".encode()).hexdigest()[:16]


def _predictions_of(version: str, tasks: Iterator[Row]) -> Iterator[Row]:
    for task in tasks:
        for prediction in task.get("predictions") or []:
            if prediction.get("model_version") == version:
                yield prediction
