"""Records which project owns the models below a project number.

Label Studio uses a number again after its database was restored or recreated. project.json in a project's
models records when Label Studio made the project. Models of another project with that number are moved aside,
to <number>.of-<when it was made>, and come back when that project does. This module never deletes models; it
lists those that a person may want to delete (`left_over`).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from labelloop.files import write_text
from labelloop.registry import ProjectModels, Registry
from trainer.peers.projects import Project
from trainer.rounds.table import Rounds, State

log = logging.getLogger(__name__)

OWNER = "project.json"
ASIDE = ".of-"
"""In the name of a folder of models that was moved aside."""
NUMBER_GIVEN_AGAIN = "cancelled: its project is gone, and Label Studio gave the number to another one"


class Owner(BaseModel):
    """The contents of project.json.

    created_at: when Label Studio made the project, None when that is no longer known. missing_since: when
    the worker first noticed that Label Studio no longer has the project.
    """

    title: str = ""
    created_at: datetime | None = None
    missing_since: datetime | None = None


@dataclass(frozen=True)
class LeftOver:
    """The models of a project that Label Studio does not have. path: below volumes/models. size: in bytes."""

    path: str
    owner: Owner
    size: int

    @property
    def told(self) -> str:
        named = f" of {self.owner.title!r}" if self.owner.title else ""
        gone = f", gone since {self.owner.missing_since:%Y-%m-%d}" if self.owner.missing_since else ""
        return f"volumes/models/{self.path}{named}, {self.size / 1e6:.1f} MB{gone}"


class Owners:
    """Keeps apart the models and rounds of projects that had the same number."""

    def __init__(self, registry: Registry, rounds: Rounds) -> None:
        self._registry = registry
        self._rounds = rounds

    def settle(self, projects: Sequence[Project]) -> set[int]:
        """Makes sure that each project's number leads only to models and rounds of that project.

        projects: all of Label Studio's. Returns: the ids that have to wait until a round of the project that
        had the number before has stopped.

        Raises:
            OSError: models cannot be moved aside.
        """
        waiting = {project.id for project in projects if not self._settle(project)}
        known, now = {project.id for project in projects}, datetime.now(UTC)
        for project_id in set(self._registry.projects()) - known:
            folder = self._registry.project(project_id).path
            owner = read(folder) or Owner()
            if owner.missing_since is None or owner.missing_since > now:  # the clock was ahead then
                _write(folder, owner.model_copy(update={"missing_since": now}))
        return waiting

    def _settle(self, project: Project) -> bool:
        project_id = project.id
        made_at = _second(project.created_at)
        folder = self._registry.project(project_id).path
        owner = read(folder)
        if owner is not None and owner.created_at not in (None, made_at):
            if not self._rounds_are_over(project_id):
                return False
            self._rounds.disown(project_id)
            aside = _aside(folder, owner.created_at)
            folder.rename(aside)
            log.warning(
                "project %d (%s) is not the one (%s) whose models %s held; these are %s now",
                project_id,
                project.title,
                owner.title,
                folder,
                aside,
            )
        aside = _aside(folder, made_at)
        if not folder.exists() and aside.is_dir():
            aside.rename(folder)
            log.warning("project %d (%s) is there again, and its models with it", project_id, project.title)
        wanted = Owner(title=project.title, created_at=made_at)
        if folder.is_dir() and read(folder) != wanted:
            _write(folder, wanted)
        return True

    def _rounds_are_over(self, project_id: int) -> bool:
        open_round = self._rounds.open_round(project_id)
        if open_round is None:
            return True
        if open_round.state == State.REQUESTED:
            self._rounds.move(open_round.id, State.CANCELLED, verdict=NUMBER_GIVEN_AGAIN)
            return True
        if not open_round.cancel_requested:
            self._rounds.cancel(open_round.id)
        return False


def read(folder: Path) -> Owner | None:
    """The owner of a folder's models; None when none is recorded."""
    try:
        return Owner.model_validate_json((folder / OWNER).read_bytes())
    except (OSError, ValidationError):
        return None


def left_over(registry: Registry, known: Iterable[int]) -> list[LeftOver]:
    """Models of projects that are not `known`, and those that were moved aside."""
    if not registry.root.is_dir():
        return []
    numbers = {str(project_id) for project_id in set(registry.projects()) - set(known)}
    folders = [path for path in registry.root.iterdir() if path.name in numbers or ASIDE in path.name]
    return [
        LeftOver(folder.name, read(folder) or Owner(), _size(folder))
        for folder in sorted(folders)
        if ProjectModels(folder).versions()
    ]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _second(moment: datetime) -> datetime:
    """The moment in whole seconds, as databases keep different fractions."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _aside(folder: Path, made_at: datetime | None) -> Path:
    return folder.with_name(f"{folder.name}{ASIDE}{made_at:%Y%m%d-%H%M%S}")


def _write(folder: Path, owner: Owner) -> None:
    write_text(folder / OWNER, owner.model_dump_json(indent=2) + "\n")
