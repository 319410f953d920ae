"""What a backup holds of the checkout: which folders, which files in them, and what is left out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from labelloop import layout
from lifecycle.home import Home

LABELSTUDIO, MODELS, ROUNDS_FOLDER, IMAGES = (
    f"volumes/{name}" for name in (layout.LABELSTUDIO, layout.MODELS, layout.ROUNDS, layout.IMAGES)
)
CONFIGS = "configs"
DATABASE = f"{LABELSTUDIO}/{layout.DATABASE_FILE}"
DUMP = f"{LABELSTUDIO}/label_studio.pgdump"
"""Label Studio's database where it is on PostgreSQL, in pg_dump's own format; instead of DATABASE."""
DATABASE_NAME = f"{LABELSTUDIO}/{layout.DATABASE_NAME_FILE}"
PROVISIONED = f"{LABELSTUDIO}/{layout.PROVISIONED_FILE}"
ROUNDS = f"{ROUNDS_FOLDER}/{layout.ROUNDS_FILE}"
IMAGE_INDEX = f"{ROUNDS_FOLDER}/{layout.IMAGE_INDEX_FILE}"
SIMULATED = f"volumes/{layout.UPLOADS}/simulate"
"""Copies of COCO folders, which the next `make simulate` makes again."""
STATE = (LABELSTUDIO, MODELS, ROUNDS_FOLDER)
"""Folders that a restore replaces as a whole."""

_VERSION = re.compile(r"v\d{4,}")
_OF_A_ROUND = re.compile(rf"({ROUNDS_FOLDER}/\d+)/.*")
_PRUNED = "retention.json"
# Databases are copied by SQLite; locks and what the worker says of itself are of this run; before-…, the
# databases from before a migration, are backups themselves. A token of POST /detect that was revoked must not
# come back, and models that were taken along are made again.
_NOT_KEPT = re.compile(
    r".*\.sqlite3(-wal|-shm|-journal|\..*)?|.*\.lock|worker\.json|__pycache__|detect_tokens\.json"
    rf"|.*\.pgdump|{layout.DATABASE_NAME_FILE}"
    r"|model-\d+-v\d{4,}-[a-z0-9-]+"
)


@dataclass(frozen=True)
class Folder:
    """A folder of the checkout: its name in an archive, and where it is."""

    name: str
    path: Path

    def files(self) -> Iterator[tuple[str, Path]]:
        """Member name and path of each file, all the way down, in order, but for hidden (temporary) and
        simulated ones.
        """
        for top, folders, names in os.walk(self.path):
            kept = sorted(filter(_is_kept, folders))
            folders[:] = [name for name in kept if self._member(Path(top, name)) != SIMULATED]
            for name in sorted(filter(_is_kept, names)):
                yield self._member(Path(top, name)), Path(top, name)

    def _member(self, path: Path) -> str:
        return f"{self.name}/{path.relative_to(self.path).as_posix()}"


@dataclass(frozen=True)
class ModelProject:
    """volumes/models/<project id>."""

    folder: Folder

    def versions(self) -> list[Folder]:
        """Complete versions, oldest first."""
        entries = self.folder.path.iterdir() if self.folder.path.is_dir() else ()
        names = [entry.name for entry in entries if _VERSION.fullmatch(entry.name)]
        return [self._version(name) for name in sorted(names, key=lambda name: int(name[1:]))]

    def champion(self) -> Optional[Folder]:
        """The version that the pointer names now; None without a pointer, or with one that names none."""
        try:
            name = (self.folder.path / "champion").read_text(errors="replace").strip()
        except FileNotFoundError:
            return None
        return self._version(name) if _VERSION.fullmatch(name) else None

    def others(self) -> Iterator[tuple[str, Path]]:
        """Member name and path of what is beside the versions, but for the pointer: the split, the cards of
        versions that were removed, the scores on hold-outs, and what was learnt at once.
        """
        entries = sorted(self.folder.path.iterdir()) if self.folder.path.is_dir() else []
        for path in filter(lambda path: _is_kept(path.name), entries):
            if path.is_file() and path.name != "champion":
                yield f"{self.folder.name}/{path.name}", path
        for name in ("removed", "scores", "instant"):
            yield from Folder(f"{self.folder.name}/{name}", self.folder.path / name).files()

    def _version(self, name: str) -> Folder:
        return Folder(f"{self.folder.name}/{name}", self.folder.path / name)


@dataclass(frozen=True)
class ListedModels:
    """A project's versions at one moment; champion: the one that its pointer named."""

    project: ModelProject
    versions: tuple[Folder, ...]
    champion: Optional[Folder]


@dataclass(frozen=True)
class Listing:
    """What there was at one moment of the things that come and go.

    round_files: member names. models: each project's.
    """

    round_files: frozenset[str]
    models: tuple[ListedModels, ...]

    def holds(self, member: str) -> bool:
        """Whether the archive takes this member.

        Of a round's files it takes those that were there at that moment, and the note that the round's data
        was removed since. Any other file may be newer.
        """
        of_a_round = _OF_A_ROUND.fullmatch(member)
        if of_a_round is None or member in self.round_files:
            return True
        folder = f"{of_a_round[1]}/"
        return member == f"{folder}{_PRUNED}" and any(name.startswith(folder) for name in self.round_files)


def round_files(home: Home) -> frozenset[str]:
    """Member names of what is in the rounds' folders."""
    root = home.root / ROUNDS_FOLDER
    rounds = sorted(path for path in root.iterdir() if path.name.isdigit()) if root.is_dir() else []
    folders = (Folder(f"{ROUNDS_FOLDER}/{path.name}", path) for path in rounds)
    return frozenset(name for folder in folders for name, _ in folder.files())


def folders(home: Home, images: bool) -> list[Folder]:
    """What is copied file by file, after the databases, so that no upload of a task is missing."""
    names = (CONFIGS, LABELSTUDIO, ROUNDS_FOLDER, *((IMAGES,) if images else ()))
    return [Folder(name, home.root / name) for name in names]


def model_projects(home: Home) -> list[ModelProject]:
    root = home.root / MODELS
    entries = sorted(root.iterdir()) if root.is_dir() else []
    return [
        ModelProject(Folder(f"{MODELS}/{path.name}", path))
        for path in entries
        if path.is_dir() and path.name.isdigit()
    ]


def listed_models(home: Home) -> tuple[ListedModels, ...]:
    return tuple(
        ListedModels(project, tuple(project.versions()), project.champion())
        for project in model_projects(home)
    )


def size(home: Home, images: bool) -> int:
    """How many bytes an archive needs at most: uncompressed, and every database twice while it is copied."""
    models = Folder(MODELS, home.root / MODELS)
    total = sum(_size(path) for folder in (*folders(home, images), models) for _, path in folder.files())
    databases = (home.root / name for name in (DATABASE, ROUNDS, IMAGE_INDEX))
    return total + 2 * sum(_size(path) + _size(Path(f"{path}-wal")) for path in databases)


def running_version(home: Home) -> dict[str, Any]:
    """What `make up` noted of the version that it started; empty when it never did."""
    try:
        noted = json.loads(home.running_version.read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _is_kept(name: str) -> bool:
    return not name.startswith(".") and not _NOT_KEPT.fullmatch(name)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
