"""New images become tasks, and files that nobody can read are known by name."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from support import shapes
from support.fake_studio import FakeStudio

from labelloop.images import ImageBusy
from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.system.database import writing
from trainer.worker import importer as importer_module
from trainer.worker.importer import ImageIndex, Importer, ImportFailed, Problem


@pytest.fixture
def images(home: Path) -> Path:
    return home / "volumes" / "images"


@pytest.fixture
def index(loop_settings: TrainerSettings) -> ImageIndex:
    return ImageIndex(loop_settings.rounds_dir, loop_settings.images_dir)


@pytest.fixture
def importer(
    index: ImageIndex, studio: Studio, loop_settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> Importer:
    monkeypatch.setattr(importer_module, "SETTLED_S", 0.0)
    return Importer(index, studio, loop_settings.rounds_dir)


@pytest.fixture
def drop(images: Path, fake_studio: FakeStudio) -> Callable[[str], Path]:
    """Puts a picture into volumes/images, where Label Studio's storage sees it too."""

    def put(name: str) -> Path:
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shapes.picture(1).image.save(path)
        fake_studio.files.append(name)
        return path

    return put


def test_new_images_become_tasks_once(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    drop("a.jpg")
    drop("deep/er/b.PNG")
    assert importer.run([1]) == 2
    assert importer.run([1]) == 0
    assert fake_studio.syncs == 1
    drop("c.webp")
    assert importer.run([1]) == 1
    assert len(fake_studio.tasks) == 3


def test_nothing_to_import_asks_for_nothing(
    importer: Importer, images: Path, fake_studio: FakeStudio
) -> None:
    (images / "notes.txt").write_text("no image")
    (images / ".DS_Store").write_text("hidden")
    assert importer.run([1]) == 0
    assert fake_studio.syncs == 0


def test_a_restart_does_not_import_again(
    importer: Importer,
    drop: Callable[[str], Path],
    fake_studio: FakeStudio,
    studio: Studio,
    loop_settings: TrainerSettings,
) -> None:
    drop("a.jpg")
    importer.run([1])
    again = ImageIndex(loop_settings.rounds_dir, loop_settings.images_dir)
    assert Importer(again, studio, loop_settings.rounds_dir).run([1]) == 0
    assert fake_studio.syncs == 1


def test_a_sync_that_failed_is_made_up_for(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    drop("a.jpg")
    fake_studio.down = True
    with pytest.raises(StudioError):
        importer.run([1])
    fake_studio.down = False
    assert importer.run([1]) == 1


def test_one_projects_failure_keeps_no_other_from_its_images(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    drop("a.jpg")
    fake_studio.add_project(2)
    fake_studio.broken = {1}
    with pytest.raises(StudioError, match="/api/storages/localfiles: 500"):
        importer.run([1, 2])
    assert fake_studio.syncs == 1


def test_one_storages_failure_keeps_no_other_from_its_images(
    importer: Importer,
    index: ImageIndex,
    drop: Callable[[str], Path],
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drop("a.jpg")
    monkeypatch.setattr(studio, "storages", lambda project: [{"id": 3}, {"id": 4}])
    monkeypatch.setattr(
        studio,
        "sync_storage",
        lambda id_, seconds: {"id": id_, "status": "failed" if id_ == 3 else "completed"},
    )
    with pytest.raises(ImportFailed, match="storage 3 was not synchronised"):
        importer.run([1])
    assert [index.synced(f"{id_} None") > 0 for id_ in (3, 4)] == [False, True]


def test_many_images_may_take_long(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label Studio makes all the tasks in one request."""
    monkeypatch.setattr(importer_module, "SYNC_S", 0.05)
    fake_studio.before_sync = lambda: time.sleep(0.3)
    drop("a.jpg")
    with pytest.raises(StudioError, match="timed out"):
        importer.run([1])
    monkeypatch.setattr(importer_module, "SYNC_S_PER_IMAGE", 20.0)
    drop("b.jpg")
    assert importer.run([1], force=True) >= 1
    assert len(fake_studio.tasks) == 2


def test_asked_by_a_person_it_synchronises_anyway(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    drop("a.jpg")
    importer.run([1])
    fake_studio.tasks.clear()
    fake_studio.synced.clear()
    assert importer.run([1], force=True) == 1


def test_a_folder_that_is_being_written_to_waits_but_not_for_ever(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer_module, "SETTLED_S", 60.0)
    drop("a.jpg")
    assert importer.run([1]) == 0
    assert importer.waiting
    assert fake_studio.syncs == 0
    monkeypatch.setattr(importer_module, "PATIENCE_S", 0.0)
    assert importer.run([1]) == 1
    assert not importer.waiting


def test_files_from_the_future_are_not_taken_for_ones_being_written_to(
    importer: Importer, drop: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was ahead when they came, and was set back: each look would wait for them in vain."""
    drop("a.jpg")
    monkeypatch.setattr(importer_module, "SETTLED_S", 3.0)
    now = time.time() - 1e6
    monkeypatch.setattr(importer_module.time, "time", lambda: now)
    assert importer.run([1]) == 1
    assert not importer.waiting


def test_a_sync_that_label_studio_swallowed_is_told(
    importer: Importer, drop: Callable[[str], Path], images: Path, fake_studio: FakeStudio
) -> None:
    drop("a.jpg")
    (images / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    fake_studio.storage = {
        "status": "failed",
        "traceback": "Traceback:\n  ...\nUnicodeEncodeError: surrogates\n",
    }
    with pytest.raises(ImportFailed, match=r"UnicodeEncodeError: surrogates; rename caf\\xe9\.jpg"):
        importer.run([1])
    fake_studio.storage = {}
    assert importer.run([1]) == 1


@pytest.mark.parametrize(("seconds_ago", "left_alone"), [(5, True), (60, False)])
def test_no_second_sync_beside_one_that_runs(
    seconds_ago: int,
    left_alone: bool,
    importer: Importer,
    drop: Callable[[str], Path],
    fake_studio: FakeStudio,
) -> None:
    drop("a.jpg")
    ping = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    fake_studio.storage = {"status": "in_progress", "meta": {"time_last_ping": str(ping)}}
    assert importer.run([1]) == (0 if left_alone else 1)
    assert importer.waiting == left_alone
    fake_studio.storage = {"status": "completed"}
    assert importer.run([1]) == (1 if left_alone else 0)


def test_unusable_files_are_known_by_name(
    index: ImageIndex, images: Path, drop: Callable[[str], Path]
) -> None:
    drop("fine.jpg")
    drop("名 前's.png")
    (images / "empty.jpg").touch()
    (images / "text.png").write_text("no image at all")
    (images / "truncated.jpg").write_bytes(drop("whole.jpg").read_bytes()[:900])
    Image.new("RGB", (8, 8)).save(images / "moving.gif")
    (images / "README").write_text("no suffix")
    (images / "gone.jpg").symlink_to(images / "nowhere.jpg")
    outside = images.parent / "outside.png"
    shapes.picture(2).image.save(outside)
    (images / "link.png").symlink_to(outside)
    index.scan()
    assert index.check(60.0) == 0
    reasons = {problem.path: problem.reason for problem in index.problems()}
    assert reasons.keys() == {
        "empty.jpg",
        "text.png",
        "truncated.jpg",
        "moving.gif",
        "README",
        "gone.jpg",
        "link.png",
    }
    assert "empty" in reasons["empty.jpg"]
    assert "not an image" in reasons["text.png"]
    assert "truncated" in reasons["truncated.jpg"]
    assert ".gif is not imported" in reasons["moving.gif"]
    assert "No such file" in reasons["gone.jpg"]
    assert "leads out" in reasons["link.png"]


def test_a_name_that_is_no_text_hurts_nothing_else(
    index: ImageIndex, images: Path, drop: Callable[[str], Path]
) -> None:
    drop("fine.jpg")
    (images / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    index.scan()
    index.check(60.0)
    assert index.problems() == [Problem("caf\\xe9.jpg", "the file's name is not UTF-8; rename it")]


def test_a_file_made_whole_is_forgiven(index: ImageIndex, images: Path, drop: Callable[[str], Path]) -> None:
    path = drop("a.jpg")
    whole = path.read_bytes()
    path.write_bytes(whole[:900])
    index.scan()
    index.check(60.0)
    assert [problem.path for problem in index.problems()] == ["a.jpg"]
    path.write_bytes(whole)
    index.scan()
    index.check(60.0)
    assert index.problems() == []


@pytest.mark.parametrize("linked", [False, True])
def test_a_file_put_right_with_its_old_size_and_time_is_forgiven(
    linked: bool, index: ImageIndex, images: Path, drop: Callable[[str], Path]
) -> None:
    path = drop("a.jpg")
    if linked:
        path = path.rename(images / ".a.jpg")
        (images / "a.jpg").symlink_to(path)
    whole, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(b"?" * len(whole))
    os.utime(path, ns=times)
    index.scan()
    index.check(60.0)
    assert [problem.path for problem in index.problems()] == ["a.jpg"]
    time.sleep(0.02)  # the file system's clock ticks every few milliseconds
    path.write_bytes(whole)
    os.utime(path, ns=times)
    index.scan()
    index.check(60.0)
    assert index.problems() == []


def test_files_that_a_restore_has_touched_are_checked_again_and_nothing_else(
    importer: Importer, index: ImageIndex, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    paths = [drop("a.jpg"), drop("b.jpg"), drop("damaged.jpg")]
    paths[-1].write_bytes(b"?")
    importer.run([1])
    index.check(60.0)
    before = index.problems()
    assert index.check(0.0) == 0 and [problem.path for problem in before] == ["damaged.jpg"]
    time.sleep(0.02)
    for path in paths:
        path.chmod(0o600)
    assert importer.run([1]) == 0
    assert index.check(0.0) == 3
    assert index.check(60.0) == 0
    assert (importer.run([1]), fake_studio.syncs, index.problems()) == (0, 1, before)


def test_an_index_from_before_ctimes_loses_nothing(
    importer: Importer,
    index: ImageIndex,
    drop: Callable[[str], Path],
    fake_studio: FakeStudio,
    loop_settings: TrainerSettings,
    studio: Studio,
) -> None:
    drop("a.jpg")
    drop("damaged.jpg").write_bytes(b"?")
    importer.run([1])
    index.check(60.0)
    before = index.problems()
    with writing(index.path) as connection:
        connection.execute("ALTER TABLE files DROP COLUMN ctime_ns")
    again = ImageIndex(loop_settings.rounds_dir, loop_settings.images_dir)
    assert again.problems() == before
    assert Importer(again, studio, loop_settings.rounds_dir).run([1]) == 0
    assert again.check(60.0) == 0
    assert (fake_studio.syncs, again.problems()) == (1, before)


def test_a_file_that_is_damaged_later_is_noticed(index: ImageIndex, drop: Callable[[str], Path]) -> None:
    path = drop("a.jpg")
    index.scan()
    index.check(60.0)
    assert index.problems() == []
    path.write_bytes(path.read_bytes()[:900])
    index.scan()
    index.check(60.0)
    assert [problem.path for problem in index.problems()] == ["a.jpg"]


def test_a_deleted_file_is_forgotten(index: ImageIndex, images: Path) -> None:
    (images / "empty.jpg").touch()
    index.scan()
    index.check(60.0)
    (images / "empty.jpg").unlink()
    index.scan()
    assert index.problems() == []


def test_checking_takes_no_longer_than_it_may(index: ImageIndex, drop: Callable[[str], Path]) -> None:
    for number in range(4):
        drop(f"{number}.jpg")
    index.scan()
    assert index.check(0.0) == 4
    assert index.check(60.0) == 0


def test_looking_at_many_files_again_is_cheap(index: ImageIndex, images: Path) -> None:
    for folder in range(10):
        (images / str(folder)).mkdir()
        for number in range(1000):
            (images / str(folder) / f"{number}.jpg").touch()
    index.scan()
    assert index.newest() == 10_000
    started = time.perf_counter()
    index.scan()
    assert time.perf_counter() - started < 1.0
    assert index.newest() == 10_000


def test_looking_takes_no_more_memory_for_more_files(index: ImageIndex, images: Path) -> None:
    def peak(count: int) -> int:
        folder = images / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.jpg").touch()
        tracemalloc.start()
        try:
            index.scan()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(100)
    assert peak(3_000) < few + 200_000
    assert index.newest() == 3_100


def test_no_folder_yet_is_an_empty_folder(loop_settings: TrainerSettings, images: Path) -> None:
    images.rmdir()
    index = ImageIndex(loop_settings.rounds_dir, images)
    index.scan()
    assert (index.newest(), index.problems()) == (0, [])


KILLED = """
import os, signal, sys
from pathlib import Path
from PIL import ImageFile
from trainer.worker.importer import ImageIndex
load = ImageFile.ImageFile.load
def deadly(self):
    if self.size == (41, 31):
        os.kill(os.getpid(), signal.SIGKILL)
    return load(self)
ImageFile.ImageFile.load = deadly
ImageIndex(Path(sys.argv[1]), Path(sys.argv[2])).check(60.0)
"""


def test_a_file_that_ends_the_importer_is_named_and_the_others_are_read(
    index: ImageIndex, images: Path, drop: Callable[[str], Path], tmp_path: Path
) -> None:
    drop("a.jpg")
    Image.new("RGB", (41, 31)).save(images / "b.png")
    drop("c.jpg").write_bytes(b"?")
    index.scan()
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, str(index.path.parent), str(index.images_dir)]
    ends = [subprocess.run(command, env=environment, timeout=60, check=False).returncode for _ in range(3)]
    assert ends == [-signal.SIGKILL, -signal.SIGKILL, 0]
    reasons = {problem.path: problem.reason for problem in index.problems()}
    assert reasons.keys() == {"b.png", "c.jpg"}
    assert "was ended 2 times" in reasons["b.png"] and "save it with fewer pixels" in reasons["b.png"]


def test_a_file_whose_turn_does_not_come_is_checked_later(
    index: ImageIndex, drop: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(file: Path, name: str) -> None:
        raise ImageBusy(f"{name}: other large images are being decoded")

    drop("a.jpg")
    index.scan()
    with monkeypatch.context() as patch:
        patch.setattr(importer_module, "check_image", busy)
        assert index.check(60.0) == 1
    assert (index.check(60.0), index.problems()) == (0, [])
