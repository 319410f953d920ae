"""Images in, boxes on them: what a person sees."""

import pytest
from support import shapes
from support.cli import Run
from support.fake_studio import FakeStudio

from trainer.env import TrainerSettings

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
    fake_studio.storage = {"status": "failed", "traceback": "OSError: no space"}
    result = run("import")
    assert result.exit_code == 1
    assert "damaged.png: " in result.output and "new image" not in result.output
    assert "was not synchronised: OSError: no space" in result.stderr
