"""The index of images: which files nobody can read, and why; what was checked isn't checked again."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support import shapes
from support.fake_studio import FakeStudio

from labelloop.images import ImageBusy
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.system.database import writing
from trainer.worker import importer as importer_module
from trainer.worker.importer import ImageIndex, Importer, Problem


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
