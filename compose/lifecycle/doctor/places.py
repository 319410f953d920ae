"""Whether volumes/ lies where state can be kept: what its file system is, and what it can do."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from labelloop import locks
from labelloop.findings import Finding, ok, problem, warning
from lifecycle.console import Failure, line, note
from lifecycle.home import Home
from lifecycle.runtime.volumes import STATE

NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|ceph|lustre|gpfs|beegfs|ocfs2|gfs2?|9p|davfs"
    r"|fuse\.(sshfs|s3fs|rclone|glusterfs|ceph|davfs2?|goofys|gcsfuse|blobfuse2?|gvfsd-fuse|mount-s3|juicefs)"
)
"""File systems whose files another machine keeps."""
_INSTEAD = (
    "Keep the checkout on a disk of this host. Only volumes/images may lie elsewhere: mount the share there "
    "(docs/how-to/your-network.md)."
)
_RISK = "a connection that breaks can damage the databases of labels and rounds"
_PROBE = ".probe-"


class Mount(NamedTuple):
    """Where a folder lies: the kind of file system, and the place where it is mounted."""

    kind: str
    at: str

    @property
    def is_network(self) -> bool:
        return NETWORK.fullmatch(self.kind) is not None


def check_volumes(home: Home) -> None:
    """Checks the folders of state before anything is kept in them.

    Raises:
        Failure: a file system lacks what state needs, or a new stack would keep it on another machine. A
            stack that has labels there already is only told.
    """
    for folder, mount, faults in _examined(home):
        if faults or (mount.is_network and not home.database.exists()):
            raise Failure(
                f"the file system of {folder}",
                found=_found(mount, faults),
                needed="a disk of this host with POSIX's permissions and locks",
                do=_INSTEAD,
            )
        line("volumes", f"{mount.kind} at {mount.at}")
        if mount.is_network:
            note(f"{folder} is on {mount.kind}: {_RISK}. {_INSTEAD}")


def findings(home: Home) -> Iterator[Finding]:
    """The same for `make doctor`."""
    for folder, mount, faults in _examined(home):
        if faults:
            found = f"{folder}: {_found(mount, faults)}"
            yield problem("file system", found, _INSTEAD, "make backup")
        elif mount.is_network:
            yield warning("file system", f"{folder} is on {mount.kind}: {_RISK}", _INSTEAD, "make backup")
        else:
            yield ok("file system", f"{folder.name}: {mount.kind} at {mount.at}")


def _found(mount: Mount, faults: Sequence[str]) -> str:
    return f"{mount.kind} at {mount.at}" + (f", which {' and '.join(faults)}" if faults else "")


def _examined(home: Home) -> Iterator[tuple[Path, Mount, list[str]]]:
    """volumes/, and each folder of state that lies on another file system than it."""
    volumes = home.volumes
    if not volumes.is_dir():
        return
    own = [folder for folder in (volumes / name for name in STATE) if folder.is_dir()]
    apart = [folder for folder in own if folder.stat().st_dev != volumes.stat().st_dev]
    for folder in (volumes, *apart):
        # Another user's folder is looked at by whoever may write there.
        yield folder, mount_of(folder), faults_of(folder) if os.access(folder, os.W_OK) else []


def mount_of(folder: Path, table: Path = Path("/proc/self/mountinfo")) -> Mount:
    """The mount that a folder lies on; of an unknown kind where the system has no such table."""
    found = Mount("unknown", "/")
    try:
        rows = table.read_text(errors="replace").splitlines()
    except OSError:
        return found
    place = folder.resolve()
    for row in rows:
        fields, _, rest = row.partition(" - ")
        at = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields.split()[4]))
        if (at == place or at in place.parents) and len(str(at)) >= len(found.at):
            found = Mount(rest.split()[0], str(at))
    return found


def faults_of(folder: Path) -> list[str]:
    """What the file system of a folder lacks that state needs; tried in a folder that goes again."""
    try:
        place = Path(tempfile.mkdtemp(prefix=_PROBE, dir=folder))
    except OSError as error:
        return [f"can't be written to ({error.strerror})"]
    try:
        return [fault for probe, fault in _PROBES.items() if not _passes(probe, place)]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _passes(probe: Callable[[Path], bool], place: Path) -> bool:
    try:
        return probe(place)
    except (OSError, sqlite3.Error):
        return False


def _keeps_permissions(place: Path) -> bool:
    file = place / "permissions"
    file.touch()
    modes = []
    for mode in (0o600, 0o755):
        file.chmod(mode)
        modes.append(file.stat().st_mode & 0o777)
    return modes == [0o600, 0o755]


def _tells_cases(place: Path) -> bool:
    (place / "case").touch()
    return not (place / "CASE").exists()


def _replaces(place: Path) -> bool:
    """In one step, and so that it is there after a power cut."""
    (place / "old").write_text("old")
    (place / "new").write_text("new")
    (place / "new").replace(place / "old")
    (place / "folder").mkdir()
    (place / "folder").rename(place / "renamed")
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return (place / "old").read_text() == "new"


def _locks(place: Path) -> bool:
    with (place / "lock").open("w") as one, (place / "lock").open("w") as other:
        return locks.take(one) and not locks.take(other)


def _holds_databases(place: Path) -> bool:
    """In SQLite's mode in which one program reads while another writes; it needs shared memory."""
    path = str(place / "database")
    with closing(sqlite3.connect(path, timeout=5)) as writer:
        mode = writer.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        writer.execute("CREATE TABLE numbers (n INTEGER)")
        writer.execute("INSERT INTO numbers VALUES (1)")
        writer.commit()
        with closing(sqlite3.connect(path, timeout=5)) as reader:
            seen = reader.execute("SELECT n FROM numbers").fetchall()
    return mode == "wal" and seen == [(1,)]


_PROBES: Mapping[Callable[[Path], bool], str] = {
    _keeps_permissions: "keeps no permissions, so that others can read secrets",
    _tells_cases: "takes a and A for one name",
    _replaces: "can't replace files in one step",
    _locks: "has no locks between programs",
    _holds_databases: "can't hold SQLite's databases",
}
