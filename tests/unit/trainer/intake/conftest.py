"""Datasets that a test writes, and what is read of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from trainer.intake import formats
from trainer.intake.formats import Format
from trainer.intake.records import Record

Read = Callable[..., list[Record]]
Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file below the dataset's folder; an image if it has an image's suffix."""

    def file(name: str, content: str | bytes = b"") -> Path:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.new("RGB", (40, 20), (len(name), 0, 0)).save(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return file


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads the dataset's folder, or a file in it."""

    def records(name: str = "", format_: Format | None = None, images: Path | None = None) -> list[Record]:
        path = tmp_path / "set" / name
        return list(formats.records(path, format_ or formats.detect(path), images))

    return records
