"""Writing archives: what is in them, and what stands in the way."""

import json
import os
import shutil
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from support import kept
from support.kept_loop import Loop, check_one_moment
from support.stack import wait_for

from lifecycle.backup import archive, contents, snapshots
from lifecycle.console import Failure
from lifecycle.home import Home


class Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def full(home: Home) -> Home:
    kept.fill(home)
    return home


def test_an_archive_holds_the_state_and_only_its_owner_reads_it(full: Home) -> None:
    path, manifest = archive.write(full)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = kept.members(path)
    assert list(found)[-1] == "manifest.json"
    assert found["volumes/models/1/champion"] == b"v0001\n"
    assert found["volumes/labelstudio/media/upload/1/a.jpg"] == b"pixels"
    assert found["configs/local.env"] == b"RETRAIN_EVERY=9\n"
    assert {"configs/loop.env", contents.DATABASE, contents.ROUNDS} <= found.keys()
    left_out = (".env", "volumes/images", "volumes/rounds/worker.lock", f"{contents.DATABASE}-wal")
    assert not [name for name in found if name.startswith(left_out) and name != contents.DATABASE]
    assert manifest.projects == [{"id": 1, "title": "cells", "tasks": 0, "annotations": 3}]
    counts = manifest.counts
    assert (counts["annotations"], counts["models"], counts["rounds"]) == (3, 2, 1)
    assert [entry.name for entry in full.backups.iterdir() if entry.name != ".lock"] == [path.name]


def test_what_was_simulated_is_left_out(full: Home) -> None:
    copy, upload = full.root / contents.SIMULATED / "cells" / "images", full.root / contents.SIMULATED / ".."
    copy.mkdir(parents=True)
    (copy / "a.jpg").write_bytes(b"again")
    (upload / "simulated.jpg").write_bytes(b"mine")
    found = kept.members(archive.write(full)[0])
    assert not [name for name in found if name.startswith(f"{contents.SIMULATED}/")]
    assert found["volumes/labelstudio/media/upload/simulated.jpg"] == b"mine"


def test_images_and_secrets_only_when_asked_for(full: Home) -> None:
    path, manifest = archive.write(full, images=True, env=b"API_TOKEN=first\n")
    found = kept.members(path)
    assert found["volumes/images/a.jpg"] == b"mine"
    assert found[".env"] == b"API_TOKEN=first\n"
    assert manifest.images and manifest.secrets


def test_it_says_which_version_ran(full: Home) -> None:
    full.running_version.parent.mkdir(parents=True)
    full.running_version.write_text(json.dumps({"commit": "abc", "label_studio": "1.23.2"}))
    _, manifest = archive.write(full)
    assert manifest.version == {"commit": "abc", "label_studio": "1.23.2"}


