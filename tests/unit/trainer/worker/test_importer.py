"""New images become tasks, and files that nobody can read are known by name."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.fake_studio import FakeStudio

from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.worker import importer as importer_module
from trainer.worker.importer import ImageIndex, Importer, ImportFailed


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
