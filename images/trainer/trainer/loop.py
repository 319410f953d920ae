"""The loop's parts in one object, for the command line and the dashboard, which need all of them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.peers.pool import Pool
from trainer.peers.projects import NoProject, Project, choose, sort_projects
from trainer.rounds.table import Round, Rounds
from trainer.worker.adoption import require_worked_on
from trainer.worker.preflight import Preflight
from trainer.worker.prelabel import Prelabeller


@dataclass
class Loop:
    """Label Studio, the backend and what the trainer has on disk."""

    settings: TrainerSettings
    studio: Studio
    backend: Backend

    @classmethod
    def connect(cls, settings: TrainerSettings) -> Self:
        """The loop of the settings. Raises MissingSecret."""
        return cls(settings, Studio.connect(settings), Backend.connect(settings))

    @cached_property
    def rounds(self) -> Rounds:
        return Rounds(self.settings.rounds_dir, self.registry)

    @cached_property
    def registry(self) -> Registry:
        return Registry(self.settings.models_dir)

    @cached_property
    def preflight(self) -> Preflight:
        return Preflight(self.settings, self.studio, self.registry)

    def request_round(self, project: Project, requested_by: str) -> tuple[Round, bool]:
        """Opens a round, or joins the one that is open: (round, joined).

        Raises:
            CannotWork: it could not come to a result. StudioError: Label Studio does not answer.
        """
        return self.preflight.request(self.rounds, project, requested_by)

    def models(self, project_id: int) -> ProjectModels:
        return self.registry.project(project_id)

    def prelabeller(self) -> Prelabeller:
        rounds_dir, pool = self.settings.rounds_dir, Pool.connect(self.settings)
        return Prelabeller(
            self.studio, self.backend, self.registry, rounds_dir, settings=self.settings, pool=pool
        )

    def project(self, wanted: int | None) -> Project:
        """The project `wanted`, else PROJECT, else the only one.

        Raises:
            NoProject: there is none, or several to choose from, or boxes cannot be drawn in it.
        """
        number = wanted if wanted is not None else self.settings.project
        ours, others = sort_projects(self.studio)
        refused = next((project for project in others if project.id == number), None)
        if refused is not None:
            raise NoProject(f"project {refused.id} ({refused.title}) is left alone: {refused.refusal}")
        return choose(ours, number)

    def require_worked_on(self, project: Project) -> None:
        """Raises LeftAlone when the loop does not work on the project."""
        require_worked_on(project, self.settings)

    def shown(self, path: Path) -> Path:
        """A path as the operator sees it."""
        home = self.settings.labelloop_home
        return path.relative_to(home) if path.is_relative_to(home) else path
