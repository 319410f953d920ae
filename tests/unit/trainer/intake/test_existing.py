"""A project's tasks found by the bytes of their images, each of which is read once."""

from pathlib import Path

import pytest

from labelloop.files import sha256_file
from trainer.env import TrainerSettings
from trainer.intake import existing as module
from trainer.intake.existing import Existing

COUNT = 30


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read, in turn."""
    names: list[str] = []

    def note(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(module, "sha256_file", note)
    return names


@pytest.fixture
def existing(loop_settings: TrainerSettings) -> Existing:
    """Tasks 1 to COUNT, whose images have one size, as those of one camera may; the last is a copy of the
    fifth.
    """
    found = Existing(loop_settings)
    for number in range(1, COUNT + 1):
        content = 5 if number == COUNT else number
        file = loop_settings.images_dir / f"{number:03d}.jpg"
        file.write_bytes(f"image {content:03d}".encode())
        found.add(number, f"/data/local-files/?d=images/{file.name}")
    return found


def asked(existing: Existing, settings: TrainerSettings, number: int) -> int | None:
    file = settings.images_dir / f"{number:03d}.jpg"
    match = existing.by_bytes(file.stat().st_size, sha256_file(file))
    return None if match is None else match.task


def test_of_images_of_one_size_each_is_read_once(
    existing: Existing, loop_settings: TrainerSettings, read: list[str]
) -> None:
    assert [asked(existing, loop_settings, number) for number in range(COUNT - 1, 0, -1)] == [
        *range(COUNT - 1, 0, -1)
    ]
    assert sorted(read) == sorted(set(read)) and len(read) == COUNT - 1


def test_no_more_are_read_than_until_one_has_the_bytes(
    existing: Existing, loop_settings: TrainerSettings, read: list[str]
) -> None:
    assert asked(existing, loop_settings, 3) == 3
    assert read == ["001.jpg", "002.jpg", "003.jpg"]


def test_of_two_tasks_with_the_same_bytes_it_is_the_first(
    existing: Existing, loop_settings: TrainerSettings
) -> None:
    assert existing.by_bytes(9, "0" * 64) is None, "all are read"
    assert asked(existing, loop_settings, COUNT) == 5


def test_an_image_that_is_gone_is_asked_for_once(
    existing: Existing, loop_settings: TrainerSettings, read: list[str]
) -> None:
    (loop_settings.images_dir / "001.jpg").unlink()
    assert asked(existing, loop_settings, 2) == asked(existing, loop_settings, 2) == 2
    assert read == ["001.jpg", "002.jpg"]
