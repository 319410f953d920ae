"""Joins mmcv-full's operators into a few translation units, so that torch's headers are parsed a few times.

    mmcv_units.py SOURCE

SOURCE  the unpacked sdist. Its setup.py compiles every csrc/pytorch/*.cpp and csrc/pytorch/cpu/*.cpp.

Parsing the headers takes a compiler ten times as long as an operator does. Each unit includes some of the
files as they are, so the code is the same.
"""

import sys
from pathlib import Path

UNITS = 4
KERNEL = 5
"""A byte of a kernel (cpu/) takes as long to compile as so many of the functions that dispatch to it."""
APART = ("cpu/roi_align.cpp", "cpu/roi_align_rotated.cpp", "cpu/rotated_feature_align.cpp")
"""Files that define functions of the same name and signature."""
LAST = ("cpu/psamask.cpp", "contour_expand.cpp")
"""Files that leave something behind: macros min and max, and `using namespace std`."""


def join(root: Path) -> list[list[str]]:
    """Makes the units in root, mmcv's csrc/pytorch. Returns: the files of each unit, relative to root.

    Raises:
        ValueError: a file of APART or LAST is not there, so this is another release of mmcv-full.
    """
    paths = [*root.glob("*.cpp"), *root.glob("cpu/*.cpp")]
    sizes = {str(path.relative_to(root)): path.stat().st_size for path in paths}
    missing = {*APART, *LAST} - sizes.keys()
    if missing:
        raise ValueError(f"{root} has no {', '.join(sorted(missing))}: mmcv_units.py is for mmcv-full 1.7.2")
    units = _divided({name: size * (KERNEL if "/" in name else 1) for name, size in sizes.items()})
    for number, unit in enumerate(units):
        for name in unit:
            (root / name).rename(root / f"{name}.inc")
        text = "".join(f'#include "{name}.inc"\n' for name in unit)
        (root / f"unit{number}.cpp").write_text(text, encoding="utf-8")
    return units


def _divided(work: dict[str, int]) -> list[list[str]]:
    """work: by file, how long it takes. The largest goes first, to the unit that has the least so far."""
    units: list[list[str]] = [[] for _ in range(UNITS)]
    for name in sorted(work, key=lambda name: (name not in APART + LAST, -work[name], name)):
        clashing = next((group for group in (APART, LAST) if name in group), ())
        free = [unit for unit in units if not any(other in clashing for other in unit)]
        min(free, key=lambda unit: sum(work[other] for other in unit)).append(name)
    return [sorted(unit, key=lambda name: (name in LAST, name)) for unit in units]


if __name__ == "__main__":
    join(Path(sys.argv[1]) / "mmcv/ops/csrc/pytorch")
