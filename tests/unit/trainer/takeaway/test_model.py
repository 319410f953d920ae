"""`labelloop model`: a folder that finds what the backend shows, by its own predict.py, or none."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image
from support.cli import Run
from support.detectors import tiny_yolox, write_version
from support.families import family
from support.shapes import LABEL_CONFIG, LABELS
from support.taken import THRESHOLDS, decided, labelled_round, promoted, tiny_version
from typer.testing import CliRunner

from labelloop.boxes import iou_matrix
from labelloop.detector import Detector
from labelloop.images import read_image
from labelloop.labels import parse_label_config
from labelloop.registry import ProjectModels, Registry
from trainer import cli, env
from trainer.env import TrainerSettings
from trainer.takeaway import one_box, whole
from trainer.takeaway.check import Served

SIDES = ("x1", "y1", "x2", "y2")
CONFIGS = Path(__file__).parents[4] / "configs"


@pytest.fixture
def run(loop_settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `labelloop …` in this process."""
    monkeypatch.setenv("THREADS", "1")
    (loop_settings.labelloop_home / "configs").symlink_to(CONFIGS)
    env.get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    env.get_settings.cache_clear()


@pytest.fixture
def versions(loop_settings: TrainerSettings) -> ProjectModels:
    return Registry(loop_settings.models_dir).project(1)


@pytest.fixture
def holdout(loop_settings: TrainerSettings) -> list[Path]:
    """The hold-out's image files."""
    return [loop_settings.labelloop_home / image.file for image in labelled_round(loop_settings).holdout]


def bare_packages(folder: Path, *names: str) -> Path:
    """A folder with these packages and what they ask for, and nothing else: links to what is installed."""
    folder.mkdir()
    waiting, known = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        known.add(name)
        found = distribution(name)
        tops = {Path(file).parts[0] for file in found.files or [] if not str(file).startswith("..")}
        for top in tops - {"__pycache__"}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))
        wanted = [Requirement(line) for line in found.requires or []]
        waiting += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return folder


def predicted(folder: Path, packages: Path, *images: Path) -> list[dict[str, Any]]:
    """What `python predict.py` prints in a Python that has these packages alone."""
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(packages)!r}); sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(folder / "predict.py"), *map(str, images)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def shown(versions: ProjectModels, version: str, image: Path) -> list[tuple[str, float, list[float]]]:
    """What the backend shows: label, score, corners; the surest first."""
    served = Served(Detector.load(versions.folder(version), "cpu"), parse_label_config(LABEL_CONFIG))
    boxes = served(read_image(image))
    rows = zip(boxes.labels.tolist(), boxes.scores.tolist(), boxes.xyxy.tolist(), strict=True)
    named = [(LABELS[label], score, corners) for label, score, corners in rows]
    return sorted((row for row in named if row[1] >= THRESHOLDS[row[0]]), key=lambda row: -row[1])


def test_its_own_page_finds_what_the_backend_shows(
    run: Run, versions: ProjectModels, holdout: list[Path], loop_settings: TrainerSettings, tmp_path: Path
) -> None:
    version = tiny_version(versions, tmp_path / "made")
    done = run("model", "--format", "onnx")
    assert done.exit_code == 0, done.output
    folder = loop_settings.rounds_dir / "exports" / f"model-1-{version}-onnx"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "labels.txt", "model.json", "model.onnx", "predict.py",
    ]  # fmt: skip
    packages = bare_packages(tmp_path / "packages", "numpy", "pillow", "onnxruntime")
    # A size that was in no check.
    other = tmp_path / "other.png"
    Image.open(holdout[0]).resize((260, 190)).save(other)
    images = [*holdout, other]
    for image, found in zip(images, predicted(folder, packages, *images), strict=True):
        expected = shown(versions, version, image)
        assert expected, "without boxes nothing is compared"
        assert len(found["boxes"]) == len(expected)
        for label, score, corners in expected:
            assert any(
                box["label"] == label
                and abs(box["score"] - score) < 0.01
                and iou_matrix(np.float32([[box[side] for side in SIDES]]), np.float32([corners]))[0, 0]
                >= 0.99
                for box in found["boxes"]
            ), (label, score, corners)
    front = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert front["license"] == "apache-2.0" and front["pipeline_tag"] == "object-detection"
    assert "by one look at an image. It also looks at the mirror image" in (folder / "README.md").read_text()
    metrics = {row["type"]: row["value"] for row in front["model-index"][0]["results"][0]["metrics"]}
    assert metrics == {"mAP": 0.5, "AP50": 0.75}
    assert (folder / "labels.txt").read_text().split() == list(LABELS)


def test_a_form_without_a_graph_is_checked_by_its_own_page(
    run: Run, versions: ProjectModels, holdout: list[Path], tmp_path: Path
) -> None:
    tiny_version(versions, tmp_path / "made")
    done = run("model", "--format", "mmdet")
    assert done.exit_code == 0, done.output
    assert "IoU at least 0.99" in done.output or "IoU at least 1.0" in done.output


def test_a_graph_that_finds_other_boxes_is_not_handed_out(
    run: Run,
    versions: ProjectModels,
    holdout: list[Path],
    loop_settings: TrainerSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny_version(versions, tmp_path / "made")
    true = whole.decoding
    monkeypatch.setattr(whole, "decoding", lambda model: replace(true(model), iou=0.01))
    monkeypatch.setattr("trainer.takeaway.making.CANDIDATES", (300,))
    done = run("model", "--format", "torchscript")
    assert done.exit_code == 1
    words = " ".join(done.output.split())
    assert "does not find what the backend shows, so it is not handed out" in words
    assert "shown by one of both alone" in words and "IoU at least" in words
    assert not list((loop_settings.rounds_dir / "exports").iterdir())


def test_what_cannot_become_a_graph_is_refused_with_the_way_out(
    run: Run, versions: ProjectModels, holdout: list[Path], tmp_path: Path
) -> None:
    from trainer.training.recipe import fit_look, fit_model

    config = family("faster_rcnn")
    config.loop = dict(test_size=64)
    fit_model(config, LABELS)
    fit_look(config)
    promoted(versions, write_version(tmp_path / "two", config, LABELS, 0))
    done = run("model", "--format", "onnx")
    words = " ".join(done.output.split())
    assert done.exit_code == 1 and "FasterRCNN works in several stages" in words
    assert "FORMAT=mmdet takes it" in words


def test_wishes_that_cannot_be_met_are_refused_at_once(
    run: Run, versions: ProjectModels, tmp_path: Path
) -> None:
    assert "there is no model yet" in " ".join(run("model", "--format", "onnx").output.split())
    folder = decided(tiny_yolox(tmp_path / "made", LABELS))
    promoted(versions, folder)
    assert "there is no version 'v0009'" in " ".join(
        run("model", "--format", "onnx", "--version", "v0009").output.split()
    )
    words = " ".join(run("model", "--format", "mmdet", "--int8").output.split())
    assert "INT8=1 is for FORMAT=onnx or openvino; mmdet stays in 32 bits" in words


def test_chains_of_boxes_settle_as_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hides B, so B does not hide C; and so on, for as many as ROUNDS."""
    import torch

    count = one_box.ROUNDS
    scores = torch.linspace(0.9, 0.1, count).unsqueeze(0)
    hides = torch.diag(torch.ones(count - 1), 1).bool().unsqueeze(0)
    stays = one_box._staying(scores, hides)[0] > 0
    assert stays.tolist() == [index % 2 == 0 for index in range(count)]
