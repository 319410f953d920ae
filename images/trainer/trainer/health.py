"""Whether the trainer can do its work; `python -m trainer.health` is the container's health check."""

import shutil
import sys
from dataclasses import dataclass, field
from typing import Any

import requests

from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer import heartbeat
from trainer.env import get_settings

TIMEOUT_S = 4.0
LOOPBACK = "127.0.0.1"
ANY = ("0.0.0.0", "::")
FULL_BYTES = 1 << 20


@dataclass(frozen=True)
class Health:
    """problems: in words, empty when all is well. projects: ids as strings, to their champion or None."""

    problems: list[str]
    projects: dict[str, str | None] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {"status": "UP" if self.well else "DOWN", "problems": self.problems, "projects": self.projects}


def worker_problems(beat: heartbeat.Heartbeat | None) -> list[str]:
    """What is wrong with the worker, going by its heartbeat."""
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
    return rounds + [
        f"project {project} has no starting model yet: {beat.errors.get('projects', 'it is being written')}"
        for project, champion in beat.projects.items()
        if champion is None
    ]


def full_disks(settings: Settings) -> list[str]:
    """The folders of state that nothing can be written to any more."""
    folders = (settings.rounds_dir, settings.models_dir, settings.cache_dir)
    return [
        f"the disk of {folder} is full: make room, and the rest heals by itself"
        for folder in folders
        if folder.is_dir() and shutil.disk_usage(folder).free < FULL_BYTES
    ]


def look(settings: Settings) -> Health:
    """Worker alive, Label Studio reachable, a champion for every project, room on the disk."""
    beat = heartbeat.read(settings.rounds_dir)
    problems = worker_problems(beat)
    if not Studio(settings.labelstudio_url, "").healthy():
        problems.append(f"Label Studio does not answer at {settings.labelstudio_url}/health")
    problems += full_disks(settings)
    return Health(problems, beat.projects if beat and beat.projects else {})


def main() -> int:
    settings = get_settings()
    try:
        answer = _ask(settings.bind, "trainer")
        _ask(settings.dashboard_address, "dashboard")
        problems, projects = list(answer["problems"]), dict(answer["projects"])
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        print(error)
        return 1
    champions = ", ".join(f"{version} (project {project})" for project, version in projects.items())
    print("; ".join(problems) or f"in service: {champions or 'no project yet'}")
    return 1 if problems else 0


def _ask(address: tuple[str, int], name: str) -> dict[str, Any]:
    """The /health of a server of ours; raises requests.RequestException or ValueError."""
    host, port = address
    url = f"http://{LOOPBACK if host in ANY else host}:{port}/health"
    with requests.Session() as session:
        session.trust_env = False
        try:
            return dict(session.get(url, timeout=TIMEOUT_S).json())
        except (requests.RequestException, ValueError) as error:
            raise ValueError(f"GET {url}: the {name} does not answer: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
