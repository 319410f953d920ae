"""What supervisord and Docker run by `python -m`: configs/supervisor and docker-compose.yml name it."""

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]
SOURCES = (
    "compose",
    *(f"images/{name}" for name in ("base", "labelstudio", "mlbackend", "trainer", "cluster")),
)
# The checkout's configs/ are mounted into whichever images run: those of the former version too, when
# `make upgrade` goes back to them. So a name that has been released stays, wherever its code moves.
RELEASED = {
    "cluster.head",
    "cluster.pool",
    "cluster.probe",
    "cluster.worker",
    "lifecycle.backup_service",
    "lifecycle.postgres_service",
    "mlbackend.probe",
    "provisioner",
    "provisioner.health",
    "provisioner.serve",
    "trainer.dashboard.app",
    "trainer.probe",
    "trainer.web",
    "trainer.worker",
}


def named() -> set[str]:
    programs = [path.read_text() for path in (REPO / "configs/supervisor").rglob("*.conf")]
    files = (REPO / "docker-compose.yml", *(REPO / "compose").glob("*.yml"))
    compose = "\n".join(path.read_text() for path in files)
    return {
        *re.findall(r"^command=\S+/python -m ([\w.]+)", "\n".join(programs), re.MULTILINE),
        *re.findall(r"\[(?:CMD, )?python, -m, ([\w.]+)", compose),
    }


def program_of(module: str) -> Path:
    """The file that `python -m module` runs."""
    parts = Path(*module.split("."))
    files = [REPO / folder / file for folder in SOURCES for file in (f"{parts}.py", parts / "__main__.py")]
    [found] = [file for file in files if file.is_file()]
    return found


def test_names_that_were_released_stay() -> None:
    assert named() == RELEASED


@pytest.mark.parametrize("module", sorted(RELEASED))
def test_a_name_is_a_program_and_not_a_module_that_ends_without_a_word(module: str) -> None:
    tree = ast.parse(program_of(module).read_text())
    guards = [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)]
    assert "__name__ == '__main__'" in guards
