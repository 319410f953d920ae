"""Joins mmcv-full's operators into a few translation units, so that torch's headers are parsed a few times.

    mmcv_units.py SOURCE

SOURCE  the unpacked sdist. Its setup.py compiles every csrc/pytorch/*.cpp and csrc/pytorch/cpu/*.cpp, for
        CUDA every csrc/pytorch/cuda/*.cu too.

Parsing the headers takes a compiler ten times as long as an operator does. Each unit includes some of the
files as they are, so the code is the same.
"""

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Joining:
    """How the files of one compiler are joined, and which of them can't be together.

    patterns: below csrc/pytorch; the units are named unit0 and so on, with `suffix`. apart: groups of which
    no unit has two, since they define the same name. last: files that leave something behind; each is its
    unit's last one. heavy: a byte of a file in this folder takes as long as `weight` of the others.
    """

    suffix: str
    patterns: tuple[str, ...]
    units: int
    apart: tuple[tuple[str, ...], ...]
    last: tuple[str, ...] = ()
    heavy: str = "none/"
    weight: int = 5


CPU = Joining(
    suffix=".cpp",
    patterns=("*.cpp", "cpu/*.cpp"),
    units=4,
    apart=(("cpu/roi_align.cpp", "cpu/roi_align_rotated.cpp", "cpu/rotated_feature_align.cpp"),),
    # Macros min and max, and `using namespace std`.
    last=("cpu/psamask.cpp", "contour_expand.cpp"),
    # The functions beside it only dispatch to these kernels.
    heavy="cpu/",
)
_POINTS = ("cuda/convex_iou.cu", "cuda/iou3d_cuda.cu", "cuda/min_area_polygons.cu")
_ROTATED = (
    "cuda/box_iou_quadri_cuda.cu",
    "cuda/box_iou_rotated_cuda.cu",
    "cuda/nms_quadri_cuda.cu",
    "cuda/nms_rotated_cuda.cu",
)
CUDA = Joining(
    suffix=".cu",
    patterns=("cuda/*.cu",),
    units=8,
    apart=(
        (*_POINTS, *_ROTATED),  # struct Point
        (*_ROTATED, "cuda/carafe_cuda.cu"),  # divideUP
        ("cuda/carafe_cuda.cu", "cuda/carafe_naive_cuda.cu"),  # Loc2Index
        ("cuda/points_in_boxes_cuda.cu", "cuda/roiaware_pool3d_cuda.cu", "cuda/roipoint_pool3d_cuda.cu"),
    ),
    # `using namespace torch`.
    last=("cuda/correlation_cuda.cu",),
)


def join(root: Path) -> list[list[str]]:
    """Makes the units in root, mmcv's csrc/pytorch. Returns: the files of each unit, relative to root.

    Raises:
        ValueError: a file that is named here is not there, so this is another release of mmcv-full.
    """
    return [*_join(root, CPU), *_join(root, CUDA)]


def _join(root: Path, how: Joining) -> list[list[str]]:
    paths = [path for pattern in how.patterns for path in root.glob(pattern)]
    sizes = {str(path.relative_to(root)): path.stat().st_size for path in paths}
    missing = {*how.last, *(name for group in how.apart for name in group)} - sizes.keys()
    if missing:
        raise ValueError(f"{root} has no {', '.join(sorted(missing))}: mmcv_units.py is for mmcv-full 1.7.2")
    work = {name: size * (how.weight if name.startswith(how.heavy) else 1) for name, size in sizes.items()}
    units = _divided(work, how)
    folder = root / Path(how.patterns[0]).parent
    for number, unit in enumerate(units):
        for name in unit:
            (root / name).rename(root / f"{name}.inc")
        text = "".join(f'#include "{(root / name).relative_to(folder)}.inc"\n' for name in unit)
        (folder / f"unit{number}{how.suffix}").write_text(text, encoding="utf-8")
    return units


def _divided(work: dict[str, int], how: Joining) -> list[list[str]]:
    """work: by file, how long it takes. The largest goes first, to the unit that has the least so far."""
    units: list[list[str]] = [[] for _ in range(how.units)]
    groups = (*how.apart, how.last)
    named = {name for group in groups for name in group}
    for name in sorted(work, key=lambda name: (name not in named, -work[name], name)):
        clashing = {other for group in groups if name in group for other in group}
        free = [unit for unit in units if not clashing.intersection(unit)]
        min(free, key=lambda unit: sum(work[other] for other in unit)).append(name)
    return [sorted(unit, key=lambda name: (name in how.last, name)) for unit in units]


if __name__ == "__main__":
    join(Path(sys.argv[1]) / "mmcv/ops/csrc/pytorch")
