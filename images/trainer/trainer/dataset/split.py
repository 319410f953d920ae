"""The hold-out: the labelled images that are used only for scoring, never for training.

volumes/models/<project id>/split.json records the side of every image that was labelled in a snapshot, by the
SHA-256 of its bytes. Once recorded, a side never changes. .split.json is a copy, in case split.json is
damaged.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import ijson

from labelloop.errors import Explained
from labelloop.files import sha256_file, write_lines
from trainer.system.scratch import Scratch

SPLIT_FILE = "split.json"
_SCHEMA = """
CREATE TABLE sides (sha256 TEXT PRIMARY KEY, side TEXT) WITHOUT ROWID;
CREATE TABLE labelled (sha256 TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID;
CREATE TABLE verified (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE held (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE known (name TEXT PRIMARY KEY, side TEXT) WITHOUT ROWID;
"""
# The labelled images without a side, each with the name of its group.
_NEW = "SELECT sha256, name FROM labelled WHERE sha256 NOT IN (SELECT sha256 FROM sides)"

log = logging.getLogger(__name__)


class Side(StrEnum):
    TRAIN = "train"
    HOLDOUT = "holdout"


class SplitError(Explained):
    """Neither copy of split.json can be read.

    The file is not made anew, because images that were trained on could then end up in the hold-out.
    """


class Sides(Mapping[str, Side]):
    """Sides by the images' SHA-256, in ascending order of it. They are in a temporary database, not in
    memory.
    """

    def __init__(self) -> None:
        self._database = Scratch(_SCHEMA)

    def record(self, sha256: str, side: Side) -> None:
        self._database.run("INSERT OR REPLACE INTO sides VALUES (?, ?)", (sha256, side))

    def assign(
        self,
        labelled: Iterable[str],
        percent: int,
        group_of: Mapping[str, str] = MappingProxyType({}),
        verified: Iterable[str] = (),
    ) -> None:
        """Gives every labelled image a side. Images that have one keep it.

        group_of: the group of each image that has near-duplicates. A new image is on the side of its group,
        in training if that is on both. New groups and new images without one are taken in ascending order of
        their first hash. As many images go to the hold-out as bring it nearest to `percent` of all labelled
        ones (rounded down).

        verified: those of the labelled images whose boxes are a model's, found right on the page Verify. They
        are trained on, with their new groups, and do not count. Only one whose group is in the hold-out joins
        it there.
        """
        database = self._database
        database.run("DELETE FROM labelled")
        database.run("DELETE FROM held")
        database.run("DELETE FROM verified")
        rows = ((digest, group_of.get(digest, digest)) for digest in labelled)
        database.run_many("INSERT OR IGNORE INTO labelled VALUES (?, ?)", rows)
        database.run_many("INSERT OR IGNORE INTO verified VALUES (?)", ((digest,) for digest in verified))
        self._join(group_of)
        database.run(
            f"INSERT INTO sides SELECT sha256, ? FROM ({_NEW}) WHERE sha256 IN (SELECT sha256 FROM verified)",
            (Side.TRAIN,),
        )
        self._join(group_of)
        counted = (
            "FROM labelled LEFT JOIN sides USING (sha256) WHERE sha256 NOT IN (SELECT sha256 FROM verified)"
        )
        count = database.number(f"SELECT count(*) {counted}")
        held = database.number(f"SELECT count(*) {counted} AND side = ?", (Side.HOLDOUT,))
        wanted = count * percent // 100 - held
        groups = database.rows(f"SELECT name, count(*) FROM ({_NEW}) GROUP BY name ORDER BY min(sha256)")
        for name, size in groups:
            if wanted <= 0:
                break
            if size <= 2 * wanted:  # with the group, the hold-out comes nearer to what is wanted
                database.run("INSERT INTO held VALUES (?)", (name,))
                wanted -= size
        database.run(
            f"INSERT INTO sides SELECT sha256, iif(name IN (SELECT name FROM held), ?, ?) FROM ({_NEW})",
            (Side.HOLDOUT, Side.TRAIN),
        )

    def _join(self, group_of: Mapping[str, str]) -> None:
        """Puts new images on the side that their groups have."""
        known: dict[str, set[Side]] = {}
        for digest, name in group_of.items():
            side = self.get(digest)
            if side is not None:
                known.setdefault(name, set()).add(side)
        rows = (
            (name, Side.HOLDOUT if sides == {Side.HOLDOUT} else Side.TRAIN) for name, sides in known.items()
        )
        self._database.run("DELETE FROM known")
        self._database.run_many("INSERT INTO known VALUES (?, ?)", rows)
        self._database.run(f"INSERT INTO sides SELECT sha256, side FROM ({_NEW}) JOIN known USING (name)")

    def __getitem__(self, sha256: str) -> Side:
        row = self._database.row("SELECT side FROM sides WHERE sha256 = ?", (sha256,))
        if row is None:
            raise KeyError(sha256)
        return Side(row[0])

    def __iter__(self) -> Iterator[str]:
        return (row[0] for row in self._database.rows("SELECT sha256 FROM sides ORDER BY sha256"))

    def __len__(self) -> int:
        return self._database.number("SELECT count(*) FROM sides")


def load(path: Path) -> Sides:
    """The recorded sides; none when there is no file yet. If the file is damaged, its copy is read.

    Raises:
        SplitError: both are damaged.
    """
    try:
        return _read(path)
    except SplitError as error:
        try:
            recorded = _read(_copy(path))
        except SplitError:
            raise error from None
        if not recorded:
            raise
        log.error("%s; %s takes its place", error, _copy(path).name)
        return recorded


def settle(
    path: Path,
    labelled: Iterable[str],
    percent: int,
    group_of: Mapping[str, str] = MappingProxyType({}),
    verified: Iterable[str] = (),
) -> Sides:
    """All sides, including those of the `labelled` images. New sides are recorded before they are used.

    group_of, verified: as `Sides.assign` takes them.
    """
    sides = load(path)
    sides.assign(labelled, percent, group_of, verified)
    digest = hashlib.sha256()
    for line in _lines(sides):
        digest.update(line.encode())
    for file in (_copy(path), path):
        if not file.is_file() or sha256_file(file) != digest.hexdigest():
            write_lines(file, _lines(sides))
    return sides


def _copy(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def _read(path: Path) -> Sides:
    sides, found = Sides(), False
    try:
        with path.open("rb") as file:
            for where, event, value in ijson.parse(file):
                if where == "sides" and event == "start_map":
                    found = True
                elif where.startswith("sides."):
                    sides.record(where.removeprefix("sides."), Side(value))
    except FileNotFoundError:
        return sides
    except (ValueError, ijson.JSONError) as error:
        raise _damaged(path, str(error).partition("\n")[0]) from error
    if not found:
        raise _damaged(path, "no sides in it")
    return sides


def _damaged(path: Path, why: str) -> SplitError:
    return SplitError(f"{path} is damaged ({why}); restore it from a backup with `make restore`")


def _lines(sides: Sides) -> Iterator[str]:
    yield '{\n "sides": {'
    for position, (digest, side) in enumerate(sides.items()):
        yield ("," if position else "") + f"\n  {json.dumps(digest)}: {json.dumps(side)}"
    yield "\n }\n}\n"
