"""The index of images: which files nobody can read, and why; what was checked isn't checked again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support import shapes
from support.fake_studio import FakeStudio
from support.memory import traced_peak

from labelloop.images import ImageBusy
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.system.database import writing
from trainer.worker import image_index
from trainer.worker.image_index import ImageIndex, Problem
from trainer.worker.importer import Importer


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
    assert "cut off" in reasons["truncated.jpg"] or "truncated" in reasons["truncated.jpg"]
    assert ".gif is not imported" in reasons["moving.gif"]
    assert reasons["gone.jpg"] == f"a link to {images / 'nowhere.jpg'}, where nothing is"
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
    index.scan()
    assert index.check(0.0) == 3
    assert importer.run([1]) == 0
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
        connection.execute("DROP INDEX in_turn")
        connection.execute("DROP INDEX noted")
        for column in ("ctime_ns", "ready", "note", "look_at"):
            connection.execute(f"ALTER TABLE files DROP COLUMN {column}")
    again = ImageIndex(loop_settings.rounds_dir, loop_settings.images_dir)
    assert again.problems() == before
    assert Importer(again, studio, loop_settings.rounds_dir).run([1]) == 0
    assert again.check(60.0) == 0
    assert [body["files"] for body in fake_studio.sync_bodies] == [["a.jpg"], []]
    assert again.problems() == before


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
    assert index.check(0.0) == 10_000
    started = time.process_time()
    index.scan()
    assert time.process_time() - started < 1.0
    assert index.check(0.0) == 10_000


def test_looking_takes_no_more_memory_for_more_files(index: ImageIndex, images: Path) -> None:
    def peak(count: int) -> int:
        folder = images / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.jpg").touch()
        return traced_peak(index.scan)

    few = peak(100)
    assert peak(3_000) < few + 200_000
    assert index.check(0.0) == 3_100


def test_no_folder_yet_is_an_empty_folder(loop_settings: TrainerSettings, images: Path) -> None:
    images.rmdir()
    index = ImageIndex(loop_settings.rounds_dir, images)
    index.scan()
    assert (index.newest(), index.problems()) == (0, [])


KILLED = """
import os, signal, sys
from pathlib import Path
from PIL import ImageFile
from trainer.worker import image_index
from trainer.worker.image_index import ImageIndex
load = ImageFile.ImageFile.load
def deadly(self):
    if self.size == (41, 31):
        os.kill(os.getpid(), signal.SIGKILL)
    return load(self)
ImageFile.ImageFile.load = deadly
image_index.SETTLED_S = 0.0
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
        patch.setattr(image_index, "examine", busy)
        assert index.check(60.0) == 0
    (waiting,) = index.waiting()
    assert waiting == Problem("a.jpg", "other large images are being decoded")
    later = time.time() + image_index.RETRY_S
    monkeypatch.setattr(image_index.time, "time", lambda: later)
    assert (index.check(60.0), index.problems()) == (0, [])


def test_a_jpeg_without_its_last_bytes_waits_a_while_and_is_used_with_a_warning(
    index: ImageIndex, drop: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop("a.jpg")
    path.write_bytes(path.read_bytes()[:-20])
    index.scan()
    assert (index.check(60.0), index.newest()) == (0, 0)
    (waiting,) = index.waiting()
    assert waiting.reason.startswith("cut off: ") and waiting.reason.endswith("or is still being written")
    later = time.time() + image_index.CUT_WAIT_S
    monkeypatch.setattr(image_index.time, "time", lambda: later)
    assert (index.check(60.0), index.ready(0, 99)) == (0, ["a.jpg"])
    (flawed,) = index.flawed()
    assert flawed.path == "a.jpg" and "rows of pixels are missing" in flawed.reason
    assert (index.waiting(), index.problems()) == ([], [])


def test_a_file_that_was_just_written_to_waits(
    index: ImageIndex, drop: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    drop("a.jpg")
    index.scan()
    monkeypatch.setattr(image_index, "SETTLED_S", 60.0)
    assert (index.check(60.0), index.newest()) == (0, 0)
    assert index.waiting() == [Problem("a.jpg", "is still being written")]


SYSTEM = (
    ".thumbnails/a.jpg",
    ".Trash-1000/files/a.jpg",
    ".ipynb_checkpoints/a.jpg",
    "photos/@eaDir/a.jpg/SYNOFILE_THUMB_M.jpg",
    "__MACOSX/a.jpg",
    "$RECYCLE.BIN/S-1/a.jpg",
    "System Volume Information/a.jpg",
    "lost+found/a.jpg",
    "photos/._a.jpg",
    "#recycle/a.jpg",
    "photos/Thumbs.db",
    "photos/desktop.ini",
)


def test_hidden_and_system_folders_hold_no_images(index: ImageIndex, drop: Callable[[str], Path]) -> None:
    for name in (*SYSTEM, "photos/recycle/a.jpg"):
        drop(name if name.endswith(".jpg") else f"{name}.jpg")
        if not name.endswith(".jpg"):
            (index.images_dir / f"{name}.jpg").rename(index.images_dir / name)
    index.scan()
    index.check(60.0)
    assert index.ready(0, 99) == ["photos/recycle/a.jpg"]
    assert (index.problems(), index.waiting()) == ([], [])


def test_a_link_to_a_folder_is_followed_inside_and_named_when_it_leads_out(
    index: ImageIndex, images: Path, drop: Callable[[str], Path]
) -> None:
    drop("photos/a.jpg")
    drop(".store/b.jpg")
    (images / "photos" / "up").symlink_to(images)  # a loop
    (images / "twice").symlink_to(images / "photos")  # found anyway
    (images / "stored").symlink_to(Path(".store"))
    (images / ".store" / "again").symlink_to(images / ".store")
    (images / "itself").symlink_to(images / "itself")
    outside = images.parent / "elsewhere"
    outside.mkdir()
    (images / "shared").symlink_to(outside)
    index.scan()
    index.check(60.0)
    assert index.ready(0, 99) == ["photos/a.jpg", "stored/b.jpg"]
    assert index.problems() == [
        Problem("itself", "a link that leads to itself"),
        Problem(
            "shared",
            f"a link to {outside}, which is not below volumes/images; move or mount the folder itself there",
        ),
    ]


def test_a_file_that_was_to_wait_until_a_time_in_the_future_is_looked_at_now(
    index: ImageIndex, drop: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was ahead when it was looked at."""
    drop("a.jpg")
    index.scan()
    now = time.time()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(image_index.time, "time", lambda: now + 1e8)
        meanwhile.setattr(image_index, "examine", _busy)
        index.check(60.0)
    assert [problem.path for problem in index.waiting()] == ["a.jpg"]
    assert index.check(60.0) == 0 and index.waiting() == []


def _busy(file: Path, name: str) -> None:
    raise ImageBusy(f"{name}: others are read")
