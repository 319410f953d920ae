"""Frees the starting models of projects that were deleted long ago.

A starting model is written again for any project that has none, so nothing is lost if the project comes back
with a restored database. What was trained stays, as no one can make it again: a person deletes it. The sides
of images (split.json) and the owner's name (project.json) stay too, and are small.
"""

import os
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

from labelloop.locks import FOREVER, take
from labelloop.registry import STARTING_VERSION, ProjectModels, Registry
from trainer.rounds.owners import ASIDE, read


def free(registry: Registry, known: Collection[int], long_ago: datetime) -> int:
    """Removes the starting models of projects that are gone since before `long_ago` and have no other.

    known: the ids of all projects in Label Studio. Returns: how many.
    """
    return sum(_freed(ProjectModels(folder)) for folder in _gone(registry, known, long_ago))


def _gone(registry: Registry, known: Collection[int], long_ago: datetime) -> Iterator[Path]:
    """The folders of projects that are gone, and those that were moved aside."""
    for project_id in sorted(set(registry.projects()) - set(known)):
        folder = registry.project(project_id).path
        owner = read(folder)
        if owner is not None and owner.missing_since is not None and owner.missing_since < long_ago:
            yield folder
    for folder in sorted(registry.root.glob(f"*{ASIDE}*")) if registry.root.is_dir() else ():
        # A rename changes the ctime alone.
        if folder.is_dir() and folder.stat().st_ctime < long_ago.timestamp():
            yield folder


def _freed(models: ProjectModels) -> bool:
    models.clear_removed()
    if models.ever() != [STARTING_VERSION]:
        return False
    descriptor = os.open(models.path, os.O_RDONLY)
    try:
        take(descriptor, FOREVER)
        for pointer in ("champion", ".champion"):
            (models.path / pointer).unlink(missing_ok=True)
        models.folder(STARTING_VERSION).rename(models.path / f".removing-{STARTING_VERSION}")
    finally:
        os.close(descriptor)
    models.clear_removed()
    return True
