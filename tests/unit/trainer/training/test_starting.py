"""The model that a project starts with."""

from pathlib import Path

import pytest
import torch
from support.versions import add_version

from labelloop.detector import Detector
from labelloop.registry import Registry
from labelloop.settings import Settings
from trainer.training import bundle, starting, weights
from trainer.training.starting import write_starting_model
from trainer.training.weights import read_checkpoint

State = dict[str, torch.Tensor]


def test_the_starting_model_of_a_project_is_written_once_and_put_in_service(
    settings: Settings, nano: State
) -> None:
    torch.save(nano, settings.cache_dir / "weights" / "yolox_nano.pth")
    assert write_starting_model(1, settings) == "v0000"
    models = Registry(settings.models_dir).project(1)
    card = models.card("v0000")
    assert models.champion() == "v0000" and card.detector == "yolox_nano" and len(card.classes) == 80
    assert "yolox_nano.pth" in card.start_weights and card.reason and not card.mirrored
    assert len(Detector.load(models.folder("v0000"), "cpu").classes) == 80
    assert write_starting_model(1, settings) == "v0000" and models.versions() == ["v0000"]


def test_the_weights_that_were_chosen_are_read_once(
    settings: Settings, nano: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settings.cache_dir / "weights" / "yolox_nano.pth"
    torch.save(nano, path)
    read: list[Path] = []

    def counting(path: Path) -> tuple[State, list[str]]:
        read.append(path)
        return read_checkpoint(path)

    monkeypatch.setattr(weights, "read_checkpoint", counting)
    monkeypatch.setattr(bundle, "add_graph", lambda folder, images: "none: a test")
    write_starting_model(1, settings)
    assert read == [path]


def test_a_version_put_into_service_while_the_starting_model_is_made_stays(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Registry(settings.models_dir).project(1)

    def meanwhile(folder: Path, images: object) -> str:
        models.promote(add_version(models, tmp_path / "restored"))
        return "none: a test"

    monkeypatch.setattr("trainer.training.bundle.add_graph", meanwhile)
    assert write_starting_model(1, settings) == "v0000" == models.champion()
    assert models.versions() == ["v0000"]
    assert models.card("v0000").start_weights == "2 classes of made.pth"


def test_the_last_line_says_what_is_wrong_without_an_errors_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "MOBILENET_PACKAGE", "no_such_package")
    monkeypatch.setattr(starting, "get_settings", lambda: settings)
    monkeypatch.setattr(starting, "die_with_parent", lambda: None)
    assert starting.main(["1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "the package no-such-package is not installed"


def test_a_project_that_was_left_without_a_champion_gets_its_starting_model_back(
    settings: Settings, nano: State
) -> None:
    torch.save(nano, settings.cache_dir / "weights" / "yolox_nano.pth")
    write_starting_model(1, settings)
    models = Registry(settings.models_dir).project(1)
    (models.path / "champion").unlink()
    assert write_starting_model(1, settings) == "v0000" and models.versions() == ["v0000"]


def test_without_detection_weights_the_starting_model_says_so_and_predicts_nothing(
    settings: Settings,
) -> None:
    import numpy as np

    pytest.importorskip(weights.MOBILENET_PACKAGE)
    write_starting_model(1, settings)
    models = Registry(settings.models_dir).project(1)
    card = models.card("v0000")
    assert (
        card.detector == "yolox_mobilenetv2" and card.classes == [] and card.start_weights.startswith("none")
    )
    detector = Detector.load(models.folder("v0000"), "cpu")
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert [len(boxes) for boxes in detector.predict([noise])] == [0]
