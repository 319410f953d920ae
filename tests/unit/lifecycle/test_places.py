"""Where volumes/ lies: on a disk that can hold state, or not."""

import errno
import fcntl
import json
import os
import sqlite3
from pathlib import Path

import pytest

from labelloop.findings import OK, PROBLEM, WARNING
from lifecycle.console import Failure
from lifecycle.doctor import places
from lifecycle.doctor.places import Mount, check_volumes, faults_of, findings, mount_of
from lifecycle.home import Home

TABLE = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /mnt/nas rw,relatime shared:1 - nfs4 nas:/export rw
31 22 0:41 / /mnt/my\\040share rw - cifs //nas/share rw
32 30 0:42 / /mnt/nas/deep rw - tmpfs tmpfs rw
"""


@pytest.fixture
def volumes(home: Home) -> Path:
    (home.volumes / "labelstudio").mkdir(parents=True)
    (home.volumes / "rounds").mkdir()
    return home.volumes


@pytest.mark.parametrize(
    ("folder", "mount"),
    [
        ("/srv", Mount("ext4", "/")),
        ("/mnt/nas", Mount("nfs4", "/mnt/nas")),
        ("/mnt/nas/a/b", Mount("nfs4", "/mnt/nas")),
        ("/mnt/nas/deep/er", Mount("tmpfs", "/mnt/nas/deep")),
        ("/mnt/nasty", Mount("ext4", "/")),
        ("/mnt/my share/x", Mount("cifs", "/mnt/my share")),
    ],
)
def test_the_mount_of_a_folder(tmp_path: Path, folder: str, mount: Mount) -> None:
    (tmp_path / "mountinfo").write_text(TABLE)
    assert mount_of(Path(folder), tmp_path / "mountinfo") == mount
    assert mount.is_network == (mount.kind in ("nfs4", "cifs"))


@pytest.mark.parametrize(
    ("kind", "network"),
    [("nfs", True), ("smb3", True), ("9p", True), ("fuse.sshfs", True), ("fuse.mergerfs", False),
     ("fuseblk", False), ("ntfs3", False), ("btrfs", False), ("overlay", False), ("unknown", False)],
)  # fmt: skip
def test_which_file_systems_are_another_machines(kind: str, network: bool) -> None:
    assert Mount(kind, "/").is_network == network


def test_a_disk_is_good_and_nothing_stays_of_the_look(home: Home, volumes: Path) -> None:
    assert faults_of(volumes) == []
    check_volumes(home)
    assert [finding.level for finding in findings(home)] == [OK]
    assert sorted(path.name for path in volumes.iterdir()) == ["labelstudio", "rounds"]


def no_permissions(patch: pytest.MonkeyPatch) -> None:
    """As exFAT, NTFS and CIFS: a mode is taken without a word, and is another."""
    patch.setattr(Path, "chmod", lambda path, mode: None)


def folded_names(patch: pytest.MonkeyPatch) -> None:
    exists = Path.exists
    patch.setattr(Path, "exists", lambda path: exists(path) or exists(path.with_name(path.name.lower())))


def no_fsync(patch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    patch.setattr(os, "fsync", fsync)


def no_locks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fcntl, "flock", lambda file, kind: None)


def locks_refused(patch: pytest.MonkeyPatch) -> None:
    def flock(file: object, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    patch.setattr(fcntl, "flock", flock)


def no_database(patch: pytest.MonkeyPatch) -> None:
    def connect(*arguments: object, **options: object) -> None:
        raise sqlite3.OperationalError("locking protocol")

    patch.setattr(sqlite3, "connect", connect)


@pytest.mark.parametrize(
    ("lack", "words"),
    [
        (no_permissions, "keeps no permissions"),
        (folded_names, "takes a and A for one name"),
        (no_fsync, "can't replace files in one step"),
        (no_locks, "has no locks"),
        (locks_refused, "has no locks"),
        (no_database, "can't hold SQLite's databases"),
    ],
)
def test_a_file_system_that_lacks_something_is_refused_with_the_way_out(
    home: Home, volumes: Path, monkeypatch: pytest.MonkeyPatch, lack: object, words: str
) -> None:
    assert callable(lack)
    with monkeypatch.context() as patch:
        lack(patch)
        with pytest.raises(Failure, match=words) as refused:
            check_volumes(home)
        [finding] = findings(home)
    assert "Only volumes/images may lie elsewhere" in refused.value.do
    assert finding.level == PROBLEM and words in finding.text
    assert sorted(path.name for path in volumes.iterdir()) == ["labelstudio", "rounds"]


def test_a_new_stack_is_not_kept_on_another_machine_and_one_with_labels_is_told(
    home: Home, volumes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(places, "mount_of", lambda folder: Mount("nfs4", "/mnt/nas"))
    with pytest.raises(Failure, match="nfs4 at /mnt/nas"):
        check_volumes(home)
    home.database.touch()
    check_volumes(home)
    assert "is on nfs4: a connection that breaks can damage the databases" in capsys.readouterr().out
    [finding] = findings(home)
    assert finding.level == WARNING and "your-network.md" in finding.fix


def test_only_the_images_may_be_apart(home: Home, volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder of state is looked at where it is another file system; the images' is nobody's business."""
    (volumes / "images").mkdir()
    looked: list[str] = []
    real, stat = volumes.stat(), Path.stat

    def other_device(path: Path, **options: bool) -> object:
        if path.name in ("images", "rounds"):
            return os.stat_result([*real[:2], real.st_dev + 1, *real[3:10]])
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", other_device)

    def look(folder: Path) -> list[str]:
        looked.append(folder.name)
        return []

    monkeypatch.setattr(places, "faults_of", look)
    assert all(finding.level == OK for finding in findings(home))
    assert looked == ["volumes", "rounds"]


def test_doctors_json_has_it(home: Home, volumes: Path) -> None:
    from lifecycle.doctor.doctor import examine

    found = {finding.name: finding.level for finding in examine(home)}
    assert found["file system"] == OK, json.dumps(found)
