"""mmcv-full's files in a few translation units: each once, and none beside one that it clashes with."""

import re
from itertools import chain
from pathlib import Path

import pytest

import mmcv_units

JOININGS = (mmcv_units.CPU, mmcv_units.CUDA)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """csrc/pytorch, with made files of unlike sizes."""
    for folder in ("cpu", "cuda"):
        (tmp_path / folder).mkdir()
    made = [f"op{number}.cpp" for number in range(20)]
    made += [f"cpu/kernel{number}.cpp" for number in range(8)]
    made += [f"cuda/kernel{number}.cu" for number in range(20)]
    named = {name for how in JOININGS for name in (*chain(*how.apart), *how.last)}
    for number, name in enumerate([*made, *sorted(named)]):
        (tmp_path / name).write_text("//" * (number % 7 + 1))
    return tmp_path


def sources(root: Path) -> set[str]:
    """What mmcv's setup.py would compile."""
    return {str(path.relative_to(root)) for path in root.rglob("*.c*") if path.suffix in (".cpp", ".cu")}


def test_every_file_is_in_one_unit_and_setup_finds_the_units_alone(source: Path) -> None:
    before = sources(source)
    units = mmcv_units.join(source)
    assert sorted(chain(*units)) == sorted(before)
    found = sources(source)
    assert found == {
        *(f"unit{number}.cpp" for number in range(mmcv_units.CPU.units)),
        *(f"cuda/unit{number}.cu" for number in range(mmcv_units.CUDA.units)),
    }
    included = {
        str(((source / name).parent / text).relative_to(source))
        for name in found
        for text in re.findall(r'#include "(.+)\.inc"', (source / name).read_text())
    }
    assert included == before and all((source / f"{name}.inc").is_file() for name in included)


def test_files_that_clash_are_apart_and_what_leaves_something_behind_is_last(source: Path) -> None:
    units = mmcv_units.join(source)
    for how in JOININGS:
        for group in (*how.apart, how.last):
            assert all(len({*unit} & {*group}) <= 1 for unit in units), group
        assert {unit[-1] for unit in units} >= {*how.last}


@pytest.mark.parametrize("name", ["cpu/psamask.cpp", "cuda/nms_rotated_cuda.cu"])
def test_another_release_is_refused(source: Path, name: str) -> None:
    (source / name).unlink()
    with pytest.raises(ValueError, match=f"has no {name}"):
        mmcv_units.join(source)
