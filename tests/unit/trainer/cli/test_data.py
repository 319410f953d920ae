"""Images in, boxes on them: what a person sees."""

import os
from pathlib import Path
from typing import Any

import pytest
from support import shapes
from support.cli import Run
from support.fake_studio import FakeStudio

from labelloop.locks import holding
from trainer.dataset import export as export_module
from trainer.env import TrainerSettings
from trainer.worker import image_index

pytestmark = pytest.mark.usefixtures("models")


def test_predict_fills_in_what_is_missing(run: Run, fake_studio: FakeStudio) -> None:
    fake_studio.add_task()
    fake_studio.add_task()
    result = run("predict")
    assert result.exit_code == 0
    assert "2 images pre-labelled." in result.output
    assert "Every unlabelled image has the champion's boxes." in run("predict").output


def test_import_names_what_cannot_be_used(
    run: Run, loop_settings: TrainerSettings, fake_studio: FakeStudio
) -> None:
    (loop_settings.images_dir / "notes.txt").write_text("no image")
    shapes.picture(1).image.save(loop_settings.images_dir / "a.png")
    fake_studio.files.append("a.png")
    result = run("import")
    assert result.exit_code == 0
    assert "1 new image." in result.output
    assert "notes.txt: .txt is not imported" in result.output


def test_import_names_what_cannot_be_used_also_when_label_studio_refuses(
    run: Run, loop_settings: TrainerSettings, fake_studio: FakeStudio
) -> None:
    (loop_settings.images_dir / "damaged.png").write_text("no image")
    shapes.picture(1).image.save(loop_settings.images_dir / "a.png")
    fake_studio.storage = {"status": "failed", "traceback": "OSError: no space"}
    result = run("import")
    assert result.exit_code == 1
    assert "damaged.png: " in result.output and "new image" not in result.output
    assert "was not synchronised: OSError: no space" in result.stderr


def test_import_says_what_waits_what_lacks_its_end_and_what_was_deleted(
    run: Run, loop_settings: TrainerSettings, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = loop_settings.images_dir / "cut.jpg"
    shapes.picture(1).image.save(path)
    path.write_bytes(path.read_bytes()[:-20])
    fake_studio.deleted = 2
    shapes.picture(1).image.save(loop_settings.images_dir / "a.png")
    result = run("import")
    assert "1 file not imported yet:\n  cut.jpg: cut off: " in result.output
    assert "or is still being written" in result.output
    assert "2 images whose tasks were deleted stay out; `make import AGAIN=1`" in result.output
    monkeypatch.setattr(image_index, "CUT_WAIT_S", 0.0)
    os.utime(path)
    result = run("import", "--again")
    assert "1 file used as far as browsers show them:\n  cut.jpg: cut off: " in result.output
    assert fake_studio.sync_bodies[-1] == {"files": ["a.png", "cut.jpg"], "again": True}


def test_export_holds_up_no_round_while_it_copies_images(
    run: Run, loop_settings: TrainerSettings, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shapes.picture(1)
    task = fake_studio.tasks[fake_studio.add_task(annotations=1)]
    when = "2026-11-22T18:00:00.000000Z"
    task["annotations"] = [{"id": 1, "result": made.annotation(), "created_at": when, "updated_at": when}]
    task["data"]["image"] = "/data/local-files/?d=images/a.png"
    made.image.save(loop_settings.images_dir / "a.png")
    write = export_module.export

    def while_a_snapshot_is_taken(*args: Any) -> Path:
        with holding(loop_settings.rounds_dir / "snapshot.lock"):
            return write(*args)

    monkeypatch.setattr(export_module, "export", while_a_snapshot_is_taken)
    result = run("export")
    assert result.exit_code == 0, result.output
    assert "1 image with " in result.output
    assert list(loop_settings.rounds_dir.glob("exports/*/images/*-a.png"))
