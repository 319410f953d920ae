"""Ratios, verdicts and slopes, and what a run leaves behind."""

import json
from io import StringIO
from pathlib import Path

import pytest
from bench.report import Figure, Report, bound, figure, slope
from rich.console import Console


@pytest.mark.parametrize(
    ("value", "baseline", "bounds", "ratio", "target", "met"),
    [
        (30.0, 100.0, {"at_most": 0.35}, 0.3, "≤ 0.35 ×", True),
        (40.0, 100.0, {"at_most": 0.35}, 0.4, "≤ 0.35 ×", False),
        (50.0, 25.0, {"at_least": 2.0}, 2.0, "≥ 2 ×", True),
        (49.0, 25.0, {"at_least": 2.0}, 1.96, "≥ 2 ×", False),
        (1.05, None, {"at_most": 1.1}, None, "≤ 1.1 s", True),
        (1.15, None, {"at_most": 1.1}, None, "≤ 1.1 s", False),
        (7.0, 14.0, {}, 0.5, "", None),
        (7.0, None, {}, None, "", None),
    ],
)
def test_a_target_is_asked_of_the_ratio_or_else_of_the_value(
    value: float,
    baseline: float | None,
    bounds: dict[str, float],
    ratio: float | None,
    target: str,
    met: bool | None,
) -> None:
    made = figure("section", "name", value, "s", "command", baseline=baseline, **bounds)
    assert made.ratio == (None if ratio is None else pytest.approx(ratio))
    assert made.judged == pytest.approx(value if ratio is None else ratio)
    assert (made.target, made.met) == (target, met)
    assert bound(made.target) == (next(iter(bounds.values())) if bounds else None)


@pytest.mark.parametrize("baseline", [0.0, -1.0, float("nan")])
def test_a_baseline_that_nothing_can_be_divided_by_is_refused(baseline: float) -> None:
    with pytest.raises(ValueError, match="has no ratio"):
        figure("section", "name", 1.0, "s", "command", baseline=baseline)


def test_two_targets_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="one target, not two"):
        figure("section", "name", 1.0, "s", "command", at_most=1, at_least=1)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_the_slope_is_the_exponent(exponent: float) -> None:
    counts = [1_000, 3_000, 10_000]
    assert slope(counts, [0.003 * count**exponent for count in counts]) == pytest.approx(exponent, abs=1e-9)


def test_the_slope_is_the_least_squares_one() -> None:
    # On logarithms (0, 0), (1, 0), (2, 3): the best line has slope 1.5.
    assert slope([1, 10, 100], [1, 1, 1000]) == pytest.approx(1.5)


@pytest.mark.parametrize(("counts", "values"), [([10], [1.0]), ([10, 10], [1.0, 2.0]), ([1, 10], [0.0, 1.0])])
def test_what_has_no_slope_is_refused(counts: list[int], values: list[float]) -> None:
    with pytest.raises(ValueError):
        slope(counts, values)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    console = Console(file=StringIO(), width=200)
    made = Report(tmp_path / "out", {"cpu": "an abacus"}, {"sizes": [1, 10]}, console)
    made.add(figure("startup", "first boot", 30.0, "s", "make up", baseline=100.0, at_most=0.35))
    made.add(figure("growth", "import", 1.3, "slope", "make bench", at_most=1.1))
    made.add(figure("growth", "memory", 50.0, "MB", "make bench"))
    return made


def test_json_has_every_figure_the_machine_and_what_failed(report: Report) -> None:
    report.failed["serving"] = "RuntimeError: no backend"
    written = json.loads(report.write().read_text())
    assert [Figure(**row) for row in written["figures"]] == report.figures
    assert written["machine"] == {"cpu": "an abacus"}
    assert written["failed"] == {"serving": "RuntimeError: no backend"}


def test_figures_are_said_as_they_come_and_again_in_a_table(report: Report) -> None:
    assert isinstance(report.console.file, StringIO)
    said = report.console.file.getvalue()
    assert "startup: first boot: 30.0 s against 100: 0.30 ×  met (≤ 0.35 ×)" in said
    assert "growth: import: 1.30 slope  MISSED (≤ 1.1 slope)" in said
    report.show()
    shown = report.console.file.getvalue().removeprefix(said)
    assert shown.count("make bench") == 1
    assert "cpu: an abacus" in shown


def test_the_chart_is_a_picture_and_without_targets_there_is_none(report: Report, tmp_path: Path) -> None:
    path = report.chart()
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")
    assert Report(tmp_path, {}, {}, figures=[report.figures[2]]).chart() is None


def test_the_chart_has_what_missed_by_all(tmp_path: Path) -> None:
    nothing = figure("simulation", "seeds", 0.0, "of 3 seeds", "make simulate", at_least=3)
    assert Report(tmp_path, {}, {}, figures=[nothing]).chart() is not None
