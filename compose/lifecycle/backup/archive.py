"""The archive of a backup: its names, its manifest, and writing one while people label.

    labelloop-20260314T092653Z.tar.gz              a backup somebody asked for
    labelloop-scheduled-20260314T092653Z.tar.gz    one of the schedule's; only these are ever thinned out

Members are regular files named as in the checkout (volumes/…, configs/…, .env) and, last, manifest.json: an
archive that has one was written to its end. Standard library only: the containers and the host's own Python
run this file.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Optional

from lifecycle import exclusion, files
from lifecycle.backup import contents, snapshots
from lifecycle.console import Failure
from lifecycle.database.client import Database
from lifecycle.home import Home
from lifecycle.settings.known import POSTGRES, SQLITE

FORMAT = 2
"""1: the database is SQLite's file. 2, which earlier releases refuse: it is PostgreSQL's dump."""
MANIFEST = "manifest.json"
ENV = ".env"
SPARE_BYTES = 1_000_000_000
"""Left free for the labelling that goes on."""
CLOCK_LEEWAY_SECONDS = 60.0
"""What is dated later than this is from the future."""
_TIME = "%Y%m%dT%H%M%SZ"
_NAME = f"labelloop-{{kind}}{_TIME}.tar.gz"
_STAMP = re.compile(r"\d{8}T\d{6}Z")
_NAMED = 3
_SCHEDULED = re.compile(r"labelloop-scheduled-\d{8}T\d{6}Z\.tar\.gz")
_WRITING = ".writing-"
_FREE_SOME = "Free some; archives and replaced-… folders in there can be moved elsewhere."
_IN_MEMORY = 8_000_000
_LEVEL = 1

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Manifest:
    """What an archive holds.

    version: of the appliance that ran, as `make up` noted it. counts: annotations, tasks, predictions,
    models, rounds, files, bytes. projects: id, title, tasks, annotations. files: member → size in bytes and
    sha256. database: sqlite or postgres, whose copy is in it.
    """

    format: int
    created_at: str
    scheduled: bool
    images: bool
    secrets: bool
    version: dict[str, Any]
    projects: list[dict[str, Any]]
    counts: dict[str, int]
    files: dict[str, dict[str, Any]] = field(repr=False)
    database: str = SQLITE


def newest_archive(home: Home, now: Optional[float] = None) -> Optional[Path]:
    """The newest archive, the schedule's or one that somebody asked for. One from the future counts only if
    there is no other.

    now: Unix time, by default the clock's.
    """
    ahead = set(archives_ahead(home, now))
    return max(_archives(home), key=lambda path: (path not in ahead, dated(path), path.name), default=None)


def archives_ahead(home: Home, now: Optional[float] = None) -> list[Path]:
    """Archives from the future, by name: the clock was ahead when they were written, or is behind now.

    They say nothing of how old the newest backup is, and they are no reason to delete another one.
    """
    limit = (time.time() if now is None else now) + CLOCK_LEEWAY_SECONDS
    return sorted(path for path in _archives(home) if dated(path) > limit)


def ahead_in_words(archives: Sequence[Path]) -> str:
    """A sentence that names archives from the future."""
    names = ", ".join(path.name for path in archives[:_NAMED]) + (", …" if len(archives) > _NAMED else "")
    return f"dated in the future, so not counted, nor deleted by the schedule: {names}"


def scheduled_archives(home: Home, now: Optional[float] = None) -> list[Path]:
    """The schedule's archives, oldest first, but for those from the future."""
    ahead = set(archives_ahead(home, now))
    return sorted(path for path in _archives(home) if _SCHEDULED.fullmatch(path.name) and path not in ahead)


def thin_out(home: Home, keep: int, now: Optional[float] = None) -> list[str]:
    """Deletes the schedule's own oldest archives, but for `keep` (at least 1). Returns: their names.

    Those from the future neither go nor count.
    """
    surplus = scheduled_archives(home, now)[: -max(keep, 1)]
    for path in surplus:
        path.unlink()
    return [path.name for path in surplus]


def dated(archive: Path) -> float:
    """Unix time at which it was begun, by its name; of one with another name, of its last change."""
    stamp = _STAMP.search(archive.name)
    try:
        return float(calendar.timegm(time.strptime(stamp[0], _TIME))) if stamp else archive.stat().st_mtime
    except ValueError:  # digits that are no time
        return archive.stat().st_mtime


def _archives(home: Home) -> list[Path]:
    return list(home.backups.glob("labelloop-*.tar.gz"))


