"""Images of other servers, kept on this machine: each once, by the SHA-256 of its bytes.

They are in volumes/cache/images, which the trainer's processes and the ML backend share:

    <sha256><suffix>        an image's bytes
    had/3c/<key>.json       what was had from a URL; key: the URL's SHA-256, as a URL may hold a secret
    parts/<key>             what has come of a download that broke off
    locks/3c1               held while an image is asked for, so that nobody else asks for it meanwhile
    users/<name>            held by those whose images have to stay

Every file appears whole under its name or not at all, and bytes are compared with the file's name before they
are used. The kernel frees the locks of a process that is killed. So a kill at any moment does no harm.
"""

import hashlib
import json
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from labelloop import layout, locks
from labelloop.clocks import LEEWAY_S
from labelloop.download import Part, Stamp
from labelloop.files import sha256_file, write_bytes

GRACE_S = 300.0
"""What was used so recently stays, as somebody may be about to read it."""
CUT_TO = 0.9
"""A cache that is too large is cut to this share of what it may have, so that it is not cut all the time."""
OUT_OF_DATE_S = 7 * 86400.0
"""Parts of downloads, and what a killed process has left, are deleted after so long."""
_LOCK_LOOK_S, _LOCK_WAIT_S = 0.02, 5.0
_NAME = re.compile(r"[0-9a-f]{64}(\.[a-z]{1,5})?")
_FORMER_INDEX = "index.sqlite3"


@dataclass(frozen=True)
class Kept:
    """An image that was had from a URL.

    asked_at: the Unix time at which its server last said that these are the bytes.
    """

    file: Path
    stamp: Stamp
    asked_at: float


@dataclass(frozen=True)
class Usage:
    """How much the images take, in bytes, and how many they are. needed: the bytes of those that stay."""

    size: int
    images: int
    needed: int = 0


