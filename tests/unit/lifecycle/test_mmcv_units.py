"""mmcv-full's files in a few translation units: each once, and none beside one that it clashes with."""

import re
from pathlib import Path

import pytest

import mmcv_units


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """csrc/pytorch, with made files of unlike sizes."""
    (tmp_path / "cpu").mkdir()
    plain = [f"op{number}.cpp" for number in range(20)] + [f"cpu/kernel{number}.cpp" for number in range(8)]
    for number, name in enumerate([*plain, *mmcv_units.APART, *mmcv_units.LAST]):
        (tmp_path / name).write_text("//" * (number % 7 + 1))
    return tmp_path


def test_every_file_is_in_one_unit_and_setup_finds_the_units_alone(source: Path) -> None:
    before = {str(path.relative_to(source)) for path in source.rglob("*.cpp")}
    units = mmcv_units.join(source)
    assert sorted(name for unit in units for name in unit) == sorted(before)
    found = sorted(str(path.relative_to(source)) for path in source.rglob("*.cpp"))
    assert found == [f"unit{number}.cpp" for number in range(mmcv_units.UNITS)]
    for number, unit in enumerate(units):
        included = re.findall(r'#include "(.+)\.inc"', (source / f"unit{number}.cpp").read_text())
        assert included == unit and all((source / f"{name}.inc").is_file() for name in included)


def test_files_that_clash_are_apart_and_what_leaves_macros_is_last(source: Path) -> None:
    units = mmcv_units.join(source)
    for unit in units:
        assert len({*unit} & {*mmcv_units.APART}) <= 1 and len({*unit} & {*mmcv_units.LAST}) <= 1
    assert {unit[-1] for unit in units} > {*mmcv_units.LAST}


def test_another_release_is_refused(source: Path) -> None:
    (source / "cpu/psamask.cpp").unlink()
    with pytest.raises(ValueError, match="has no cpu/psamask.cpp"):
        mmcv_units.join(source)
