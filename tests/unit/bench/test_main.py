"""What a run of the benchmarks refuses at once, and what it leaves out."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import bench.__main__ as module
import pytest
from bench.options import Options
from bench.report import Figure, figure
from support.coco import write_coco

from lifecycle.dev.records import read
from lifecycle.settings.host import cores


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sections' modules that were run; none of them measures anything."""
    names: list[str] = []

    def section(name: str) -> SimpleNamespace:
        def run(options: Options) -> Iterator[Figure]:
            names.append(name)
            yield figure(name.removeprefix("bench."), "nothing", 1.0, "s", "make bench")

        return SimpleNamespace(run=run)

    monkeypatch.setattr(module, "import_module", section)
    monkeypatch.setenv("RUNTIME", "host")
    return names


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    folder = tmp_path / "coco"
    write_coco(folder, "train", 0, 4)
    write_coco(folder, "test", 10, 2)
    return folder


def test_without_coco_the_sections_that_need_none_are_measured(
    ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert module.main([f"OUT={tmp_path}"]) == 1
    assert ran == ["bench.startup", "bench.growth"]
    said = capsys.readouterr().out
    assert said.startswith(
        "left out for want of COCO=DIR: serving, limit, training, first_images, simulation, label_errors\n"
    )
    assert list(json.loads((tmp_path / "bench.json").read_text())["failed"]) == list(module.ON_COCO)


def test_with_coco_all_are_measured(ran: list[str], coco: Path, tmp_path: Path) -> None:
    assert module.main([f"OUT={tmp_path}", f"COCO={coco}", "LABELS=2,4"]) == 0
    assert ran == [path for name, path in module.SECTIONS.items() if name not in module.APART]


def test_what_is_apart_is_measured_by_its_name(ran: list[str], tmp_path: Path) -> None:
    assert module.main([f"OUT={tmp_path}", "ONLY=desk"]) == 0
    assert ran == ["bench.desk"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["ONLY=startup,nonsense"], "no section 'nonsense'"),
        (["ONLY=startup,label_errors"], "ONLY=startup,label_errors: label_errors needs COCO=DIR"),
        (["LABELS=2,5", "COCO"], "LABELS=2,5: .* has 4 images to label"),
        (["ONLY=training", "COCO"], "LABELS=10,40,160: .* has 4 images to label"),
        (["ONLY=simulation", "LABELS=5", "COCO"], "LABELS=5: .* has 4 images to label"),
        (["ONLY=simulation", "PREDICTED=ball", "COCO"], "PREDICTED=ball: needed LABEL=CLASS"),
        (["ONLY=serving", "PREDICTED=tree=cat", "COCO"], "no category 'tree'"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(
    ran: list[str], coco: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert module.main([f"COCO={coco}" if word == "COCO" else word for word in words]) == 2
    assert re.search(complaint, capsys.readouterr().err)
    assert not ran


@pytest.mark.parametrize("section", module.ON_COCO)
def test_a_damaged_file_is_named_before_anything_runs(
    ran: list[str], coco: Path, section: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (coco / "train.json").write_text("{")
    assert module.main([f"ONLY={section}", f"COCO={coco}", "LABELS=2"]) == 2
    assert f"{coco / 'train.json'} is not COCO's json" in capsys.readouterr().err
    assert not ran


def test_a_run_is_recorded_when_it_is_asked_for(
    ran: list[str], coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPO", tmp_path)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.0, 0.0))
    (tmp_path / "docs").mkdir()
    words = ["ONLY=startup,serving", f"COCO={coco}", "THREADS=1", f"OUT={tmp_path / 'out'}"]
    assert module.main(words) == 0
    assert not read(tmp_path)
    assert module.main([*words, "RECORD=1"]) == 0
    [record] = read(tmp_path)
    assert record.command == "make bench ONLY=startup,serving COCO=coco THREADS=1"
    assert [(part.name, part.on) for part in record.sections] == [("startup", "host"), ("serving", "coco")]
    assert [row.name for part in record.sections for row in part.figures] == ["nothing", "nothing"]
    assert record.machine["threads"] == 1 and "commit" not in record.machine
    assert str(tmp_path) not in (tmp_path / "docs" / "benchmarks" / record.file).read_text()
    assert "## serving, coco" in (tmp_path / "docs" / "benchmarks" / "README.md").read_text()


def test_a_section_left_out_is_not_in_the_record(
    ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPO", tmp_path)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.0, 0.0))
    (tmp_path / "docs").mkdir()
    assert module.main([f"OUT={tmp_path / 'out'}", "RECORD=1"]) == 1
    [record] = read(tmp_path)
    assert [part.name for part in record.sections] == ["startup", "growth"]


def test_a_busy_machine_is_not_recorded_unless_that_is_said(
    ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (cores() + 1.0, 0.0, 0.0))
    assert module.main([f"OUT={tmp_path}", "ONLY=startup", "RECORD=1"]) == 2
    assert "RECORD=busy records it all the same" in capsys.readouterr().err
    assert not ran


def test_a_section_that_breaks_off_is_told_in_a_line(
    ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(options: Options) -> Iterator[Figure]:
        raise RuntimeError(
            "python -m program ended with 1:\nTraceback (most recent call last):\nNoFile: x is gone"
        )

    monkeypatch.setattr(module, "import_module", lambda name: SimpleNamespace(run=run))
    assert module.main([f"OUT={tmp_path}", "ONLY=startup"]) == 1
    failed = json.loads((tmp_path / "bench.json").read_text())["failed"]
    assert failed == {"startup": "RuntimeError: python -m program ended with 1: … NoFile: x is gone"}
