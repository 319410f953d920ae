"""Temporary databases: large ones lie on the disk, and a full disk is named."""

import errno
from contextlib import suppress
from pathlib import Path

import pytest
from support.snapshot_images import image

from trainer.dataset.labelled import LabelledImages
from trainer.dataset.split import Side, Sides
from trainer.system.scratch import Scratch

ROWS = 30_000


def temporary_files() -> int:
    """How many temporary files of SQLite's this process has open; they have no name any longer."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += "/etilqs_" in str(descriptor.readlink())
    return found


def test_many_images_lie_on_the_disk_until_nobody_has_them() -> None:
    before = temporary_files()
    images = LabelledImages(image(number) for number in range(8_000))
    assert temporary_files() == before + 1
    assert len(images) == 8_000
    del images
    assert temporary_files() == before


def test_many_sides_lie_on_the_disk_too() -> None:
    before = temporary_files()
    sides = Sides()
    sides.assign((f"{number:064x}" for number in range(ROWS)), 20)
    assert temporary_files() > before
    assert list(sides.values()).count(Side.HOLDOUT) == ROWS // 5


def test_a_full_disk_is_an_error_of_the_disk_and_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", "/the/cache")
    database = Scratch("PRAGMA max_page_count = 8; CREATE TABLE lines (line TEXT)")
    with pytest.raises(OSError, match="/the/cache") as raised:
        database.run_many("INSERT INTO lines VALUES (?)", (("x" * 1000,) for _ in range(1000)))
    assert raised.value.errno == errno.ENOSPC


def test_a_wrong_statement_is_no_error_of_the_disk() -> None:
    with pytest.raises(Exception, match="no such table"):
        next(Scratch("CREATE TABLE lines (line TEXT)").rows("SELECT * FROM pages"))
