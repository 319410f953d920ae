"""Images in, boxes on them: what a person sees."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import shapes
from support.cli import Run
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from support.labelled_tasks import label, region

from labelloop.locks import holding
from labelloop.registry import ProjectModels
from trainer import env
from trainer.cli import data
from trainer.dataset import export as export_module
from trainer.env import TrainerSettings
from trainer.rounds.unpredicted import Unpredicted
from trainer.worker import image_index

pytestmark = pytest.mark.usefixtures("models")


def test_predict_fills_in_what_is_missing(run: Run, fake_studio: FakeStudio) -> None:
    fake_studio.add_task()
    fake_studio.add_task()
    result = run("predict")
    assert result.exit_code == 0
    assert "2 images pre-labelled." in result.output
    assert "The model in service has looked at every unlabelled image." in run("predict").output


def test_predict_names_what_nobody_could_read_and_fails(
    run: Run, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    first, second = fake_studio.add_task(), fake_studio.add_task()
    fake_backend.unreadable = {second}
    for said in ("1 image pre-labelled.", "The model could not look at 1 image"):
        result = run("predict")
        assert result.exit_code == 1
        assert said in result.output and "task 2, images/2.jpg: the file is empty" in result.output
        assert "has looked at every unlabelled image" not in result.output
        assert "could not look at 1 image of project 1" in result.stderr
    assert fake_backend.asked == [first, second, second], "it is tried at once"
    fake_backend.unreadable = set()
    result = run("predict")
    assert result.exit_code == 0 and "1 image pre-labelled." in result.output


def test_predict_beside_the_worker_names_it_too(
    run: Run, alive: None, fake_studio: FakeStudio, loop_settings: TrainerSettings
) -> None:
    task = fake_studio.add_task()
    failed = Unpredicted(loop_settings.rounds_dir, 1)
    failed.add(task, "images/1.jpg", "answered 503")
    failed.save()
    with holding(loop_settings.rounds_dir / "predict-1.lock"):
        result = run("predict")
    assert result.exit_code == 1
    assert "The worker is at it already." in result.output
    assert "task 1, images/1.jpg: answered 503" in result.output


def test_predict_without_a_model_does_not_say_that_all_is_well(
    run: Run, fake_studio: FakeStudio, models: ProjectModels
) -> None:
    fake_studio.add_task()
    shutil.rmtree(models.path)
    result = run("predict")
    assert result.exit_code == 1 and "the starting model is being written" in result.stderr


def test_predict_says_whose_predictions_stay(run: Run, fake_studio: FakeStudio) -> None:
    fake_studio.projects[1]["label_config"] = shapes.LABEL_CONFIG.replace("ball", "x").replace("crate", "y")
    task = fake_studio.add_task()
    fake_studio.predictions.append({"id": 1, "task": task, "model_version": "yolo-old", "result": []})
    result = run("predict")
    assert result.exit_code == 0
    assert "v0000 knows no label of the project" in result.output and "yolo-old" in result.output


@pytest.mark.parametrize("target", ["predict", "retrain"])
def test_a_project_with_another_backend_is_left_alone_until_asked(
    target: str, run: Run, alive: None, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_studio.add_task()
    fake_studio.backends = [{"project": 1, "url": "http://theirs:9090", "title": "theirs"}]
    result = run(target)
    assert result.exit_code == 1 and fake_studio.predictions == []
    for said in ("http://theirs:9090", "left alone", "Take over", "ADOPT_PROJECTS=all"):
        assert said in result.stderr
    if target == "predict":
        monkeypatch.setenv("ADOPT_PROJECTS", "All")
        env.get_settings.cache_clear()
        assert run(target).exit_code == 0


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


def test_import_beside_the_workers_own_says_so_and_ends_well(
    run: Run, loop_settings: TrainerSettings, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "IMPORT_WAIT_S", 0.1)
    (loop_settings.images_dir / "notes.txt").write_text("no image")
    with holding(loop_settings.rounds_dir / "import.lock"):
        result = run("import")
    assert result.exit_code == 0, result.output + result.stderr
    assert "Label Studio is importing already; what is new follows by itself." in result.output
    assert "No new images" not in result.output and "locked" not in result.output + result.stderr


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
    assert fake_studio.sync_bodies[-1] == {"files": ["a.png", "cut.jpg"], "again": True, "whole": True}


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


REASON = "; 1 left out, see skipped.txt: 1 × annotations that could not be understood"


@pytest.mark.parametrize(("broken", "status", "last"), [({}, 0, ""), ({"from_name": "box"}, 3, REASON)])
def test_an_exports_status_and_last_line_tell_what_is_missing(
    run: Run,
    loop_settings: TrainerSettings,
    fake_studio: FakeStudio,
    broken: dict[str, str],
    status: int,
    last: str,
) -> None:
    for _ in range(2):
        label(fake_studio, loop_settings.images_dir)
    label(fake_studio, loop_settings.images_dir, region(**broken), plain=False)
    result = run("export")
    assert result.exit_code == status, result.output
    said = " ".join(result.output.split())
    assert said.endswith(last) and f"{3 if status == 0 else 2} images with " in said
    written = next(loop_settings.rounds_dir.glob("exports/*/skipped.txt"), None)
    assert (written is None) == (status == 0)
    if written is not None:
        assert written.read_text().startswith("task 3: region r: made by 'box'")


def test_an_image_that_went_away_before_it_was_copied_is_missing_too(
    run: Run, loop_settings: TrainerSettings, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        label(fake_studio, loop_settings.images_dir)
    write = export_module.export

    def after_a_loss(*args: Any) -> Path:
        (loop_settings.images_dir / "2.png").unlink()
        return write(*args)

    monkeypatch.setattr(export_module, "export", after_a_loss)
    result = run("export")
    assert result.exit_code == 3
    assert "1 image with " in result.output and "1 × images that could not be copied" in result.output


def test_an_export_without_images(run: Run, loop_settings: TrainerSettings, fake_studio: FakeStudio) -> None:
    for _ in range(2):
        label(fake_studio, loop_settings.images_dir)
    result = run("export", "--no-images")
    assert result.exit_code == 0, result.output
    assert "2 images with 5 boxes as coco, without images, in" in " ".join(result.output.split())
    (folder,) = loop_settings.rounds_dir.glob("exports/*")
    assert not list(folder.glob("**/*.png"))
    assert [line.split("\t")[2] for line in (folder / "images.tsv").read_text().splitlines()] == [
        "file",
        "volumes/images/1.png",
        "volumes/images/2.png",
    ]
