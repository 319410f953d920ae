"""The page on the work that the model's boxes save."""

from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from matplotlib.axes import Axes

from labelloop.labels import LabelConfigError
from labelloop.registry import ProjectModels, RegistryError
from labelloop.studio import StudioError
from trainer.dashboard.charts import Theme, chart
from trainer.dashboard.ledger import Effort
from trainer.dashboard.pages import Asked, ChartTheme, View
from trainer.judging.effort import USUAL

router = APIRouter()


def _efforts(page: View) -> list[Effort]:
    return page.parts.ledger.of(page.project) if page.project is not None else []


def _rounds(models: ProjectModels | None, efforts: list[Effort]) -> dict[str, int | None]:
    """By version, the round that made it; None for the starting model and removed versions."""
    found: dict[str, int | None] = {}
    if models is None:
        return found
    for effort in efforts:
        try:
            found[effort.version or ""] = models.card(effort.version or "").round
        except RegistryError:
            found[effort.version or ""] = None
    return found


def contents(page: View) -> dict[str, Any]:
    problem, efforts = None, []
    try:
        efforts = _efforts(page)
    except (StudioError, LabelConfigError) as error:
        problem = str(error)
    return {
        "efforts": efforts,
        "whole": sum(efforts, Effort(None)),
        "rounds": _rounds(page.models, efforts),
        "problem": problem,
        "cost": USUAL,
        "draw": partial(accepted_chart, efforts),
    }


@router.get("/effort", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    return page.show("effort.html", **contents(page))


@router.get("/effort/accepted.svg")
def accepted(page: Asked, theme: ChartTheme) -> Response:
    try:
        efforts = _efforts(page)
    except (StudioError, LabelConfigError):
        efforts = []
    return accepted_chart(efforts, theme)


def accepted_chart(every: list[Effort], theme: Theme) -> Response:
    """One bar for each version that proposed boxes, with the number of images below its name."""
    efforts = [effort for effort in every if effort.work.share_accepted is not None]

    def paint(axes: Axes) -> None:
        names = [f"{effort.version or 'unnamed'}\n{effort.images}" for effort in efforts]
        shares = [effort.work.share_accepted or 0.0 for effort in efforts]
        axes.bar(names, shares, color=theme.series[0], width=0.6)
        axes.set_ylim(0, 1)

    return chart(theme, "version and images labelled from it", "share accepted", paint)