def write(
    home: Home,
    *,
    images: bool = False,
    env: Optional[bytes] = None,
    scheduled: bool = False,
    report: Report = lambda done, total: None,
) -> tuple[Path, Manifest]:
    """Writes one archive, mode 600, into volumes/backups; it has its name only once it is whole.

    images: volumes/images too. env: what .env holds, to be kept with it. report: is called with bytes done
    and to do.

    Raises:
        Failure: there is nothing to keep, another backup is being written, a database is damaged, a file
            changed under our hands, or the disk is too small.
    """
    database = Database.of(home, os.environ)
    with alone(home, "a scheduled backup" if scheduled else "a backup"):
        for leftover in home.backups.glob(f"{_WRITING}*"):
            shutil.rmtree(leftover)
        needed = home.database if database is None else home.database_name
        if not needed.is_file():
            raise Failure("the backup", found=f"no {needed}", needed="a database", do="`make up` makes one.")
        total = contents.size(home, images) + (database.size() * 2 if database else 0)
        files.check_space(home.backups, total + SPARE_BYTES, _FREE_SOME)
        work = Path(tempfile.mkdtemp(prefix=_WRITING, dir=home.backups))
        try:
            return _write(home, work, images, env, scheduled, lambda done: report(done, total), database)
        except OSError as error:
            raise Failure("the backup", found=str(error), needed="files to read and room for them") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _write(
    home: Home,
    work: Path,
    images: bool,
    env: Optional[bytes],
    scheduled: bool,
    report: Callable[[int], None],
    database: Optional[Database],
) -> tuple[Path, Manifest]:
    now = time.gmtime()
    moment = snapshots.take(home, work, database)
    temporary = work / "archive"
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        with tarfile.open(
            fileobj=file, mode="w:gz", compresslevel=_LEVEL, format=tarfile.PAX_FORMAT
        ) as archive:
            writer = _Writer(archive, report)
            counts = _add(writer, home, moment, images, env)
            facts = moment.facts
            manifest = Manifest(
                format=1 if database is None else FORMAT,
                database=SQLITE if database is None else POSTGRES,
                created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
                scheduled=scheduled,
                images=images,
                secrets=env is not None,
                version=contents.running_version(home),
                projects=facts.projects,
                counts={**facts.counts, **counts},
                files=writer.files,
            )
            writer.add_bytes(MANIFEST, json.dumps(asdict(manifest), indent=1).encode(), 0o600)
        file.flush()
        os.fsync(file.fileno())
    final = home.backups / time.strftime(_NAME.format(kind="scheduled-" if scheduled else ""), now)
    if final.exists():
        raise Failure(f"{final}", found="a backup of this very second", do="Try again.")
    temporary.rename(final)
    _fsync(home.backups)
    return final, manifest


def _add(
    writer: _Writer, home: Home, moment: snapshots.Moment, images: bool, env: Optional[bytes]
) -> dict[str, int]:
    """Adds all there is but the manifest, the databases first. Returns: counts of models, files, bytes.

    The versions in service come next: they alone must not be removed meanwhile. What a round or a project got
    after the moment is left out.
    """
    for name, path in moment.copies.items():
        writer.add(name, path)
    if env is not None:
        writer.add_bytes(ENV, env, 0o600)
    champions = _add_champions(writer, moment.listing)
    copied = len(champions)
    for folder in contents.folders(home, images):
        for name, path in folder.files():
            if moment.listing.holds(name) and name not in moment.copies:
                writer.add(name, path)
    for models in moment.listing.models:
        others = (version for version in models.versions if version.name not in champions)
        copied += sum(writer.add_whole(version) for version in others)
        for name, path in models.project.others():
            writer.add(name, path)
    return {"models": copied, "files": len(writer.files), "bytes": writer.done}


def _add_champions(writer: _Writer, listing: contents.Listing) -> set[str]:
    """Every project's version in service, and the pointer to it. Returns: the names of their folders.

    Raises:
        Failure: one was removed since the moment.
    """
    copied = set()
    for models in listing.models:
        champion = models.champion
        if champion is None:
            continue
        if writer.add_whole(champion):
            copied.add(champion.name)
        elif champion in models.versions:
            raise Failure(
                f"{champion.path}",
                found="removed while it was copied",
                needed="the version in service",
                do="Try again.",
            )
        pointer = f"{models.project.folder.name}/champion"
        writer.add_bytes(pointer, f"{champion.path.name}\n".encode(), 0o644)
    return copied


class _Writer:
    """Adds files to the archive and notes their sums. `done`: bytes so far."""

    def __init__(self, archive: tarfile.TarFile, report: Callable[[int], None]) -> None:
        self._archive = archive
        self._report = report
        self.files: dict[str, dict[str, Any]] = {}
        self.done = 0

    def add(self, name: str, path: Path) -> bool:
        """Adds one file; False when it has vanished, or was never one to copy (a socket, a pipe)."""
        try:
            if not path.is_file():
                return False
            with path.open("rb") as file:
                self._add(name, file)
        except FileNotFoundError:
            return False
        return True

    def add_whole(self, folder: contents.Folder) -> bool:
        """Adds a folder that never changes but may be deleted: all of it or, when that has begun, nothing."""
        with ExitStack() as stack:
            try:
                names = list(folder.files())
                opened = [(name, stack.enter_context(path.open("rb"))) for name, path in names]
            except FileNotFoundError:
                return False
            if list(folder.files()) != names or not names:
                return False
            for name, file in opened:
                self._add(name, file)
        return True

    def add_bytes(self, name: str, data: bytes, mode: int) -> None:
        info = tarfile.TarInfo(name)
        info.mode, info.mtime = mode, int(time.time())
        self._put(info, io.BytesIO(data), len(data))

    def _add(self, name: str, file: IO[bytes]) -> None:
        """Adds as many bytes as the file has now. What is appended meanwhile, as to a log, is left out."""
        status = os.fstat(file.fileno())
        info = tarfile.TarInfo(name)
        info.mode, info.mtime = status.st_mode & 0o777, status.st_mtime
        if status.st_size <= _IN_MEMORY:
            data = file.read(status.st_size)
            self._put(info, io.BytesIO(data), len(data))
        else:
            self._put(info, file, status.st_size)

    def _put(self, info: tarfile.TarInfo, file: IO[bytes], size: int) -> None:
        info.size = size
        hashing = _Hashing(file)
        self._archive.addfile(info, hashing)
        self.files[info.name] = {"size": size, "sha256": hashing.digest.hexdigest()}
        self.done += size
        self._report(self.done)


class _Hashing(io.RawIOBase):
    """Sums what is read through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


@contextmanager
def alone(home: Home, what: str) -> Iterator[None]:
    """Holds volumes/backups: no backup while another one is written, or while a restore moves the state.

    Raises:
        Failure: another one is at work there.
    """
    with exclusion.alone(
        home.backups / ".lock", what, refused=f"{home.backups}", do="Try again when it is done."
    ):
        yield


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
