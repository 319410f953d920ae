"""Checks whether the trainer can do its work."""

import shutil
from dataclasses import dataclass, field
from typing import Any

from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.rounds import heartbeat
from trainer.rounds.heartbeat import STARTING_MODELS

FULL_BYTES = 1 << 20


@dataclass(frozen=True)
class Health:
    """problems: in words, empty when all is well. projects: by id as a string, the champion or None."""

    problems: list[str]
    projects: dict[str, str | None] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {"status": "UP" if self.well else "DOWN", "problems": self.problems, "projects": self.projects}


def worker_problems(beat: heartbeat.Heartbeat | None) -> list[str]:
    """The worker's problems, according to its heartbeat."""
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
    rounds = [f"rounds cannot be tended: {beat.errors['rounds']}"] if "rounds" in beat.errors else []
    return rounds + _without_model(beat.projects, beat.errors)


def _without_model(projects: dict[str, str | None], errors: dict[str, str]) -> list[str]:
    """The projects without a starting model. While others are served, it is no problem that the models of new
    ones are being written, unless that fails or does not end.
    """
    if STARTING_MODELS in errors:
        return [errors[STARTING_MODELS]]
    why = errors.get("projects")
    if why is None and any(projects.values()):
        return []
    return [
        f"project {project} has no starting model yet: {why or 'it is being written'}"
        for project, champion in projects.items()
        if champion is None
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
    """Checks that the worker is alive, Label Studio reachable, and room on the disk, and that every project
    has a champion.
    """
    beat = heartbeat.read(settings.rounds_dir)
    problems = worker_problems(beat)
    if not Studio(settings.labelstudio_url, "").healthy():
        problems.append(f"Label Studio does not answer at {settings.labelstudio_url}/health")
    problems += full_disks(settings)
    return Health(problems, beat.projects if beat and beat.projects else {})