def key_of(url: str) -> str:
    """What the cache calls a URL."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


class ImageCache:
    """The cache in a folder, which is made when the first image comes. cache_dir: volumes/cache.

    All methods raise OSError where the disk is full, or may not be written.
    """

    def __init__(self, cache_dir: Path) -> None:
        self.folder = cache_dir / Path(layout.IMAGE_CACHE).name

    def find(self, key: str) -> Kept | None:
        """What was had from a URL; None where nothing was, or its bytes are gone or damaged."""
        record = self._record(key)
        try:
            content = json.loads(record.read_bytes())
            file = self.folder / content["file"]
            kept = Kept(file, Stamp(**content["stamp"]), float(content["asked_at"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            record.unlink(missing_ok=True)
            return None
        if not _NAME.fullmatch(file.name) or not self._is_whole(file):
            record.unlink(missing_ok=True)
            return None
        return kept

    def _is_whole(self, file: Path) -> bool:
        """Whether a file has the bytes of its name; one that has not is deleted. It counts as used."""
        try:
            used(file)  # before it is read, so that `cut` leaves it
            whole = sha256_file(file) == file.name[:64]
        except FileNotFoundError:
            return False
        if not whole:
            file.unlink(missing_ok=True)
        return whole

    def keep(self, content: bytes, suffix: str) -> Path:
        """The file with an image's bytes, which is written unless it is there. suffix: such as ".jpg"."""
        file = self.folder / (hashlib.sha256(content).hexdigest() + suffix)
        if not self._is_whole(file):
            write_bytes(file, content)
        return file

    def note(self, key: str, kept: Kept) -> None:
        """Notes what was had from a URL."""
        content = {"file": kept.file.name, "stamp": asdict(kept.stamp), "asked_at": kept.asked_at}
        _put(self._record(key), json.dumps(content).encode())

    @contextmanager
    def only_one(self, key: str, wait_s: float) -> Iterator[bool]:
        """Lets one at a time, of all processes, ask for an image; gives whether it is our turn."""
        path = self.folder / "locks" / key[:3]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            yield locks.take(file, wait_s, look_s=_LOCK_LOOK_S)

    def part(self, key: str) -> Part | None:
        """What has come of a download that broke off."""
        try:
            head, _, content = self._part(key).read_bytes().partition(b"\n")
            row = json.loads(head)
            whole = row.pop("sha256") == hashlib.sha256(content).hexdigest()
            return Part(content, Stamp(**row)) if whole else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def keep_part(self, key: str, part: Part | None) -> None:
        """Keeps what has come, in the place of what came before; None: nothing."""
        if part is None:
            self._part(key).unlink(missing_ok=True)
            return
        row = {**asdict(part.stamp), "sha256": hashlib.sha256(part.content).hexdigest()}
        _put(self._part(key), json.dumps(row).encode() + b"\n" + part.content)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Has all images that are used from now on stay until the end of the block."""
        path = self.folder / "users" / uuid4().hex
        with locks.holding(path, _LOCK_WAIT_S):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def usage(self, needed: Container[str] = frozenset()) -> Usage:
        """needed: names of files that have to stay."""
        sizes = [(name, size) for name, size, _ in self._files()]
        kept = sum(size for name, size in sizes if name in needed)
        return Usage(sum(size for _, size in sizes), len(sizes), kept)

    def cut(self, most: int, needed: Callable[[], Container[str]]) -> Usage:
        """Deletes the images that were used longest ago where all together have more than `most` bytes.

        What was used within GRACE_S, or since somebody that is `in_use` began, stays. needed: is asked for
        the names of files that stay in any case, if any is to go. Returns: what is left.
        """
        found = self._files()
        size = sum(size for _, size, _ in found)
        if size <= most:
            return Usage(size, len(found))
        since, stay, images = self._earliest_user(time.time() - GRACE_S), needed(), len(found)
        for name, its_size, used_at in sorted(found, key=lambda row: row[2]):
            if size <= most * CUT_TO or used_at >= since:
                break
            if name not in stay and self._delete_unused(self.folder / name, since):
                size, images = size - its_size, images - 1
        return Usage(size, images)

    def _earliest_user(self, moment: float) -> float:
        """When the first of those that are `in_use` began, or `moment` if that is earlier."""
        for path in self._listed("users"):
            with suppress(FileNotFoundError):
                began = _dated(path.stat().st_mtime)
                # One that has just been made may not be held yet.
                if locks.is_held(path) or began > time.time() - GRACE_S:
                    moment = min(moment, began)
                else:
                    path.unlink()
        return moment

    @staticmethod
    def _delete_unused(file: Path, since: float) -> bool:
        """Deletes a file unless it was used meanwhile."""
        try:
            if _dated(file.stat().st_atime) >= since:
                return False
            file.unlink()
        except FileNotFoundError:
            return False
        return True

    def sweep(self) -> None:
        """Deletes what is of no use any more: records of images that are gone, and what kills have left."""
        there = {name for name, _, _ in self._files()}
        long_ago = time.time() - OUT_OF_DATE_S
        for record in self.folder.glob("had/*/*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                if json.loads(record.read_bytes())["file"] not in there:
                    record.unlink()
        for pattern in ("parts/*", "parts/.*", "had/*/.*", ".*"):
            for path in self.folder.glob(pattern):
                with suppress(OSError):
                    if path.is_file() and _dated(path.stat().st_mtime) < long_ago:
                        path.unlink()

    def take_over_former_index(self) -> None:
        """Takes over what earlier releases noted, which was in a database; it is deleted then."""
        index = self.folder / _FORMER_INDEX
        if not index.is_file():
            return
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(index)) as connection:
            for key, file, _, place, etag, modified in connection.execute("SELECT * FROM had"):
                if re.fullmatch("[0-9a-f]{64}", key) and not self._record(key).exists():
                    # It is asked, with the stamp, before the image is used.
                    self.note(key, Kept(self.folder / file, Stamp(place, etag, modified), 0.0))
        for suffix in ("-wal", "-shm", ".lock", ""):
            index.with_name(index.name + suffix).unlink(missing_ok=True)

    def _files(self) -> list[tuple[str, int, float]]:
        """The images' names, sizes in bytes, and when they were used last."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if _NAME.fullmatch(entry.name):
                        stat = entry.stat()
                        found.append((entry.name, stat.st_size, _dated(stat.st_atime)))
        return found

    def _listed(self, name: str) -> list[Path]:
        folder = self.folder / name
        return list(folder.iterdir()) if folder.is_dir() else []

    def _record(self, key: str) -> Path:
        return self.folder / "had" / key[:2] / f"{key}.json"

    def _part(self, key: str) -> Path:
        return self.folder / "parts" / key


def names_in(files: Iterator[str]) -> Iterator[str]:
    """Of paths below labelloop_home, the names of those in the cache."""
    below = f"volumes/{layout.IMAGE_CACHE}/"
    return (file.removeprefix(below) for file in files if file.startswith(below))


def _dated(moment: float) -> float:
    """A file's time; 0.0 for one in the future, as if it were of long ago: otherwise the cache would grow
    until that time has come.
    """
    return moment if moment <= time.time() + LEEWAY_S else 0.0


def used(file: Path) -> None:
    """Notes that an image was used, in its time of access; file systems that keep none of their own take it.

    Raises:
        FileNotFoundError: it is gone.
    """
    modified = file.stat().st_mtime_ns
    with suppress(PermissionError):
        os.utime(file, ns=(time.time_ns(), modified))


def _put(path: Path, content: bytes) -> None:
    """Writes a file that may be lost when the power fails: what is in it can be had again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=".", dir=path.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
