"""Archives that must be refused, each with its reason, before anything of them is written."""

import io
import random
import shutil
import tarfile
from pathlib import Path

import pytest
from support import kept

from lifecycle.backup import archive
from lifecycle.backup.unpack import check_version, unpack, verify
from lifecycle.console import Failure
from lifecycle.home import Home

WEIGHTS = "volumes/models/1/v0001/weights.pth"


@pytest.fixture
def whole(home: Home) -> Path:
    kept.fill(home)
    return archive.write(home)[0]


def with_member(target: Path, info: tarfile.TarInfo, data: bytes = b"") -> Path:
    with tarfile.open(target, "w:gz") as tar:
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return target


def test_a_whole_archive_comes_out_as_it_went_in(home: Home, whole: Path, tmp_path: Path) -> None:
    manifest = verify(whole)
    unpack(whole, manifest, tmp_path / "out")
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == b"w1"
    assert kept.annotations(tmp_path / "out/volumes/labelstudio/label_studio.sqlite3") == 3
    before = (home.root / WEIGHTS).stat()
    after = (tmp_path / "out" / WEIGHTS).stat()
    assert (after.st_mode, round(after.st_mtime, 3)) == (before.st_mode, round(before.st_mtime, 3))


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_found(home: Home, where: float) -> None:
    """In noise, where every bit is content. In a run of zeros one may be flipped that gzip reads the same."""
    kept.fill(home)
    (home.root / WEIGHTS).write_bytes(random.Random(1).randbytes(200_000))
    made = archive.write(home)[0]
    data = bytearray(made.read_bytes())
    data[int(len(data) * where)] ^= 0x10
    made.write_bytes(data)
    with pytest.raises(Failure, match="nothing is changed"):
        verify(made)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_an_archive_that_was_cut_off_is_found(whole: Path, share: float) -> None:
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(Failure, match="needed a whole archive"):
        verify(whole)


def test_another_content_than_in_the_manifest_is_found(whole: Path, tmp_path: Path) -> None:
    changed = kept.rewrite(whole, tmp_path / "a.tar.gz", {WEIGHTS: b"xx"}, sums=False)
    with pytest.raises(Failure, match=r"another volumes/models/1/v0001/weights\.pth"):
        verify(changed)


def test_a_missing_and_a_strange_file_are_found(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="found no volumes/models"):
        verify(kept.rewrite(whole, tmp_path / "a.tar.gz", {WEIGHTS: None}, sums=False))
    with pytest.raises(Failure, match=r"found volumes/rounds/x\b"):
        verify(kept.rewrite(whole, tmp_path / "b.tar.gz", {"volumes/rounds/x": b""}, sums=False))


def test_an_archive_without_label_studios_database_is_refused(whole: Path, tmp_path: Path) -> None:
    name = "volumes/labelstudio/label_studio.sqlite3"
    with pytest.raises(Failure, match="Label Studio's database"):
        verify(kept.rewrite(whole, tmp_path / "a.tar.gz", {name: None}))


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "volumes/models/../../outside",
        "volumes/models/./x",
        "volumes/cache/x",
        "compose/lifecycle/verbs/table.py",
        "docker-compose.yml",
        "volumes/models",
    ],
)
def test_a_member_that_leads_elsewhere_is_refused(whole: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(Failure, match="a member named"):
        verify(kept.rewrite(whole, tmp_path / "a.tar.gz", {name: b"evil"}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("volumes/models/1/champion")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(Failure, match="no regular file"):
        verify(with_member(tmp_path / "a.tar.gz", info))


@pytest.mark.parametrize("number", [3, 0, "1", None])
def test_another_format_is_refused(whole: Path, tmp_path: Path, number: object) -> None:
    with pytest.raises(Failure, match="needed format 2 or older"):
        verify(kept.rewrite(whole, tmp_path / "a.tar.gz", {}, facts={"format": number}))


def test_a_full_disk_is_noticed_before_unpacking(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = verify(whole)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    with pytest.raises(Failure, match="disk space"):
        unpack(whole, manifest, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_newer_label_studios_database_is_refused(home: Home, whole: Path, tmp_path: Path) -> None:
    lock = home.root / "images" / "labelstudio" / "requirements.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("label-studio==1.23.2 \\\n")
    for theirs, taken in (("1.9.0", True), ("1.23.2", True), ("1.24.0", False)):
        changed = kept.rewrite(
            whole, tmp_path / f"{theirs}.tar.gz", {}, facts={"version": {"label_studio": theirs}}
        )
        if taken:
            check_version(home, verify(changed))
        else:
            with pytest.raises(Failure, match=r"found 1\.24\.0, needed 1\.23\.2"):
                check_version(home, verify(changed))