def test_a_full_disk_is_noticed_before_anything_is_written(
    full: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(10**12, 10**12, 10**6))
    with pytest.raises(Failure, match=r"disk space at .*volumes/backups.*0\.0 GB free"):
        archive.write(full)
    assert not list(full.backups.glob("*labelloop*"))


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(full: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(self: object, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive._Hashing, "read", no_room)
    with pytest.raises(Failure, match="No space left"):
        archive.write(full)
    assert [entry.name for entry in full.backups.iterdir()] == [".lock"]


def test_two_at_once_are_refused(full: Home) -> None:
    here = rf"found a restore \(process {os.getpid()}, since [\d-]+ [\d:]+ \S+\) at work"
    with archive.alone(full, "a restore"), pytest.raises(Failure, match=here):
        archive.write(full)


def test_what_a_killed_backup_left_goes_with_the_next(full: Home) -> None:
    (full.backups / ".writing-old").mkdir()
    archive.write(full)
    assert not (full.backups / ".writing-old").exists()


def test_a_damaged_database_is_not_taken_for_a_backup(full: Home) -> None:
    data = bytearray(full.database.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    full.database.write_bytes(data)
    with pytest.raises(Failure, match=r"label_studio\.sqlite3: found"):
        archive.write(full)
    assert not list(full.backups.glob("labelloop-*"))


def test_files_that_vanish_are_left_out(full: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round is thinned out, a version deleted, while they are copied."""
    folder = full.volumes / "models" / "1"
    add = archive._Writer.add

    def delete_first(writer: archive._Writer, name: str, path: Path) -> bool:
        if path.name == "log.txt":
            path.unlink()
            (folder / "v0000" / "weights.pth").unlink()
            (folder / "v0000" / "card.json").unlink()
        return add(writer, name, path)

    monkeypatch.setattr(archive._Writer, "add", delete_first)
    path, manifest = archive.write(full)
    assert manifest.counts["models"] == 1
    assert not [name for name in kept.members(path) if "v0000" in name or "log.txt" in name]


def test_what_comes_after_the_moment_of_a_backup_is_left_out(
    full: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that is opened, trained and promoted while files are copied: it would have no row."""
    folder = full.volumes / "models" / "1"
    take = archive.snapshots.take

    def go_on_afterwards(home: Home, work: Path, database: None) -> snapshots.Moment:
        taken = take(home, work, database)
        with closing(sqlite3.connect(full.root / contents.ROUNDS)) as database:
            database.execute("INSERT INTO rounds VALUES (2)")
            database.commit()
        (full.volumes / "rounds/00002").mkdir()
        for name in ("rounds/00002/snapshot.json", "rounds/00002/retention.json", "rounds/00001/last.pth"):
            (full.volumes / name).write_text("later")
        shutil.copytree(folder / "v0001", folder / "v0002")
        (folder / "champion").write_text("v0002\n")
        full.provisioned.write_text('{"label_config_sha256": "later"}')
        return taken

    monkeypatch.setattr(archive.snapshots, "take", go_on_afterwards)
    path, manifest = archive.write(full)
    found = kept.members(path)
    assert found["volumes/models/1/champion"] == b"v0001\n"
    assert not [name for name in found if "v0002" in name or "00002" in name or "last.pth" in name]
    assert found["volumes/rounds/00001/log.txt"] == b"trained\n"
    assert found[contents.PROVISIONED] == b"{}", "it would claim labels that the database lacks"
    assert (manifest.counts["rounds"], manifest.counts["models"]) == (1, 2)


def test_a_rounds_data_that_is_thinned_out_meanwhile_goes_with_the_note_that_says_so(
    full: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = archive.snapshots.take

    def thin_out_afterwards(home: Home, work: Path, database: None) -> snapshots.Moment:
        taken = take(home, work, database)
        (full.volumes / "rounds/00001/retention.json").write_text("{}")
        (full.volumes / "rounds/00001/log.txt").unlink()
        return taken

    monkeypatch.setattr(archive.snapshots, "take", thin_out_afterwards)
    found = kept.members(archive.write(full)[0])
    assert [name for name in found if name.startswith("volumes/rounds/00001/")] == [
        "volumes/rounds/00001/retention.json"
    ]


def test_a_version_in_service_that_is_removed_meanwhile_fails_the_backup(
    full: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = archive.snapshots.take

    def remove_afterwards(home: Home, work: Path, database: None) -> snapshots.Moment:
        taken = take(home, work, database)
        shutil.rmtree(full.volumes / "models/1/v0001")
        return taken

    monkeypatch.setattr(archive.snapshots, "take", remove_afterwards)
    with pytest.raises(Failure, match=r"v0001: found removed while it was copied.*Try again"):
        archive.write(full)
    assert not list(full.backups.glob("labelloop-*"))


def test_a_table_that_somebody_else_holds_is_waited_for_but_not_for_ever(
    full: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(full.root / contents.ROUNDS, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Failure, match=r"rounds\.sqlite3: found database is locked.*Try again"):
            archive.write(full)
        other.rollback()
    archive.write(full)


def test_what_was_learnt_at_once_is_kept(full: Home) -> None:
    version = full.volumes / "models/1/instant/i0001.0002"
    version.mkdir(parents=True)
    (version / "head.pth").write_bytes(b"head")
    (version.parent / "serving").write_text("i0001.0002\n")
    (version.parent / ".writing-abc").mkdir()
    (version.parent / ".writing-abc/head.pth").write_bytes(b"half of it")
    members = kept.members(archive.write(full)[0])
    found = {name: content for name, content in members.items() if "/instant/" in name}
    folder = "volumes/models/1/instant"
    assert found == {f"{folder}/i0001.0002/head.pth": b"head", f"{folder}/serving": b"i0001.0002\n"}


def test_the_scores_on_hold_outs_are_kept(full: Home) -> None:
    (full.volumes / "models/1/scores").mkdir()
    (full.volumes / "models/1/scores/v0001.json").write_text("scores")
    (full.volumes / "models/1/scores/.v0001.json.abc").write_text("half of them")
    members = kept.members(archive.write(full)[0])
    assert members["volumes/models/1/scores/v0001.json"] == b"scores"
    assert [name for name in members if "/scores/" in name] == ["volumes/models/1/scores/v0001.json"]


def test_the_cards_of_removed_versions_are_kept(full: Home) -> None:
    (full.volumes / "models/1/removed").mkdir()
    (full.volumes / "models/1/removed/v0000.json").write_text("a card")
    assert kept.members(archive.write(full)[0])["volumes/models/1/removed/v0000.json"] == b"a card"


def went_on(loop: Loop, rounds: int) -> bool:
    return loop.finished >= rounds


def test_every_archive_of_a_loop_that_goes_on_is_a_state_that_it_was_in(
    full: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rounds are opened, promoted and predicted with in the product's order, beside three backups."""
    (full.root / contents.ROUNDS).unlink()
    shutil.rmtree(full.volumes / "rounds/00001")
    loop = Loop(full)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(loop.run)
        try:
            archives = []
            for number in range(3):
                wait_for("rounds", partial(went_on, loop, loop.finished + 3), 20, every=0.01)
                made, _ = archive.write(full)
                archives.append(made.rename(full.backups / f"{number}.tar.gz"))
        finally:
            loop.stopping.set()
        writing.result(20)
    for made in archives:
        check_one_moment(made, tmp_path_factory.mktemp("restored"))


def test_a_log_that_grows_is_cut_where_it_was(full: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger than what is read at once, and written to while it is copied."""
    log = full.volumes / "rounds" / "00001" / "log.txt"
    log.write_text("x" * 300_000)
    monkeypatch.setattr(archive, "_IN_MEMORY", 1000)
    read = archive._Hashing.read

    def append_first(self: archive._Hashing, size: int = -1) -> bytes:
        with log.open("a") as file:
            file.write("y")
        return read(self, size)

    monkeypatch.setattr(archive._Hashing, "read", append_first)
    path, manifest = archive.write(full)
    content = kept.members(path)["volumes/rounds/00001/log.txt"]
    assert len(content) == manifest.files["volumes/rounds/00001/log.txt"]["size"]
    assert content.startswith(b"x" * 300_000)


def test_only_the_schedules_own_archives_are_thinned_out(full: Home) -> None:
    names = [f"labelloop-scheduled-2026010{day}T000000Z.tar.gz" for day in range(1, 6)]
    others = ["labelloop-20250101T000000Z.tar.gz", "labelloop-scheduled-mine.tar.gz", "replaced-1"]
    for name in (*names, *others):
        (full.backups / name).touch()
    assert archive.thin_out(full, 2) == names[:3]
    assert sorted(path.name for path in full.backups.iterdir()) == sorted([*names[3:], *others])


def test_nothing_to_keep_is_said(home: Home) -> None:
    with pytest.raises(Failure, match="needed a database"):
        archive.write(home)
