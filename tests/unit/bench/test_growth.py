"""What grows as its tasks do is well; what grows faster is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.appliance import save_dataset, save_images
from bench.growth import MORE, ON_ROWS, OPERATIONS, summary, told
from bench.growth_operations import Measured
from support import shapes

from labelloop.images import read_image

SIZES = (1_000, 3_000, 10_000)


def measured(
    exponent: float, peaks: tuple[float, ...] = (60.0, 61.0, 63.0)
) -> dict[str, dict[int, Measured]]:
    by_size = {
        size: Measured(0.01 * size**exponent, peak, size, 0.005 * size**exponent)
        for size, peak in zip(SIZES, peaks, strict=True)
    }
    return dict.fromkeys(OPERATIONS, by_size)


@pytest.mark.parametrize(("exponent", "met"), [(0.3, True), (1.0, True), (1.2, False), (2.0, False)])
def test_the_slope_of_time_decides(exponent: float, met: bool) -> None:
    slopes = [row for row in summary(measured(exponent), "make bench") if row.unit == "slope"]
    assert len(slopes) == 2 * len(OPERATIONS), "of the time, and of the processor's"
    assert all(row.value == pytest.approx(exponent) and row.met is met for row in slopes)


@pytest.mark.parametrize(("last", "met"), [(63.0, True), (200.0, False)])
def test_memory_is_compared_between_the_fewest_and_the_most(last: float, met: bool) -> None:
    rows = [row for row in summary(measured(1.0, (60.0, 61.0, last)), "make bench") if row.unit == "MB"]
    assert len(rows) == len(OPERATIONS)
    assert all(row.ratio == pytest.approx(last / 60.0) and row.met is met for row in rows)


def test_tasks_for_a_second_of_processor_and_seconds_that_people_wait_are_judged() -> None:
    rate = list(told("import", 3000, Measured(10.0, 60.0, 3000, 2.0), "make bench"))
    assert [(row.value, row.met) for row in rate] == [(10.0, None), (1500.0, True)]
    assert [row.met for row in told("import", 3000, Measured(1.0, 60.0, 3000, 3.1), "make bench")] == [
        None,
        False,
    ]
    more = list(told("intake-more", 3000, Measured(10.0, 60.0, 1000, 2.0), "make bench"))
    assert [(row.value, row.met) for row in more] == [(10.0, None), (500.0, False)]
    assert [row.met for row in told("page now", 3000, Measured(2.1, 60.0, 1, 0.1), "make bench")] == [False]
    assert [row.met for row in told("status", 3000, Measured(1.9, 60.0, 1, 0.1), "make bench")] == [True]


def test_what_is_measured_on_generated_rows_has_a_title_and_begins_with_what_only_looks() -> None:
    assert set(ON_ROWS) <= {*OPERATIONS, *MORE}
    assert ON_ROWS[0] == "unpredicted" and ON_ROWS[-3:] == tuple(MORE)


def test_the_labels_that_are_brought_are_those_of_the_pictures(tmp_path: Path) -> None:
    save_dataset(tmp_path / "brought.json", range(3, 9, 2))
    written = json.loads((tmp_path / "brought.json").read_text())
    save_images(tmp_path, 3, 9)
    assert [(tmp_path / row["file_name"]).exists() for row in written["images"]] == [True] * 3
    assert [row["image_id"] for row in written["annotations"]] == [3, 5, 7]
    assert [row["name"] for row in written["categories"]] == list(shapes.LABELS)


def test_every_picture_is_an_image_with_bytes_of_its_own(tmp_path: Path) -> None:
    save_images(tmp_path, 990, 1_030)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert len(files) == len({file.read_bytes() for file in files}) == 40
    assert {file.parent.name for file in files} == {"000", "001"}
    assert read_image(files[0]).shape == (240, 320, 3)


def test_peak_memory_is_the_most_a_process_has_had() -> None:
    program = (
        "from bench.memory import peak_mb\n"
        "before = peak_mb()\n"
        "ballast = b'x' * 200_000_000\n"
        "del ballast\n"
        "print(peak_mb() - before)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    assert 190 < float(done.stdout) < 260
