"""The losses and the log of a training, from its round's folder."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastapi import Response
from matplotlib.axes import Axes

from trainer.dashboard.charts import Theme, chart, line_style, thinned
from trainer.rounds import metrics
from trainer.rounds.folder import LOG, METRICS
from trainer.rounds.table import Round, Rounds, State, log_name
from trainer.system.failures import TRACEBACK

LOG_LINES = 40
LOG_BYTES = 20_000
CHART_POINTS = 200
TABLE_ROWS = 12
SMOOTHED_OVER = 10
# Python's warnings, whose next line quotes the code.
_WARNING = re.compile(r"\S+\.py:\d+: \w*Warning: ")
_NOISE = re.compile(
    r"^(before|after)_(run|(train|val|test)_(epoch|iter)):$"
    r"|^\((HIGHEST|VERY_HIGH|HIGH|ABOVE_NORMAL|NORMAL|BELOW_NORMAL|LOW|VERY_LOW|LOWEST) *\) \w+ *$"
    r"|^ *-{10,} *$"
    r"|^[WI]\d{4} \d\d:\d\d:\d\d\.\d+ "
    r"|^During handling of the above exception|^The above exception was the direct cause"
    r"| - mmdet - INFO - (Hooks will be executed|Automatic scaling of learning rate)"
    r"| - mmdet - INFO - (Start running, host|workflow: )"
)


@dataclass(frozen=True)
class Losses:
    """total: the summed loss at each of `iterations`. planned: how many iterations there will be."""

    iterations: tuple[int, ...]
    total: tuple[float, ...]
    planned: int

    def __len__(self) -> int:
        return len(self.iterations)

    @property
    def smooth(self) -> list[float]:
        """The running mean over the last SMOOTHED_OVER iterations."""
        means = []
        for end in range(1, len(self.total) + 1):
            window = self.total[max(0, end - SMOOTHED_OVER) : end]
            means.append(sum(window) / len(window))
        return means

    @property
    def step(self) -> int:
        """A number that changes about forty times in a round. A chart need not be drawn more often."""
        return len(self) // max(1, self.planned // 40)

    def table(self) -> list[tuple[int, float]]:
        """A few rows of iteration and smoothed loss."""
        smooth = self.smooth
        return [(self.iterations[i], smooth[i]) for i in thinned(len(self), TABLE_ROWS)]


def read_losses(folder: Path) -> Losses:
    """The losses in a round's folder; empty before its first iteration. A half-written line is left out."""
    found = metrics.read(folder / METRICS)
    return Losses(
        tuple(line.iteration for line in found),
        tuple(line.losses["loss"] for line in found),
        found[-1].iterations if found else 0,
    )


@dataclass(frozen=True)
class Log:
    """The end of a round's log. lines: those that say something to a person. path: the whole file, as an
    operator finds it. folded: whether nothing failed, so that nobody has to look.
    """

    lines: tuple[str, ...]
    path: str
    folded: bool


def read_log(rounds: Rounds, round_: Round) -> Log | None:
    """The end of a round's log; None while there is none."""
    try:
        with (rounds.folder(round_.id) / LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            content = file.read()
    except OSError:
        return None
    lines = useful(content.decode("utf-8", errors="replace").splitlines())
    return Log(tuple(lines[-LOG_LINES:]), log_name(round_.id), round_.state is not State.FAILED)


def useful(lines: Iterable[str]) -> list[str]:
    """A log without what only its libraries' developers read: mmcv's table of hooks, warnings about their
    code, and tracebacks, of which the last line stays.

    >>> useful(["before_run:", "(LOW         ) IterTimerHook", " ------------ ", "The head starts with ball"])
    ['The head starts with ball']
    """
    kept: list[str] = []
    quoting = False
    for line in lines:
        if TRACEBACK in line or _WARNING.match(line):
            quoting = True
        elif quoting and (not line.strip() or line[0].isspace()):
            continue
        else:
            quoting = False
            if line.strip() and not _NOISE.search(line):
                kept.append(line)
    return kept


def loss_chart(losses: Losses, theme: Theme) -> Response:
    def paint(axes: Axes) -> None:
        chosen = thinned(len(losses), CHART_POINTS)
        x = [losses.iterations[i] for i in chosen]
        smooth = losses.smooth
        axes.plot(
            x, [losses.total[i] for i in chosen], color=theme.faint, linewidth=1, label="each iteration"
        )
        axes.plot(
            x,
            [smooth[i] for i in chosen],
            **line_style(0, theme),
            linewidth=2,
            label=f"mean of {SMOOTHED_OVER}",
        )
        axes.set_xlim(0, max(losses.planned, 1))
        axes.set_ylim(bottom=0)

    return chart(theme, "iteration", "loss", paint)
