"""Figures that stay: what is recorded of a run, and the pages that are made of the records."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from lifecycle.console import Failure
from lifecycle.dev import records
from lifecycle.dev.record_pages import PAGE, pages, write_pages
from lifecycle.dev.records import Begun, Recorded, Section
from lifecycle.settings.host import cores

MACHINE = {"cpu": "an abacus", "cores": 2, "threads": 2, "memory_gb": 8.0, "runtime": "host"}
P50 = Recorded("one task, p50", 33.0, "ms", instead=58.5, ratio=33.0 / 58.5, target="≤ 1.15 ×", met=True)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing else to do, wherever the tests run."""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.25, 9.0, 9.0))
    monkeypatch.setattr(os, "nice", lambda more: 0)


def made(
    root: Path, *figures: Recorded, day: str = "2026-11-01", on: str = "cells", wish: str = "1"
) -> records.Record:
    begun = Begun(f"{day}T10:00:00+00:00", Begun.now(wish).before, (0, 0))
    section = Section("serving", on, figures)
    path = records.write(root, "bench", begun, f"make bench COCO={on}", MACHINE, [section], {})
    return next(record for record in records.read(root) if record.file == path.name)


def git(root: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_a_record_is_what_was_measured_where_and_at_which_commit(checkout: Path) -> None:
    record = made(checkout, P50)
    assert record.sections == (Section("serving", "cells", (P50,)),)
    assert record.commit == git(checkout, "rev-parse", "--short=9", "HEAD") and not record.changed
    assert record.machine == MACHINE and record.command == "make bench COCO=cells"
    assert (record.load.before, record.load.cores, record.load.busy) == (0.25, cores(), False)
    assert record.file == f"20261101T100000-{record.commit}-bench.json"


def test_a_record_tells_whether_the_files_were_the_commits_and_pages_are_none_of_them(checkout: Path) -> None:
    made(checkout, P50)
    assert not made(checkout, P50, day="2026-11-02").changed
    (checkout / "code.py").write_text("2\n")
    assert made(checkout, P50, day="2026-11-03").changed


def test_without_git_the_commit_is_unknown(tmp_path: Path) -> None:
    record = made(tmp_path, P50)
    assert (record.commit, record.changed) == ("unknown", True)


def test_a_record_names_neither_the_machine_nor_its_folders(checkout: Path) -> None:
    host = socket.gethostname()
    begun = Begun.now("1")
    failed = Section("training", "cells", (), f"RuntimeError: {host}: /home/ann/data/cells/train.json: gone")
    stock = Section("startup", "host", (P50,))
    command = "make bench COCO=/home/ann/data/cells ONLY=startup,training"
    options = {"coco": "/home/ann/data/cells", "sizes": [1, 2]}
    path = records.write(checkout, "bench", begun, command, MACHINE, [stock, failed], options)
    text = path.read_text()
    assert "/home" not in text and host not in text and str(checkout) not in text
    [record] = records.read(checkout)
    assert record.command == "make bench COCO=cells ONLY=startup,training"
    assert record.options == {"coco": "cells", "sizes": [1, 2]}
    assert record.sections[1].failed == "RuntimeError: host: train.json: gone"


def test_what_varied_in_a_name_is_its_detail_and_what_is_no_number_is_left_out(checkout: Path) -> None:
    nan = Recorded("never", float("nan"))
    record = made(checkout, Recorded("saved (± 0.011, 3 seeds)", 0.67), Recorded("swap (six)", 1.0), nan)
    assert [(row.name, row.detail) for row in record.sections[0].figures] == [
        ("saved", "± 0.011, 3 seeds"),
        ("swap (six)", ""),
    ]


def test_without_a_figure_nothing_is_recorded(checkout: Path) -> None:
    with pytest.raises(Failure, match="found no figure"):
        records.write(checkout, "bench", Begun.now("1"), "make bench", MACHINE, [Section("load")], {})
    assert not (checkout / "docs" / "benchmarks").exists()


def test_a_busy_machine_is_refused_or_marked(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (cores() + 0.5, 0.0, 0.0))
    with pytest.raises(Failure, match=rf"found a load average of {cores() + 0.5:.1f} on {cores()} cores"):
        Begun.now("1")
    assert made(checkout, P50, wish="busy").load.busy
    assert f"busy: load {cores() + 0.5:g} on {cores()} cores before" in pages(checkout)[PAGE]


def test_a_run_of_low_priority_is_marked(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "nice", lambda more: 19)
    assert made(checkout, P50).load.busy
    assert "nice 19" in pages(checkout)[PAGE]


def test_another_word_is_refused() -> None:
    with pytest.raises(Failure, match="RECORD: found yes, needed 1, or busy"):
        Begun.now("yes")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_file_that_is_no_record_is_named(checkout: Path, text: str) -> None:
    made(checkout, P50)
    bad = checkout / "docs" / "benchmarks" / "x.json"
    bad.write_text(text)
    with pytest.raises(Failure, match=str(bad)):
        pages(checkout)


def test_the_page_has_each_figures_course_the_newest_first(checkout: Path) -> None:
    first = made(checkout, P50, Recorded("memory", 900.0, "MB"))
    (checkout / "code.py").write_text("2\n")
    git(checkout, "commit", "--quiet", "--all", "--message", "second")
    slower = Recorded("one task, p50", 80.0, "ms", "10 images", 40.0, 2.0, "≤ 1.15 ×", False)
    second = made(checkout, slower, day="2026-11-02")
    made(checkout, P50, day="2026-11-03", on="raccoons")
    cells = pages(checkout)[PAGE].split("\n## serving, cells\n")[1].split("\n## ")[0].strip().splitlines()
    assert cells[2:] == [
        f"| one task, p50 | [2026-11-02]({second.file}) | `{second.commit}` | A | 80.0 ms (10 images) | "
        "40.0 ms | **2.00 ×** | ≤ 1.15 × |",
        f"|  | [2026-11-01]({first.file}) | `{first.commit}` | A | 33.0 ms | 58.5 ms | 0.56 × | ≤ 1.15 × |",
        f"| memory | [2026-11-01]({first.file}) | `{first.commit}` | A | 900 MB |  |  |  |",
    ]
    assert first.commit != second.commit
    assert "| A | an abacus, 2 cores, 2 threads, 8 GB, host |" in pages(checkout)[PAGE]


def test_a_table_in_a_page_is_the_newest_runs_on_a_machine_that_had_nothing_else_to_do(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = checkout / "docs" / "how-to" / "measure.md"
    page.parent.mkdir()
    page.write_text("Before.\n\n<!-- figures: serving -->\nold\n<!-- end of figures -->\n\nAfter.\n")
    assert page.relative_to(checkout) in write_pages(checkout)
    assert "`make bench ONLY=serving RECORD=1` does it" in page.read_text()
    made(checkout, P50)
    quiet = made(checkout, Recorded("one task, p50", 22.0, "ms"), day="2026-11-02")
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    made(checkout, Recorded("one task, p50", 99.0, "ms"), day="2026-11-03", wish="busy")
    write_pages(checkout)
    text = page.read_text()
    assert text.startswith("Before.\n") and text.endswith("\nAfter.\n") and "old" not in text
    assert "| one task, p50 | 22.0 ms |  |  |  |" in text and "99.0 ms" not in text
    assert f"](../benchmarks/{quiet.file})" in text
    assert write_pages(checkout) == []


def test_a_mark_that_names_no_section_is_refused(checkout: Path) -> None:
    (checkout / "docs" / "page.md").write_text("<!-- figures: all of it -->\n<!-- end of figures -->\n")
    with pytest.raises(Failure, match="docs/page.md: found figures: all of it"):
        pages(checkout)


def test_a_section_that_broke_off_says_so(checkout: Path) -> None:
    section = Section("serving", "cells", (P50,), "RuntimeError: no backend")
    path = records.write(checkout, "bench", Begun.now("1"), "make bench", MACHINE, [section], {})
    assert json.loads(path.read_text())["sections"][0]["failed"] == "RuntimeError: no backend"
    assert "broke off: RuntimeError: no backend" in pages(checkout)[PAGE]
