"""What was measured: figures and their targets, as a table, as JSON and as a chart."""

import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from labelloop.files import write_text


@dataclass(frozen=True)
class Figure:
    """One measured number.

    name: the same in every run. detail: what differs from run to run, said behind the name. ratio: ours
    (value) against baseline's. target: what is asked of the ratio, or of the value where there is no
    baseline. met: None without a target.
    """

    section: str
    name: str
    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    target: str
    met: bool | None
    command: str
    detail: str = ""

    @property
    def said(self) -> str:
        """Name and detail."""
        return f"{self.name} ({self.detail})" if self.detail else self.name

    @property
    def judged(self) -> float:
        """The number that the target speaks of."""
        return self.value if self.ratio is None else self.ratio


def figure(
    section: str,
    name: str,
    value: float,
    unit: str,
    command: str,
    *,
    baseline: float | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
    detail: str = "",
) -> Figure:
    """A figure with its ratio and its verdict.

    name, detail: see `Figure`. at_most, at_least: bounds of the ratio, or of the value where there is no
    baseline; one of them or none.

    Raises:
        ValueError: two bounds, or a baseline that nothing can be divided by.
    """
    if at_most is not None and at_least is not None:
        raise ValueError(f"{section}, {name}: one target, not two")
    if baseline is not None and not baseline > 0:
        raise ValueError(f"{section}, {name}: a baseline of {baseline} {unit} has no ratio")
    ratio = None if baseline is None else value / baseline
    judged = value if ratio is None else ratio
    unit_of_target = f" {unit}".rstrip() if ratio is None else " ×"
    target, met = "", None
    if at_most is not None:
        target, met = f"≤ {at_most:g}{unit_of_target}", judged <= at_most
    elif at_least is not None:
        target, met = f"≥ {at_least:g}{unit_of_target}", judged >= at_least
    return Figure(section, name, value, unit, baseline, ratio, target, met, command, detail)


def bound(target: str) -> float | None:
    """The number in a target such as "≤ 0.35 ×"; None when there is none."""
    match = re.search(r"\d+(?:\.\d+)?", target)
    return float(match[0]) if match else None


def slope(counts: Sequence[float], values: Sequence[float]) -> float:
    """The exponent b of value = a · count^b: least squares on logarithms. 1 is linear growth, 0 is none.

    Raises:
        ValueError: fewer than two different counts, or a number that has no logarithm.
    """
    if len(set(counts)) < 2 or len(counts) != len(values):
        raise ValueError(f"a slope needs two or more counts with a value each, not {counts} and {values}")
    if min(*counts, *values) <= 0:
        raise ValueError(f"counts and values must be above 0 for a log-log slope: {counts}, {values}")
    return float(np.polyfit(np.log(counts), np.log(values), 1)[0])


def _console() -> Console:
    """As wide as the terminal; wide enough for the table elsewhere."""
    return Console(width=None if sys.stdout.isatty() else 140)


@dataclass
class Report:
    """Everything one run measured. failed: why a section broke off, by its name."""

    folder: Path
    machine: dict[str, Any]
    options: dict[str, Any]
    console: Console = field(default_factory=_console)
    figures: list[Figure] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def add(self, figure: Figure) -> None:
        """Keeps a figure and says it at once."""
        self.figures.append(figure)
        against = (
            "" if figure.baseline is None else f" against {_number(figure.baseline)}: {figure.ratio:.2f} ×"
        )
        verdict = {True: f"  met ({figure.target})", False: f"  MISSED ({figure.target})", None: ""}[
            figure.met
        ]
        self.console.print(
            f"  {figure.section}: {figure.said}: {_number(figure.value)} {figure.unit}{against}{verdict}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def write(self) -> Path:
        """bench.json, as far as the run has come; returns its path."""
        path = self.folder / "bench.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        document = {
            "started_at": self.started_at,
            "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": self.machine,
            "options": self.options,
            "figures": [asdict(figure) for figure in self.figures],
            "failed": self.failed,
        }
        write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        return path

    def show(self) -> None:
        """The table, the command lines and the machine."""
        table = Table(title="measured on this machine", title_justify="left")
        for title in ("section", "figure", "ours", "baseline", "ratio", "target", "met"):
            table.add_column(title, justify="right" if title in ("ours", "baseline", "ratio") else "left")
        for row in self.figures:
            table.add_row(
                row.section,
                row.said,
                f"{_number(row.value)} {row.unit}",
                "" if row.baseline is None else f"{_number(row.baseline)} {row.unit}",
                "" if row.ratio is None else f"{row.ratio:.2f} ×",
                row.target,
                {True: "yes", False: "NO", None: ""}[row.met],
            )
        self.console.print(table)
        self.console.print("command lines", style="bold")
        for section, commands in _commands(self.figures).items():
            for command in commands:
                self._plain(f"  {section}: {command}")
        for section, reason in self.failed.items():
            self._plain(f"  {section} FAILED: {reason}")
        self.console.print("machine", style="bold")
        for name, value in self.machine.items():
            self._plain(f"  {name}: {value}")

    def chart(self) -> Path | None:
        """bench.png: every figure with a target against its bound, a panel a section; None without any."""
        judged = [row for row in self.figures if bound(row.target) and math.isfinite(row.judged)]
        if not judged:
            return None
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Drawing

        sections = list(dict.fromkeys(row.section for row in judged))
        heights = [sum(row.section == section for row in judged) for section in sections]
        drawing = Drawing(figsize=(10, 1.2 * len(sections) + 0.35 * len(judged)), layout="constrained")
        FigureCanvasAgg(drawing)
        panels = drawing.subplots(len(sections), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, section in zip(panels, sections, strict=True):
            rows = [row for row in judged if row.section == section]
            places = range(len(rows))
            reach = max(max(row.judged, bound(row.target) or 0) for row in rows)
            panel.barh(
                places,
                [row.judged for row in rows],
                color=["#4c9f70" if row.met else "#c8553d" for row in rows],
            )
            panel.plot([bound(row.target) for row in rows], places, "k|", markersize=16)
            panel.set_yticks(places, [f"{row.name}: {row.judged:.2f} ({row.target})" for row in rows])
            panel.set(title=section, xlim=(0, 1.1 * reach))
            panel.invert_yaxis()
        drawing.suptitle(f"ours against the target (mark): {self.machine.get('cpu', '')}, {self.started_at}")
        path = self.folder / "bench.png"
        self.folder.mkdir(parents=True, exist_ok=True)
        drawing.savefig(path, dpi=120)
        return path

    def _plain(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _commands(figures: Iterable[Figure]) -> dict[str, list[str]]:
    """Each section's command lines, once each, in the order they were run."""
    found: dict[str, dict[str, None]] = {}
    for row in figures:
        if row.command:
            found.setdefault(row.section, {})[row.command] = None
    return {section: list(commands) for section, commands in found.items()}


def _number(value: float) -> str:
    """Three significant digits; all of them before the point."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
