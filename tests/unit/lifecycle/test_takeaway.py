"""`make model` and `make token`: what they take, and what they ask of the trainer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lifecycle.backup.contents import Folder
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.verbs import takeaway
from lifecycle.verbs.table import VERBS
from trainer.takeaway.forms import Format


@dataclass
class FakeStack:
    asked: list[tuple[list[str], str | None]] = field(default_factory=list)

    def labelloop(self, arguments: Sequence[str], project: str | None) -> None:
        self.asked.append((list(arguments), project))


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    made = FakeStack()
    monkeypatch.setattr(takeaway, "running_stack", lambda home, settings: made)
    return made


def run(verb: str, tmp_path: Path, **given: str) -> None:
    VERBS[verb].check(verb, given)
    VERBS[verb].run(Home(tmp_path), given)


@pytest.mark.parametrize(
    ("verb", "given", "asked"),
    [
        ("model", {"FORMAT": "onnx"}, ["model", "--format", "onnx"]),
        (
            "model",
            {"FORMAT": "openvino", "VERSION": "v0002", "INT8": "1"},
            ["model", "--format", "openvino", "--version", "v0002", "--int8"],
        ),
        ("model", {"FORMAT": "mmdet", "INT8": "0"}, ["model", "--format", "mmdet"]),
        ("token", {}, ["token"]),
        ("token", {"NAME": "camera"}, ["token", "--name", "camera"]),
        ("token", {"REVOKE": "camera"}, ["token", "--revoke", "camera"]),
    ],
)
def test_what_is_given_is_handed_to_the_trainer(
    verb: str, given: dict[str, str], asked: list[str], stack: FakeStack, tmp_path: Path
) -> None:
    run(verb, tmp_path, **given, PROJECT="2")
    assert stack.asked == [(asked, "2")]


@pytest.mark.parametrize("given", [{}, {"FORMAT": "keras"}, {"FORMAT": "onnx", "INT8": "perhaps"}])
def test_a_wish_that_nobody_knows_is_refused(given: dict[str, str], stack: FakeStack, tmp_path: Path) -> None:
    with pytest.raises(Failure):
        run("model", tmp_path, **given)
    with pytest.raises(Failure):
        run("model", tmp_path, FORMAT="onnx", NAME="camera")
    assert not stack.asked


def test_the_formats_are_the_trainers() -> None:
    assert tuple(Format) == takeaway.FORMATS


def test_a_backup_has_neither_tokens_nor_what_can_be_made_again(tmp_path: Path) -> None:
    """A restore would bring back a token that was revoked."""
    for name in (
        "detect_tokens.json",
        "exports/model-1-v0003-onnx-int8/README.md",
        "exports/1-coco-x/a.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert [name for name, _ in Folder("rounds", tmp_path).files()] == ["rounds/exports/1-coco-x/a.json"]
