"""Every format that people bring says the same about the same images."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support import datasets

from trainer.intake import formats
from trainer.intake.formats import Format
from trainer.intake.records import Record

Boxes = list[tuple[str, list[float]]]


def read(path: Path) -> dict[str, Record]:
    """The records by the image's bare name, without the prefix of an upload."""
    found = list(formats.records(path, formats.detect(path), None))
    assert all(not record.problem and not record.missing and record.file for record in found), found
    return {record.name.rpartition("/")[2].removeprefix("0a1b2c3d-"): record for record in found}


def boxes(record: Record) -> Boxes:
    """Labels and corners, in pixels."""
    [labels] = record.labels
    across, down = (320 / record.scale[0], 240 / record.scale[1]) if record.scale else (1.0, 1.0)
    by_side = (across, down, across, down)
    return [
        (
            shape.label,
            [round(corner * scale, 3) for corner, scale in zip(shape.corners, by_side, strict=True)],
        )
        for shape in labels.shapes
    ]


@pytest.mark.parametrize("name", datasets.ALL)
def test_a_format_is_found_out(name: str, tmp_path: Path) -> None:
    assert formats.detect(datasets.ALL[name](tmp_path)) == Format(name)


@pytest.mark.parametrize("make", datasets.ALL.values(), ids=datasets.ALL)
def test_images_and_boxes_are_the_same_in_every_format(make: Callable[[Path], Path], tmp_path: Path) -> None:
    found = read(make(tmp_path))
    wanted = {
        Path(name).name: [(label, [*map(float, corners)]) for label, *corners in kept]
        for name, kept in datasets.BOXES.items()
    }
    assert {name: boxes(record) for name, record in found.items()} == wanted


def test_a_csv_needs_no_header(tmp_path: Path) -> None:
    found = read(datasets.csv(tmp_path, header=False))
    assert boxes(found["d.png"]) == [("Crate", [16, 12, 48, 36])]
    assert boxes(found["negative.png"]) == []
