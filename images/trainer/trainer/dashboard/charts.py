"""Charts as SVG, drawn by matplotlib in the page's colours."""

import io
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from fastapi import Response
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.dashboard.security import CHART_POLICY

MEDIA_TYPE = "image/svg+xml"
WIDTH_IN, HEIGHT_IN = 4.8, 2.8  # narrow, so that the text is legible on a phone
FONT_PT = 9.5

_lock = threading.Lock()  # matplotlib is not thread-safe


@dataclass(frozen=True)
class Theme:
    """Colours by role; `series` are told apart by lightness as well as hue."""

    ink: str
    faint: str
    series: tuple[str, ...]


THEMES = {
    "light": Theme("#1c2430", "#c3cad4", ("#1456b8", "#b3470d", "#0f7a4f", "#8a2c8f", "#6b5a00", "#b01750")),
    "dark": Theme("#e6eaf0", "#46505e", ("#7cb3ff", "#ffb074", "#5fd6a2", "#e6a0ea", "#e0cf6b", "#ff92b8")),
}
DASHES = ("-", "--", "-.", ":")


def line_style(index: int, theme: Theme) -> dict[str, Any]:
    """Colour and dashes of the index-th line, so that no line is told apart by colour alone."""
    return {
        "color": theme.series[index % len(theme.series)],
        "linestyle": DASHES[index // len(theme.series) % len(DASHES)],
    }


def chart(
    theme: Theme, title_x: str, title_y: str, paint: Callable[[Axes], object], height_in: float = HEIGHT_IN
) -> Response:
    """An SVG answer with what `paint` draws on a pair of axes."""
    # Text stays text, label names are not read as formulas, and the same chart gives the same bytes.
    out = io.StringIO()
    with (
        _lock,
        matplotlib.rc_context(
            {
                "svg.fonttype": "none",
                "text.parse_math": False,
                "svg.hashsalt": "labelloop",
                "font.size": FONT_PT,
            }
        ),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has the font
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        axes = figure.subplots()
        _dress(axes, theme)
        axes.set_xlabel(title_x)
        axes.set_ylabel(title_y)
        paint(axes)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, labelcolor=theme.ink, fontsize="small")
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return Response(out.getvalue(), media_type=MEDIA_TYPE, headers={"Content-Security-Policy": CHART_POLICY})


def _dress(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor("none")
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)
    axes.tick_params(colors=theme.ink, which="both")
    axes.grid(color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)


def thinned(count: int, most: int) -> Sequence[int]:
    """At most `most` indices of 0..count-1, evenly spaced, including the last."""
    step = max(1, -(-count // most))
    return sorted({*range(0, count, step), count - 1}) if count else []
