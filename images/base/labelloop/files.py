"""Writes files so that a reader never sees half of one, even after a kill -9."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

READABLE_FILE = 0o644

Stamp = tuple[int, int] | None


def fsync_dir(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`. On a clean exit the file is fsynced and atomically renamed to it.

    Raises:
        OSError: the file cannot be written, e.g. because the disk is full; the message names `path`. The
            present file stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(READABLE_FILE)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        fsync_dir(path.parent)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes the text atomically and durably."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes the lines as they come, atomically and durably. Each has its own line end."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(lines)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes the bytes atomically and durably."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def new_folder(target: Path, prefix: str) -> Iterator[Path]:
    """A folder to fill, which then becomes `target`: all of it, or none of it. Its files are to be durable.

    prefix: of its temporary name beside `target`, under which a kill leaves it.
    """
    temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        fsync_dir(temporary)
        temporary.rename(target)
    except OSError:
        # Half of it must not stay behind and keep a full disk full.
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_dir(target.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Makes `target` a hard link to `source`, or a copy where links are impossible; durably."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    with target.open("rb") as written:
        os.fsync(written.fileno())


def stamp_of(path: Path) -> Stamp:
    """A value that changes when the file is replaced; None without a file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
