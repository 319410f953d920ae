"""New images become tasks, and files that nobody can read are known by name."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from support.fake_studio import FakeStudio

from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.worker import image_index
from trainer.worker import importer as importer_module
from trainer.worker.image_index import ImageIndex
from trainer.worker.importer import Importer, ImportFailed


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
    restarted = Importer(again, studio, loop_settings.rounds_dir)
    assert (restarted.run([1]), restarted.run([1])) == (0, 0)
    # The first look after a start tells Label Studio of no file, and has it note which are tasks already.
    assert [body["files"] for body in fake_studio.sync_bodies] == [["a.jpg"], []]


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
        lambda id_, seconds, files, again, whole: {
            "id": id_,
            "status": "failed" if id_ == 3 else "completed",
        },
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


def test_an_image_is_named_once_and_again_only_where_a_person_says_so(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    drop("a.jpg")
    importer.run([1])
    fake_studio.tasks.clear()
    fake_studio.deleted = 1
    drop("b.jpg")
    assert importer.run([1]) == 1
    assert importer.run([1], force=True) == 0
    assert importer.deleted == 1
    asked = [(body["files"], body["whole"]) for body in fake_studio.sync_bodies]
    assert asked == [(["a.jpg"], True), (["b.jpg"], False), ([], True)]
    importer.run([1], force=True, again=True)
    assert fake_studio.sync_bodies[-1] == {"files": ["a.jpg", "b.jpg"], "again": True, "whole": True}


def test_images_are_named_by_their_file_names_as_label_studio_sorts_them(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    for name in ("z/a.jpg", "b.jpg", "y/c.jpg"):
        drop(name)
    importer.run([1])
    assert fake_studio.sync_bodies[0]["files"] == ["z/a.jpg", "b.jpg", "y/c.jpg"]


def test_a_jpeg_that_is_copied_slowly_becomes_a_task_when_it_is_whole_and_not_before(
    importer: Importer, index: ImageIndex, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    drop("other.jpg")
    path = drop("slow.jpg")
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.8):
        path.write_bytes(whole[: int(len(whole) * share)])
        importer.run([1])
        importer.run([1], force=True)
        assert fake_studio.synced == ["other.jpg"]
        (said,) = [*index.problems(), *index.waiting()]
        assert said.path == "slow.jpg"
    path.write_bytes(whole)
    assert importer.run([1]) == 1
    assert fake_studio.synced == ["other.jpg", "slow.jpg"]
    assert (index.problems(), index.waiting(), index.flawed()) == ([], [], [])


def test_a_file_that_nobody_can_read_becomes_no_task(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    drop("a.jpg")
    drop("broken.webp").write_bytes(b"RIFF")
    assert importer.run([1]) == 1
    assert fake_studio.synced == ["a.jpg"]


def test_another_image_under_an_old_name_is_named_anew(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio
) -> None:
    """Label Studio tells whether the task of the former one is still there."""
    path = drop("a.jpg")
    importer.run([1])
    path.chmod(0o600)
    importer.run([1])
    assert len(fake_studio.sync_bodies) == 1
    Image.new("RGB", (30, 20)).save(path)
    importer.run([1])
    assert [body["files"] for body in fake_studio.sync_bodies] == [["a.jpg"], ["a.jpg"]]


def test_a_folder_that_is_being_written_to_waits_but_not_for_ever(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop("a.jpg")
    importer.index.scan()
    importer.index.check(60.0)
    monkeypatch.setattr(image_index, "SETTLED_S", 60.0)
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
    monkeypatch.setattr(image_index, "SETTLED_S", 3.0)
    now = time.time() - 1e6
    monkeypatch.setattr(image_index.time, "time", lambda: now)
    assert importer.run([1]) == 1
    assert not importer.waiting


def one_more(index: ImageIndex) -> int:
    """Decodes one file; returns how many are left."""
    told = iter((False, True))
    return index.check(60.0, lambda: next(told, True))


def test_of_many_images_those_that_were_decoded_are_tasks_before_the_others_are_decoded(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's run and `make import`; Label Studio looks at all tasks for the first and last portion."""
    monkeypatch.setattr(importer_module, "PORTION", 2)
    index, names = importer.index, [f"{number}.jpg" for number in range(9)]
    for name in names[:4]:
        drop(name)
    assert importer.run([1], check=lambda: one_more(index)) == 0, "one was decoded"
    importer.run([1], check=lambda: one_more(index))
    assert len(fake_studio.tasks) >= 2
    for name in names[4:]:
        drop(name)
    before = len(fake_studio.tasks)
    assert importer.run([1], force=True, check=lambda: one_more(index)) == 9 - before
    bodies = fake_studio.sync_bodies
    assert sorted(name for body in bodies for name in body["files"]) == names
    assert len(bodies) > 2 and not importer.waiting
    assert [body["whole"] for body in bodies] == [True, *[False] * (len(bodies) - 2), True]


def test_a_portion_that_fails_keeps_no_project_from_its_images(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What make import says is left out is counted once, too."""
    monkeypatch.setattr(importer_module, "PORTION", 1)
    fake_studio.deleted = 3
    fake_studio.add_project(2)
    fake_studio.broken = {1}
    for number in range(5):
        drop(f"{number}.jpg")
    with pytest.raises(StudioError, match="500"):
        importer.run([1, 2], force=True, check=lambda: one_more(importer.index))
    assert sorted(name for body in fake_studio.sync_bodies for name in body["files"]) == [
        f"{number}.jpg" for number in range(5)
    ]
    assert importer.deleted == 3 and set(importer.failures) == {1} and not importer.waiting


def test_a_fault_of_decoding_beside_is_raised_once_label_studio_has_answered(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer_module, "PORTION", 1)
    for number in range(3):
        drop(f"{number}.jpg")
    looks = iter((lambda: one_more(importer.index), lambda: 1 / 0, lambda: 1 / 0))
    fake_studio.before_sync = lambda: time.sleep(0.3)
    with pytest.raises(ZeroDivisionError):
        importer.run([1], force=True, check=lambda: int(next(looks)()))
    assert len(fake_studio.tasks) == 1 and not importer.failures


def test_make_import_decodes_all_however_long_it_takes(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer_module, "PATIENCE_S", 0.0)
    for number in range(4):
        drop(f"{number}.jpg")
    assert importer.run([1], force=True, check=lambda: one_more(importer.index)) == 4


def test_images_are_decoded_while_label_studio_makes_tasks_of_others(
    importer: Importer, drop: Callable[[str], Path], fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer_module, "PORTION", 1)
    index, left = importer.index, []
    for number in range(4):
        drop(f"{number}.jpg")

    def at_work() -> None:
        until = time.monotonic() + 20
        while index.newest() < 4 and time.monotonic() < until:
            time.sleep(0.01)
        left.append(4 - index.newest())

    fake_studio.before_sync = at_work
    assert importer.run([1], force=True, check=lambda: one_more(index)) == 4
    assert left[0] == 0, "nothing was decoded while Label Studio was at work"


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
