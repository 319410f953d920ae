"""`make simulate`: the dataset is put in place and the command line handed on."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lifecycle.console import Failure
from lifecycle.dev import records
from lifecycle.dev import simulate as module
from lifecycle.dev.simulate import OPTIONS, simulate
from lifecycle.home import Home
from trainer.env import TrainerSettings


class Stack:
    """Notes what would be run."""

    def __init__(self) -> None:
        self.commands: list[Sequence[str]] = []

    def labelloop(self, arguments: Sequence[str], project: str | None) -> None:
        self.commands.append(arguments)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    made = Stack()
    monkeypatch.setattr(module, "running_stack", lambda home, settings: made)
    return made


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    folder = tmp_path / "cells"
    (folder / "images" / "deep").mkdir(parents=True)
    for split, names in {"train": ["a.jpg", "deep/b.jpg"], "test": ["c.jpg"]}.items():
        (folder / f"{split}.json").write_text(json.dumps({"images": [{"file_name": name} for name in names]}))
        for name in names:
            (folder / "images" / name).write_bytes(name.encode())
    (folder / "images" / "unlisted.jpg").write_bytes(b"")
    return folder


def placed(home: Home) -> Path:
    return home.volumes / "labelstudio" / "media" / "upload" / "simulate" / "cells"


def test_what_the_files_name_is_copied_where_the_services_read(
    tmp_path: Path, coco: Path, stack: Stack
) -> None:
    home = Home(tmp_path / "home")
    simulate(home, {"COCO": str(coco)})
    files = {str(path.relative_to(placed(home))) for path in placed(home).rglob("*") if path.is_file()}
    assert files == {"train.json", "test.json", "images/a.jpg", "images/deep/b.jpg", "images/c.jpg"}
    assert stack.commands == [["simulate", "cells"]]


def test_a_changed_file_is_copied_again(tmp_path: Path, coco: Path, stack: Stack) -> None:
    home = Home(tmp_path / "home")
    simulate(home, {"COCO": str(coco)})
    (coco / "images" / "a.jpg").write_bytes(b"another")
    simulate(home, {"COCO": str(coco)})
    assert (placed(home) / "images" / "a.jpg").read_bytes() == b"another"


def test_the_containers_user_can_read_the_copies(tmp_path: Path, coco: Path, stack: Stack) -> None:
    (coco / "images" / "a.jpg").chmod(0o600)
    home = Home(tmp_path / "home")
    simulate(home, {"COCO": str(coco)})
    assert (placed(home) / "images" / "a.jpg").stat().st_mode & 0o777 == 0o644


def test_settings_become_options(tmp_path: Path, coco: Path, stack: Stack) -> None:
    given = {
        "COCO": str(coco),
        "SEEDS": "0",
        "COSTS": "careful",
        "RELABEL": "2",
        "CLICKS": "0",
        "ACCEPTED_IOU": "0.8",
        "PREDICTED": "raccoon=cat,dog:face=person",
        "KEEP": "1",
    }
    simulate(Home(tmp_path / "home"), given)
    (command,) = stack.commands
    assert command[2:] == [
        "--seeds=0",
        "--costs=careful",
        "--relabel=2",
        "--clicks=0",
        "--accepted-iou=0.8",
        "--predicted=raccoon=cat,dog",
        "--predicted=face=person",
        "--keep",
    ]


def test_a_setting_that_the_record_wants_is_read_before_hours_of_work(
    tmp_path: Path, coco: Path, stack: Stack
) -> None:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.env_file.write_text("THREADS=four\n")
    with pytest.raises(Failure, match=r"THREADS: found 'four', needed a whole number\. .*`make doctor`"):
        simulate(home, {"COCO": str(coco), "RECORD": "busy"})
    assert stack.commands == []


def test_no_option_is_taken_for_a_setting_of_the_stack() -> None:
    """`make` puts what it is given into the environment, where the stack's settings are read, too. Of the
    table of costs both mean the same.
    """
    settings = {name.upper() for name in TrainerSettings.model_fields}
    assert {*OPTIONS, "PREDICTED", "KEEP", "COCO"} & settings == {"COSTS"}


def test_what_is_missing_is_said(tmp_path: Path, coco: Path, stack: Stack) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(Failure, match="no COCO"):
        simulate(home, {})
    (coco / "test.json").write_text(json.dumps({"images": [{"file_name": "c.jpg"}, {"id": 2}]}))
    with pytest.raises(Failure, match=r"test\.json: found image in row 2 without file_name"):
        simulate(home, {"COCO": str(coco)})
    (coco / "test.json").write_text("{")
    with pytest.raises(Failure, match=r"test\.json"):
        simulate(home, {"COCO": str(coco)})
    (coco / "test.json").unlink()
    with pytest.raises(Failure, match=r"no .*test\.json"):
        simulate(home, {"COCO": str(coco)})
    assert not stack.commands


def test_no_image_is_written_outside(tmp_path: Path, coco: Path, stack: Stack) -> None:
    (coco / "test.json").write_text(json.dumps({"images": [{"file_name": "../../../x.jpg"}]}))
    with pytest.raises(Failure, match="below images/"):
        simulate(Home(tmp_path / "home"), {"COCO": str(coco)})


@pytest.fixture
def summaries(home: Home, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What the simulation writes as its summary: filled by the test."""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.0, 0.0))
    (home.root / "docs").mkdir()
    (home.volumes / "rounds").mkdir(parents=True)
    (home.volumes / "rounds" / "simulate-20200101-000000.json").write_text("an earlier one's")
    written: list[dict[str, object]] = []

    def labelloop(arguments: Sequence[str], project: str | None) -> None:
        for summary in written:
            (home.volumes / "rounds" / "simulate-20261129-080000.json").write_text(json.dumps(summary))

    monkeypatch.setattr(stack, "labelloop", labelloop)
    return written


