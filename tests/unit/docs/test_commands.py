"""Every command of the README and docs/ is run by a test, or stands in the list of those that are not."""

import shutil
import subprocess
from pathlib import Path

import pytest
from support import documented_commands as table
from support.documents import PAGES, REPO, blocks, coded, commands, rows

from lifecycle.home import Home
from lifecycle.settings import settings
from lifecycle.settings.given import parse_arguments

LANGUAGES = {"sh", "text", "xml", "python", "mermaid", "nginx", "caddy"}
CLASSES = (
    table.HERE,
    set(table.UP),
    set(table.STACK),
    set(table.ELSEWHERE),
    set(table.NOT_RUN),
)


def test_every_block_says_its_language() -> None:
    unknown = [(b.page.name, b.language) for p in PAGES for b in blocks(p) if b.language not in LANGUAGES]
    assert not unknown, "shell commands stand in ```sh blocks; anything else names what it is"


def test_every_command_is_in_one_class() -> None:
    for command, pages in commands().items():
        classes = sum(command in known for known in CLASSES)
        assert classes == 1, (
            f"{command!r} of {pages} is in {classes} classes of tests/support/documented_commands.py"
        )


def test_every_class_is_of_commands_that_are_documented() -> None:
    allowed_anyway = {"make help"}
    stale = set().union(*CLASSES) - set(commands()) - allowed_anyway
    assert not stale, "no page has these any longer"


def test_what_is_not_run_is_listed_with_its_reason() -> None:
    listed = {
        coded(cells[0])[0]: cells[1] for cells in rows(REPO / "docs/README.md", "Not run") if coded(cells[0])
    }
    # A pipe ends a cell: such a command is listed up to it.
    assert listed == {command.split(" |")[0]: why for command, why in table.NOT_RUN.items()}


@pytest.mark.parametrize("command", table.ELSEWHERE)
def test_a_command_that_another_test_runs_is_there(command: str) -> None:
    path, words = table.ELSEWHERE[command]
    assert words in (REPO / path).read_text()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the repository that `make labels` reads."""
    root = tmp_path_factory.mktemp("labelloop")
    shutil.copy(REPO / "Makefile", root)
    for folder in ("compose", "configs", "images/base/labelloop"):
        shutil.copytree(
            REPO / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "local.env")
        )
    return root


def test_the_commands_that_need_no_stack_succeed(checkout: Path) -> None:
    """In the order of the pages, which copy a file before they check it."""
    for command in [command for command in commands() if command in table.HERE]:
        done = subprocess.run(command, shell=True, cwd=checkout, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("command", table.UP)
def test_make_up_takes_and_keeps_the_settings(command: str, checkout: Path) -> None:
    given = parse_arguments(command.split()[2:])
    assert given == table.UP[command]
    (checkout / "configs/labels/mine.xml").touch()
    home = Home(checkout)
    settings.check(home, given)
    settings.keep(home, given)
    assert {**settings.load(home), **given} == settings.load(home)
