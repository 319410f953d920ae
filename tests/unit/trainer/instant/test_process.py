"""The process that learns at once, started as the worker does, before a Label Studio over HTTP."""

import os
import time
from pathlib import Path

import pytest
from support.fake_studio import FakeStudio
from support.shapes import LABEL_CONFIG, LABELS, picture
from support.small_rounds import SmallRounds

from labelloop.detector import load_detector_config
from labelloop.registry import Card, Registry
from trainer.instant.process import NICENESS
from trainer.system.children import Child
from trainer.training.bundle import config_text
from trainer.training.recipe import fit_model

PATIENCE_S = 240.0


def test_a_submit_is_learnt_and_a_killed_process_leaves_what_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = SmallRounds.below(tmp_path, "yolox")
    models = Registry(home.settings.models_dir).project(1)
    config = load_detector_config(home.detector, home.settings)
    fit_model(config, ["thing"])
    weights = home.weights(tmp_path / "weights.pth", ["thing"])
    models.succeed(None, Card(detector=home.detector, classes=["thing"]), config_text(config), weights)
    studio = FakeStudio()
    studio.add_project(label_config=LABEL_CONFIG)
    submit(studio, home)
    with studio.serve() as url:
        for name, value in (("LABELLOOP_HOME", tmp_path), ("LABELSTUDIO_URL", url), ("API_TOKEN", "a token")):
            monkeypatch.setenv(name, str(value))
        child = Child(["trainer.instant.process", "1"], tmp_path / "instant.log")
        deadline = time.monotonic() + PATIENCE_S
        while models.serving() == "v0000":
            assert child.status() is None, child.last_words()
            assert time.monotonic() < deadline, child.last_words()
            time.sleep(0.1)
        own, of_child = (os.getpriority(os.PRIO_PROCESS, pid) for pid in (0, child.pid))
        os.kill(child.pid, 9)
        child.stop()
    assert models.serving() == "i0000.0001"
    assert models.check("i0000.0001").classes == [*LABELS]
    assert of_child == min(own + NICENESS, 19), "requests and rounds come first"


def submit(studio: FakeStudio, home: SmallRounds) -> None:
    """One picture with its first box."""
    made = picture(1, size=(128, 96))
    made.image.save(home.settings.images_dir / "1.jpg")
    left, top, right, bottom, label = made.boxes[0]
    sides = {
        "x": left / 1.28,
        "y": top / 0.96,
        "width": (right - left) / 1.28,
        "height": (bottom - top) / 0.96,
    }
    value = {**sides, "rotation": 0, "rectanglelabels": [LABELS[label]]}
    region = {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    row = {"id": 1, "result": [region], "created_at": at, "updated_at": at}
    studio.tasks[studio.add_task(annotations=1)]["annotations"] = [row]
