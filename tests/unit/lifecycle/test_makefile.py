"""The Makefile, with verbs that only tell what they were given."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]
LIFECYCLE = f"""
import json, os, sys
sys.path[:0] = [{str(REPO / "compose")!r}, {str(REPO / "images/base")!r}]
from lifecycle.verbs import table as verbs
def tell(home, given):
    print(json.dumps([given, [name for name in os.environ if name == "MAKE_SETTINGS"]]))
for name in verbs.VERBS:
    verbs.VERBS[name] = verbs.Verb(tell, None)
sys.exit(verbs.main(sys.argv[1:]))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(REPO / "Makefile", tmp_path)
    (tmp_path / "compose" / "lifecycle").mkdir(parents=True)
    (tmp_path / "compose" / "lifecycle" / "__main__.py").write_text(LIFECYCLE)
    return tmp_path


def make(checkout: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *words], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "cats & dogs",
        "volumes/backups/labelloop-20261122 (1).tar.gz",
        'it\'s "quoted" `twice`',
        "a > b < c | d; e * ? [f] {g} !h ~",
        "100 % = all # no comment",
        "$HOME $$ ${HOME} $(shell false) $",
        "C:\\\\share \\ with\\blanks \\",
        "two  blanks\tand a tab ",
        "Stra\u00dfe \u2026",
        "two\nlines",
    ],
)
def test_a_value_arrives_as_it_was_typed(checkout: Path, value: str) -> None:
    done = make(checkout, "up", f"PROJECT_TITLE={value}", "PORT=8090", "EMPTY=")
    given, handed_down = json.loads(done.stdout)
    assert given == {"PROJECT_TITLE": value, "PORT": "8090", "EMPTY": ""}
    assert not handed_down, "a make that the verb starts has settings of its own"


def test_the_last_of_two_values_counts(checkout: Path) -> None:
    assert json.loads(make(checkout, "up", "PORT=1", "PORT=2").stdout)[0] == {"PORT": "2"}


def test_no_setting_is_none(checkout: Path) -> None:
    assert json.loads(make(checkout, "test").stdout)[0] == {}


def test_what_is_no_plain_setting_is_named(checkout: Path) -> None:
    done = make(checkout, "up", "PORT:=8090")
    assert done.returncode and "found 'PORT:=8090', needed NAME=VALUE" in done.stderr
