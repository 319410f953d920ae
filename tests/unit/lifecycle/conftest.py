"""A checkout that has the files lifecycle reads, and nothing else."""

import shutil
from pathlib import Path

import pytest

from lifecycle.home import Home

REPO = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty checkout with the shipped settings, a label configuration and two detectors."""
    for name in ("RUNTIME", "ACCELERATOR", "COMPOSE_PROJECT_NAME", "LABELLOOP_VENVS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "configs" / "labels").mkdir(parents=True)
    (tmp_path / "configs" / "detectors").mkdir()
    shutil.copy(REPO / "configs" / "loop.env", tmp_path / "configs")
    (tmp_path / "configs" / "labels" / "face.xml").write_text("<View/>")
    for detector in ("yolox_nano", "yolox_s"):
        (tmp_path / "configs" / "detectors" / f"{detector}.py").write_text("")
    return Home(tmp_path)