def test_what_a_simulation_found_is_recorded(home: Home, coco: Path, summaries: list[object]) -> None:
    figure = {"name": "uncertainty: saved, quick", "value": 67.3, "unit": "%", "detail": "± 1.1, 3 seeds"}
    summaries.append({"figures": [figure, {"name": "rounds", "value": 6}], "options": {"seeds": [0, 1, 2]}})
    simulate(home, {"COCO": str(coco), "SEEDS": "0,1,2"})
    assert not records.read(home.root)
    (home.volumes / "rounds" / "simulate-20261129-080000.json").unlink()
    simulate(home, {"COCO": str(coco), "SEEDS": "0,1,2", "RECORD": "1"})
    [record] = records.read(home.root)
    assert record.command == "make simulate COCO=cells SEEDS=0,1,2"
    [section] = record.sections
    assert (section.name, section.on) == ("simulate", "cells")
    assert section.figures == (
        records.Recorded("uncertainty: saved, quick", 67.3, "%", "± 1.1, 3 seeds"),
        records.Recorded("rounds", 6.0),
    )
    page = (home.root / "docs" / "benchmarks" / "README.md").read_text()
    assert "| uncertainty: saved, quick |" in page and "67.3 % (± 1.1, 3 seeds)" in page


@pytest.mark.parametrize("status", [0, 3])
def test_it_is_recorded_although_the_stack_becomes_another_program(
    home: Home,
    coco: Path,
    stack: Stack,
    summaries: list[object],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As both runtimes do; whoever waited in the same process would never come back."""
    path = home.volumes / "rounds" / "simulate-20261129-090000.json"
    text = json.dumps({"figures": [{"name": "saved", "value": 50.0}], "options": {}})
    code = (
        "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2]); sys.exit(int(sys.argv[3]))"
    )

    def labelloop(arguments: Sequence[str], project: str | None) -> None:
        os.execv(sys.executable, [sys.executable, "-c", code, str(path), text, str(status)])

    monkeypatch.setattr(stack, "labelloop", labelloop)
    if status:
        with pytest.raises(SystemExit) as ended:
            simulate(home, {"COCO": str(coco), "RECORD": "1"})
        assert ended.value.code == status and not records.read(home.root)
    else:
        simulate(home, {"COCO": str(coco), "RECORD": "1"})
        assert [record.sections[0].figures[0].value for record in records.read(home.root)] == [50.0]
    assert path.exists()


@pytest.mark.parametrize("written", [[], [{"options": {}}], [{"figures": [{"name": "saved"}]}]], ids=str)
def test_a_simulation_without_figures_is_not_recorded(
    home: Home, coco: Path, summaries: list[object], written: list[object]
) -> None:
    summaries.extend(written)
    with pytest.raises(Failure, match=r"found (no summary|KeyError\('(figures|value)'\))"):
        simulate(home, {"COCO": str(coco), "RECORD": "1"})
    assert not records.read(home.root)


def test_a_simulation_on_a_busy_machine_is_refused_before_it_begins(
    home: Home, coco: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (999.0, 0.0, 0.0))
    with pytest.raises(Failure, match="RECORD=1"):
        simulate(home, {"COCO": str(coco), "RECORD": "1"})
    assert not stack.commands
