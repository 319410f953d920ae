"""A model that was taken along, in fresh environments that have what its page asks for and nothing else.

`make test TESTS=tests/model` runs it, with a package index: some minutes. It is not among the suites of
`make test`, whose tests of `labelloop model` run the page with links to installed packages instead.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.shapes import LABEL_CONFIG, LABELS
from support.taken import THRESHOLDS, labelled_round, tiny_version

from labelloop.boxes import iou_matrix
from labelloop.detector import Detector
from labelloop.images import read_image
from labelloop.labels import parse_label_config
from labelloop.registry import Registry
from labelloop.settings import Settings
from trainer.rounds.table import Rounds
from trainer.takeaway.check import Served
from trainer.takeaway.forms import ABOUT, Format
from trainer.takeaway.making import make
from trainer.takeaway.wishes import Wish

REPO = Path(__file__).parents[2]
LOCKS = ("images/base/requirements.lock", "images/base/nodeps.lock", "images/trainer/requirements.lock")
SIDES = ("x1", "y1", "x2", "y2")
INSTALL_S = 1800
pytestmark = pytest.mark.timeout(2 * INSTALL_S)


def pinned(name: str) -> str:
    """A package at the version of our locks."""
    text = "".join((REPO / lock).read_text() for lock in LOCKS)
    found = re.search(rf"^{name}={{2,3}}(\S+)", text, re.M)
    assert found, name
    return f"{name}=={found[1]}"


def environment(folder: Path, *names: str) -> Path:
    """Its Python; pip itself stays outside, which takes longer to put in than all else."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=INSTALL_S)
    python = folder / "bin" / "python"
    wanted = [pinned(name) for name in names]
    install = ["-m", "pip", "--python", python, "install", "--quiet", *wanted]
    subprocess.run([sys.executable, *install], check=True, timeout=INSTALL_S)
    return python


# torch alone takes 2.6 GB: the form for it is run where that is installed.
@pytest.mark.parametrize("form", [Format.ONNX, Format.OPENVINO, Format.TORCHSCRIPT])
def test_its_page_runs_with_what_it_asks_for(form: Format, tmp_path: Path) -> None:
    settings = Settings(labelloop_home=tmp_path / "home", threads=1)
    settings.images_dir.mkdir(parents=True)
    (settings.labelloop_home / "configs").symlink_to(REPO / "configs")
    models, rounds = Registry(settings.models_dir).project(1), Rounds(settings.rounds_dir)
    version = tiny_version(models, tmp_path / "made")
    images = [settings.labelloop_home / image.file for image in labelled_round(settings).holdout]
    config = parse_label_config(LABEL_CONFIG)
    wish = Wish(1, "shapes", config, version, form)
    folder, _ = make(wish, models, rounds, settings, lambda words: None)
    carried = folder.rename(tmp_path / "carried")
    python = Path(sys.executable)
    if form is not Format.TORCHSCRIPT:
        python = environment(tmp_path / "venv", "numpy", "pillow", ABOUT[form].needs)
    command = [python, "-I", carried / "predict.py", "--draw", tmp_path / "drawn", *images]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=INSTALL_S)
    assert done.returncode == 0, done.stderr
    served = Served(Detector.load(models.folder(version), "cpu"), config)
    least = np.float32([THRESHOLDS[name] for name in LABELS])
    for image, line in zip(images, done.stdout.splitlines(), strict=True):
        found, boxes = json.loads(line)["boxes"], served(read_image(image))
        expected = boxes.select(boxes.scores >= least[boxes.labels])
        assert len(found) == len(expected) > 0
        corners = np.float32([[box[side] for side in SIDES] for box in found])
        assert iou_matrix(expected.xyxy, corners).max(axis=1).min() >= 0.99
        assert (tmp_path / "drawn" / f"{image.stem}.png").is_file()
