"""Tells those who label how far a project is: its description in Label Studio begins with it.

Label Studio shows the description where projects are chosen; our script in its labelling page shows the
figures beside the image.
"""

from labelloop.instructions import UNDER_WAY, is_ours, with_progress
from labelloop.registry import Registry
from labelloop.studio import Studio
from trainer.dataset.survey import Survey
from trainer.env import TrainerSettings
from trainer.peers.projects import Project
from trainer.rounds.due import labels_to_go
from trainer.rounds.table import Rounds
from trainer.worker.preflight import held_out


class Descriptions:
    """Writes descriptions that are ours, when the figures have changed. A person's own stay as they are."""

    def __init__(self, studio: Studio, settings: TrainerSettings, registry: Registry, rounds: Rounds) -> None:
        self._studio = studio
        self._settings = settings
        self._registry = registry
        self._rounds = rounds

    def update(self, project: Project) -> None:
        """Raises StudioError: Label Studio does not answer or refuses."""
        if not is_ours(project.description):
            return
        tasks, labelled = self._studio.counts(project.id)
        told = with_progress(project.description, labelled, tasks, self._coming(project, labelled))
        # The project was read some time ago; somebody may have written meanwhile.
        if told != project.description and self._now(project) == project.description:
            self._studio.update_project(project.id, description=told)

    def _coming(self, project: Project, labelled: int) -> int | str | None:
        if self._rounds.open_round(project.id) is not None:
            return UNDER_WAY
        models = self._registry.project(project.id)
        version = models.champion()
        mapped = project.label_map(models.card(version)) if version else None
        survey = Survey.load(self._settings.rounds_dir, project.id)
        there = held_out(self._settings, models, survey)
        history = self._rounds.history(project.id, 1)
        return labels_to_go(labelled, there, history, mapped, self._settings)

    def _now(self, project: Project) -> str:
        row = self._studio.request("GET", f"/api/projects/{project.id}", params={"include": "description"})
        return str(row.get("description") or "")
