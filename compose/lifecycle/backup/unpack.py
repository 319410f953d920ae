"""Reading an archive: everything is checked before anything of it is written anywhere."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import zlib
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import IO, Any, Union

from lifecycle import files
from lifecycle.backup import contents
from lifecycle.backup.archive import ENV, FORMAT, MANIFEST, SPARE_BYTES, Manifest
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.settings.known import POSTGRES, SQLITE

_ROOTS = (*contents.STATE, contents.IMAGES, contents.CONFIGS)
_CHUNK = 1 << 20
_DAMAGE = (OSError, EOFError, ValueError, tarfile.TarError, zlib.error)
_OTHER = "Take another archive; nothing is changed."


def verify(archive: Path) -> Manifest:
    """Reads the whole archive.

    Raises:
        Failure: it is damaged or cut off, was written by a newer appliance, holds what no backup holds
            (another place, a link, a device), or lacks a file of its manifest or has another one.
    """
    found: dict[str, dict[str, Any]] = {}
    manifest = None
    try:
        with gzip.open(archive) as plain, tarfile.open(fileobj=plain, mode="r:") as tar:
            for member in tar:
                if manifest is not None:
                    raise _refused(archive, f"{member.name} behind {MANIFEST}", "nothing behind it")
                _check_member(archive, member, found)
                file = tar.extractfile(member)
                assert file is not None, "a regular file has content"
                if member.name == MANIFEST:
                    manifest = _manifest(archive, file.read())
                else:
                    found[member.name] = {"size": member.size, "sha256": _sum(file)}
            # To its end, where gzip's own sum is.
            _sum(plain)
    except _DAMAGE as error:
        raise _refused(archive, f"damaged ({error})", "a whole archive") from error
    if manifest is None:
        raise _refused(archive, f"no {MANIFEST}", "a whole archive")
    _compare(archive, manifest, found)
    return manifest


def unpack(archive: Path, manifest: Manifest, folder: Path) -> None:
    """Writes the files of a verified archive below `folder`, which must not exist yet.

    Raises:
        Failure: the disk is too small, or the archive is not the one that was verified.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    needed = manifest.counts["bytes"] + SPARE_BYTES
    files.check_space(folder.parent, needed, "Free some; nothing is changed.")
    try:
        folder.mkdir(mode=0o700)
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                file = tar.extractfile(member)
                if member.name == MANIFEST or file is None:
                    continue
                if member.name not in manifest.files:
                    raise _refused(archive, "a change since it was checked", "the same archive")
                _write(folder / member.name, file, member)
    except _DAMAGE as error:
        raise Failure(f"unpacking {archive}", found=str(error), do="Nothing is changed.") from error


def check_version(home: Home, manifest: Manifest) -> None:
    """Whether this checkout's Label Studio takes the archive's database: newer ones are not migrated back.

    Raises:
        Failure: the archive is of a newer Label Studio.
    """
    theirs, ours = str(manifest.version.get("label_studio", "")), label_studio_version(home)
    if theirs and ours and _numbers(theirs) > _numbers(ours):
        raise Failure(
            "the archive's Label Studio",
            found=theirs,
            needed=f"{ours} or older",
            do=f"Check out the labelloop it was made with: {manifest.version.get('commit') or 'not known'}.",
        )


def check_engine(manifest: Manifest, engine: str) -> None:
    """Whether the archive's database is of the engine, sqlite or postgres, that this checkout is set to.

    Raises:
        Failure: it isn't, and how it comes there all the same.
    """
    if manifest.database == engine:
        return
    words = {SQLITE: "DATABASE=sqlite DATABASE_URL=", POSTGRES: "DATABASE=postgres"}
    move = ", and `make move-database`" if manifest.database == SQLITE else ""
    raise Failure(
        "the archive's database",
        found=manifest.database,
        needed=engine,
        do="Nothing is changed. Its labels go into a stack of their own kind: `make reset` (which backs up), "
        f"`make up {words[manifest.database]}`, `make restore FILE=…`{move}.",
    )


def label_studio_version(home: Home) -> str:
    """As this checkout locks it; empty when there is no such line."""
    lock = home.root / "images" / "labelstudio" / "requirements.lock"
    match = re.search(r"^label-studio==(\S+)", lock.read_text() if lock.is_file() else "", re.MULTILINE)
    return match[1] if match else ""


def _check_member(archive: Path, member: tarfile.TarInfo, found: dict[str, dict[str, Any]]) -> None:
    name = member.name
    path = PurePosixPath(name)
    proper = str(path) == name and not path.is_absolute() and ".." not in path.parts
    placed = name in (MANIFEST, ENV) or any(name.startswith(f"{root}/") for root in _ROOTS)
    if not proper or not placed or "\0" in name:
        raise _refused(archive, f"a member named {name!r}", f"names below {', '.join(_ROOTS)}")
    if not member.isreg():
        raise _refused(archive, f"{name}, which is no regular file", "regular files alone")
    if name in found:
        raise _refused(archive, f"{name} twice", "each file once")


def _manifest(archive: Path, data: bytes) -> Manifest:
    try:
        content = json.loads(data)
        version = content["format"]
        if not isinstance(version, int) or not 1 <= version <= FORMAT:
            newer = "A newer labelloop wrote it; check that one out."
            raise _refused(archive, f"format {version!r}", f"format {FORMAT} or older", newer)
        content.setdefault("database", SQLITE)
        return Manifest(**{name.name: content[name.name] for name in fields(Manifest)})
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(archive, f"a {MANIFEST} without {error}", "a whole archive") from error


def _compare(archive: Path, manifest: Manifest, found: dict[str, dict[str, Any]]) -> None:
    for name, facts in manifest.files.items():
        if name not in found:
            raise _refused(archive, f"no {name}", "every file of its manifest")
        if found[name] != facts:
            raise _refused(archive, f"another {name} than in its manifest", "the sum it was written with")
    if len(found) != len(manifest.files):
        stranger = min(found.keys() - manifest.files.keys())
        raise _refused(archive, stranger, "the files of its manifest alone")
    database = contents.DATABASE if manifest.database == SQLITE else contents.DUMP
    if database not in found:
        raise _refused(archive, f"no {database}", "Label Studio's database")


def _write(path: Path, file: IO[bytes], member: tarfile.TarInfo) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    with path.open("xb") as target:
        shutil.copyfileobj(file, target, _CHUNK)
        os.fchmod(target.fileno(), member.mode & 0o777)
    os.utime(path, (member.mtime, member.mtime))


def _sum(file: Union[IO[bytes], gzip.GzipFile]) -> str:
    digest = hashlib.sha256()
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _refused(archive: Path, found: str, needed: str, do: str = _OTHER) -> Failure:
    return Failure(f"{archive}", found=found, needed=needed, do=do)
