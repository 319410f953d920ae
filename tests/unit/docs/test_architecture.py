"""The import contracts of pyproject.toml: what `make lint` keeps to."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.documents import REPO

PACKAGES = ("compose", "images/base", "images/labelstudio", "images/mlbackend", "images/trainer")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages' sources and of the contracts."""
    for name in PACKAGES:
        shutil.copytree(
            REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    return tmp_path


def contracts(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": ":".join(str(root / name) for name in PACKAGES)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("images/trainer/trainer/system/scratch.py", "trainer.dashboard.app"),
        ("images/trainer/trainer/dataset/split.py", "trainer.training.job"),
        ("images/base/labelloop/boxes.py", "trainer.words"),
        ("images/mlbackend/mlbackend/wire.py", "trainer.rounds.table"),
        ("compose/lifecycle/home.py", "mlbackend.wire"),
        ("compose/lifecycle/build/wheel.py", "lifecycle.verbs.up"),
    ],
)
def test_a_forbidden_import_is_told(copy: Path, module: str, forbidden: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n\ndef _hidden() -> None:\n    import {forbidden}\n")
    found = contracts(copy)
    assert found.returncode == 1
    importer = (
        module.removesuffix(".py").split("/", 2)[2 if module.startswith("images") else 1].replace("/", ".")
    )
    assert importer in found.stdout and forbidden in found.stdout


@pytest.mark.parametrize(
    ("room", "module", "imported"),
    [
        ("trainer.training", "images/trainer/trainer/training/job.py", "trainer.training.weights"),
        ("lifecycle.build", "compose/lifecycle/build/wheel.py", "lifecycle.build.venvs"),
        ("labelloop", "images/base/labelloop/boxes.py", "labelloop.regions"),
    ],
)
def test_a_circle_of_imports_is_told(copy: Path, room: str, module: str, imported: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n\ndef _hidden() -> None:\n    import {imported}\n")
    found = contracts(copy)
    assert found.returncode == 1
    assert f"No cycles are allowed in {room}." in found.stdout


PAGE = REPO / "docs" / "explanation" / "architecture.md"


def test_every_path_that_the_page_names_exists() -> None:
    named = re.findall(
        r"(?<![\w/.])(?:images|compose|configs|volumes|docs|tests)/[\w./-]+\w", PAGE.read_text()
    )
    assert len(named) > 40
    assert [path for path in named if not (REPO / path).exists()] == []


@pytest.mark.parametrize("package", ["images/trainer/trainer", "compose/lifecycle"])
def test_every_room_is_explained(package: str) -> None:
    rooms = [path.parent.name for path in (REPO / package).glob("*/__init__.py")]
    assert rooms
    assert [room for room in rooms if f"`{package}/{room}`" not in PAGE.read_text()] == []


FLAT = ("images/base/labelloop", "images/labelstudio/provisioner", "images/mlbackend/mlbackend")


@pytest.mark.parametrize("package", FLAT)
def test_every_module_of_a_flat_package_is_explained(package: str) -> None:
    modules = [path.name for path in (REPO / package).glob("*.py") if not path.name.startswith("__")]
    assert len(modules) > 10
    page = PAGE.read_text()
    section = page.split(f": `{package}`\n", 1)[1].split("\n## ", 1)[0]
    named = {Path(path).name for path in re.findall(r"`([\w/]+\.py)`", section)}
    assert [name for name in modules if name not in named] == []


def test_every_module_that_a_rooms_row_names_is_there() -> None:
    rows = re.findall(r"^\| `([\w/]+)` \| (.*)\|$", PAGE.read_text(), re.MULTILINE)
    named = [(room, name) for room, text in rows for name in re.findall(r"`(\w+\.py)`", text)]
    assert len(named) > 20
    assert [(room, name) for room, name in named if not (REPO / room / name).exists()] == []
