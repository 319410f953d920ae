"""Projects that killed simulations have left. While a run lives it holds a lock under its project's number; a
project whose lock nobody holds goes with the next run. One that is kept has no lock.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from labelloop import locks
from labelloop.studio import Studio
from trainer.peers.projects import SIMULATED, Project, all_projects

_FILE = re.compile(r"simulated-project\.(\d+)\.lock")


def lock_path(rounds_dir: Path, project_id: int) -> Path:
    return rounds_dir / f"simulated-project.{project_id}.lock"


def held(rounds_dir: Path, project_id: int) -> AbstractContextManager[None]:
    """A run's lock. Its file stays until `forget`, so that a project that cannot be deleted is not lost."""
    return locks.holding(lock_path(rounds_dir, project_id))


def forget(rounds_dir: Path, project_id: int) -> None:
    """To be called once the project is deleted."""
    lock_path(rounds_dir, project_id).unlink(missing_ok=True)


def projects(studio: Studio, rounds_dir: Path) -> Iterator[Project]:
    """Those of killed runs, each locked until the next is asked for. Locks of projects that are gone, or that
    somebody has made her own by another description, are forgotten.

    Raises:
        StudioError: Label Studio does not answer.
    """
    found = sorted(int(match[1]) for file in rounds_dir.glob("*") if (match := _FILE.fullmatch(file.name)))
    known = {project.id: project for project in all_projects(studio)} if found else {}
    for number in found:
        with suppress(locks.Busy), held(rounds_dir, number):
            project = known.get(number)
            if project is not None and project.description == SIMULATED:
                yield project
            else:
                forget(rounds_dir, number)
