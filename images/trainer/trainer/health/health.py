"""Checks whether the trainer can do its work."""

import shutil
from dataclasses import dataclass, field
from typing import Any

from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.rounds import heartbeat
from trainer.rounds.heartbeat import STARTING_MODELS

FULL_BYTES = 1 << 20


@dataclass(frozen=True)
class Health:
    """problems: of the service, in words, empty when all is well. projects: by id as a string, the champion
    or None. project_problems: of single projects, by id as a string; the service is well in spite of them.
    """

    problems: list[str]
    projects: dict[str, str | None] = field(default_factory=dict)
    project_problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {
            "status": "UP" if self.well else "DOWN",
            "problems": self.problems,
            "projects": self.projects,
            "project_problems": self.project_problems,
        }


def worker_problems(beat: heartbeat.Heartbeat | None) -> list[str]:
    """The worker's problems, according to its heartbeat, whatever the project."""
    if beat is None:
        return ["the worker has not started yet"]
    if not beat.fresh:
        return [
            f"the worker gave its last sign of life {beat.age_s:.0f} s ago"
            if beat.age_s > 0
            else f"the worker's last sign of life is dated {-beat.age_s:.0f} s ahead of the clock"
        ]
    if beat.projects is None:
        return [
            "the worker has not seen Label Studio's projects yet: "
            + beat.errors.get("projects", "it is looking")
        ]
    return [f"rounds cannot be tended: {beat.errors['rounds']}"] if "rounds" in beat.errors else []


def project_problems(beat: heartbeat.Heartbeat | None, project_id: int) -> list[str]:
    """What keeps the worker from its work for one project alone."""
    if beat is None or not beat.fresh:
        return []
    errors = beat.project_errors.get(str(project_id), {})
    return [reason if chore == STARTING_MODELS else f"{chore}: {reason}" for chore, reason in errors.items()]


def _nothing_served(beat: heartbeat.Heartbeat | None, registry: Registry) -> list[str]:
    """Why no project has a model yet; empty when one has, or had."""
    projects = beat.projects if beat is not None else None
    if beat is None or projects is None or any(projects.values()):
        return []
    if not projects:
        models = (registry.project(project) for project in registry.projects())
        return (
            [] if any(one.versions() for one in models) else ["Label Studio has no project to work for yet"]
        )
    away = beat.errors.get("projects")
    return [
        f"project {project} has no starting model yet: "
        + (away or beat.project_errors.get(project, {}).get(STARTING_MODELS) or "it is being written")
        for project in projects
    ]


def full_disks(settings: Settings) -> list[str]:
    """The folders of state that can no longer be written to."""
    folders = (settings.rounds_dir, settings.models_dir, settings.cache_dir)
    return [
        f"the disk of {folder} is full: make room, and the rest heals by itself"
        for folder in folders
        if folder.is_dir() and shutil.disk_usage(folder).free < FULL_BYTES
    ]


def look(settings: Settings) -> Health:
    """Checks that the worker is alive, Label Studio reachable, and room on the disk, and that some project
    has a champion, or had one before there was none to work for.
    """
    beat = heartbeat.read(settings.rounds_dir)
    problems = worker_problems(beat) or _nothing_served(beat, Registry(settings.models_dir))
    if not Studio(settings.labelstudio_url, "").healthy():
        problems.append(f"Label Studio does not answer at {settings.labelstudio_url}/health")
    problems += full_disks(settings)
    if beat is None or not beat.projects:
        return Health(problems)
    alone = {project: project_problems(beat, int(project)) for project in beat.project_errors}
    return Health(problems, beat.projects, {project: told for project, told in alone.items() if told})
