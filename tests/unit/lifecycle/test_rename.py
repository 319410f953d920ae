"""`make labels RENAME=…`: what it says, in which order it works, and that it goes on after a kill."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lifecycle import exclusion
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.shell import converse
from lifecycle.verbs import rename as module
from lifecycle.verbs.labels import labels

FILE = "configs/labels/mine.xml"
XML = """<View>\r
  <RectangleLabels name="label" toName="image"><Label value="cat"/><Label value="dog"/></RectangleLabels>\r
  <Image name="image" value="$image"/>\r
</View>\r
"""


class FakeStack:
    """Label Studio and the trainer, with so many things under the old names each. did: what was asked for."""

    def __init__(self, annotations: int = 3, versions: int = 2, config_changed: bool = True) -> None:
        self.annotations, self.versions, self.config_changed = annotations, versions, config_changed
        self.did: list[str] = []
        self.orders: list[dict[str, Any]] = []
        self.trainers_problem = ""

    def rename(self, order: str) -> dict[str, Any]:
        self.orders.append(json.loads(order))
        dry = self.orders[-1]["dry"]
        self.did.append(f"studio{' dry' if dry else ''}")
        told = {"title": "cats", "config": "", "config_changed": self.config_changed}
        told |= {"annotations": self.annotations, "drafts": 0, "predictions": 0}
        if not dry:
            self.annotations, self.config_changed = 0, False
        return told

    def ask(self, arguments: Sequence[str], seconds: float) -> str:
        dry = "--dry" in arguments
        self.did.append(f"trainer{' dry' if dry else ''}")
        assert arguments[0] == "rename" and json.loads(arguments[1]) and "--project" in arguments
        if self.trainers_problem and not dry:
            raise Failure(self.trainers_problem)
        told = {"versions": self.versions, "rounds": 0}
        self.versions = self.versions if dry else 0
        return f"a warning\n{json.dumps(told)}\n"


@pytest.fixture
def stack(home: Home, monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    """Runs, with project 3 from LABEL_CONFIG."""
    made = FakeStack()
    monkeypatch.setattr(module, "running_stack", lambda home, settings: made)
    monkeypatch.setattr(module, "write_archive", lambda home, stack: made.did.append("backup"))
    (home.root / FILE).write_bytes(XML.encode())
    home.local_settings.write_text(f"LABEL_CONFIG={FILE}\n")
    home.provisioned.parent.mkdir(parents=True)
    home.provisioned.write_text(json.dumps({"project": 3, "done": True}))
    home.run.mkdir(parents=True, exist_ok=True)
    card = home.volumes / "models" / "3" / "v0000" / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({"classes": ["cat", "dog"]}))
    return made


def test_a_backup_comes_first_and_the_file_last(home: Home, stack: FakeStack, capsys: Any) -> None:
    labels(home, {"RENAME": "cat=feline"})
    assert stack.did == ["studio dry", "trainer dry", "backup", "studio", "trainer"]
    told = capsys.readouterr().out
    assert "Project 3 (cats)" in told and "'cat' to 'feline'" in told
    assert "3 annotations, 0 drafts, 0 predictions, 2 versions, 0 rounds" in told
    renamed = XML.replace('<Label value="cat"/>', '<Label value="feline" predicted_values="cat"/>')
    assert (home.root / FILE).read_bytes() == renamed.encode()


def test_label_studio_is_told_what_the_file_will_be(home: Home, stack: FakeStack) -> None:
    """So that the next `make up` does not take the file for a change. The hashes are the provisioner's."""
    before = (home.root / FILE).read_text()
    labels(home, {"RENAME": "cat=feline"})
    after = (home.root / FILE).read_text()
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (before, after)]
    assert stack.orders[-1] == {
        "project": 3,
        "names": {"cat": "feline"},
        "classes": ["cat", "dog"],
        "file": {"before": hashes[0], "after": hashes[1]},
        "dry": False,
    }


def test_a_dry_run_changes_nothing(home: Home, stack: FakeStack, capsys: Any) -> None:
    labels(home, {"RENAME": "cat=feline", "DRY": "1"})
    assert stack.did == ["studio dry", "trainer dry"] and (home.root / FILE).read_bytes() == XML.encode()
    told = capsys.readouterr().out
    assert "3 annotations" in told and "nothing is changed" in told


def test_another_project_leaves_the_file_alone(home: Home, stack: FakeStack) -> None:
    labels(home, {"RENAME": "cat=feline", "PROJECT": "5"})
    assert stack.orders[-1]["project"] == 5 and stack.orders[-1]["file"] is None
    assert (home.root / FILE).read_bytes() == XML.encode()


def test_what_failed_halfway_goes_on_when_typed_again(home: Home, stack: FakeStack) -> None:
    stack.trainers_problem = "round 4 of project 3 is training"
    with pytest.raises(Failure, match="round 4 .* type the command again, it goes on"):
        labels(home, {"RENAME": "cat=feline"})
    assert stack.annotations == 0 and (home.root / FILE).read_bytes() == XML.encode()
    stack.trainers_problem = ""
    labels(home, {"RENAME": "cat=feline"})
    assert stack.versions == 0 and b'"feline"' in (home.root / FILE).read_bytes()


def test_once_all_is_renamed_nothing_is_backed_up(home: Home, stack: FakeStack, capsys: Any) -> None:
    labels(home, {"RENAME": "cat=feline"})
    stack.did.clear()
    labels(home, {"RENAME": "cat=feline"})
    assert stack.did == ["studio dry", "trainer dry", "trainer"]
    assert "nothing has the old names" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"RENAME": "cat"}, "'cat' is no pair"),
        ({"RENAME": "cat=dog,dog=cat"}, "rename in two steps"),
        ({"RENAME": "cat=feline", "PROJECT": "cats"}, "needed a project's number"),
        ({"PROJECT": "cats"}, "found 'cats', needed a project's number"),
        ({"RENAME": "cat=feline", "FILE": FILE}, "found FILE with RENAME"),
        ({"DRY": "1"}, "DRY without RENAME"),
    ],
)
def test_what_cannot_be_is_refused(home: Home, stack: FakeStack, given: dict[str, str], words: str) -> None:
    with pytest.raises(Failure, match=words):
        labels(home, given)
    assert stack.did == []


def test_without_a_project_there_is_nothing_to_rename(home: Home, stack: FakeStack) -> None:
    home.provisioned.unlink()
    with pytest.raises(Failure, match="found no project yet"):
        labels(home, {"RENAME": "cat=feline"})


def test_a_backup_or_an_upgrade_at_work_is_waited_for(home: Home, stack: FakeStack) -> None:
    with exclusion.operation(home, "upgrade"), pytest.raises(Failure, match="make upgrade"):
        labels(home, {"RENAME": "cat=feline"})
    assert stack.did == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; print('starting'); print(sys.stdin.read())", None),
        ('print(\'{"error": "no label is called that"}\')', "no label is called that"),
        ("raise SystemExit('broken')", "ended with 1: broken"),
        ("print('[1]')", "no object"),
        ("import time; time.sleep(9)", "did not end within 1 s"),
    ],
)
def test_an_answer_is_the_last_line_or_a_failure(program: str, words: str | None, tmp_path: Path) -> None:
    command = [sys.executable, "-c", program]
    if words is None:
        assert converse(command, '{"a": 1}', cwd=tmp_path) == {"a": 1}
        return
    with pytest.raises(Failure, match=words):
        converse(command, '{"a": 1}', cwd=tmp_path, seconds=1 if "sleep" in program else 60)
