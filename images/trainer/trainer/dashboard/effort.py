"""The page on the work that the model's boxes save, and on the people who labelled."""

from functools import partial
from typing import Any

from fastapi import APIRouter, HTTPException, status
from fastapi.responses import HTMLResponse, Response
from matplotlib.axes import Axes

from labelloop.labels import LabelConfigError
from labelloop.registry import ProjectModels, RegistryError
from labelloop.studio import StudioError
from trainer.dashboard import labellers
from trainer.dashboard.ahead import ahead
from trainer.dashboard.book import Effort
from trainer.dashboard.charts import Theme, chart
from trainer.dashboard.csv_file import csv_file
from trainer.dashboard.ledger import Kept, StillReading
from trainer.dashboard.pages import Asked, ChartTheme, Page, View
from trainer.judging import cost_fit
from trainer.judging.effort import ACTIONS, SOURCES, TABLES

router = APIRouter()

REPORT_WAIT_S = 3600.0
RELOAD_S = 3
"""While a project is read for the first time, the page loads itself anew after so many seconds."""


def _kept(page: View) -> Kept | None:
    """What is known of the project; None without one. Raises as `Ledger.of` does."""
    if page.project is None:
        return None
    if isinstance(page, Page):
        return page.parts.ledger.of(page.project)
    return page.parts.ledger.of(page.project, REPORT_WAIT_S)


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
    """The page's contents. reading: how far the first reading of the project is; None when it is done."""
    problem = reading = kept = None
    try:
        kept = _kept(page)
    except StillReading as error:
        reading = str(error)
    except (StudioError, LabelConfigError) as error:
        problem = str(error)
    efforts = kept.book.efforts if kept else []
    timed = kept.book.timed(cost_fit.MOST) if kept else []
    return {
        "efforts": efforts,
        "whole": sum(efforts, Effort(None)),
        "verified": kept.book.verified if kept else Effort(None),
        "pause_s": kept.book.pause_s if kept else 0.0,
        "rounds": _rounds(page.models, efforts),
        "problem": problem,
        "reading": reading,
        "tables": TABLES,
        "chosen": page.loop.settings.costs,
        "actions": ACTIONS,
        "sources": SOURCES,
        "fit": cost_fit.fit(timed, TABLES[page.loop.settings.costs]),
        "timed": len(timed),
        "ahead": ahead(page, efforts) if efforts else None,
        "fewest": cost_fit.FEWEST,
        "draw": partial(accepted_chart, efforts),
        "people": labellers.contents(kept, page.person) if kept and isinstance(page, Page) else None,
        "several": kept is not None and labellers.are_several(kept),
    }


@router.get("/effort", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    values = contents(page)
    shown = page.show("effort.html", **values)
    if values["reading"]:
        shown.headers["Refresh"] = str(RELOAD_S)
    return shown


@router.get("/effort/accepted.svg")
def accepted(page: Asked, theme: ChartTheme) -> Response:
    return accepted_chart(contents(page)["efforts"], theme)


@router.get("/effort/people.csv")
def people_table(page: Asked) -> Response:
    """Everyone's work, as far as the person may see it."""
    rows = labellers.rows_of_people(_known(page), page.person)
    return csv_file(f"labelloop-{page.project}-people.csv", labellers.PEOPLE, rows)


@router.get("/effort/disagreement.csv")
def disagreement_table(page: Asked) -> Response:
    """Every image that two people labelled differently, as far as the person may see it."""
    rows = labellers.rows_of_disputes(_known(page), page.person)
    return csv_file(f"labelloop-{page.project}-disagreement.csv", labellers.DISPUTES, rows)


def _known(page: Page) -> Kept:
    """Raises HTTPException: 503, Label Studio does not answer or is being read; 404, there is nothing."""
    try:
        kept = _kept(page)
    except (StillReading, StudioError, LabelConfigError) as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error)) from error
    if kept is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no project in which boxes are drawn")
    return kept


def accepted_chart(every: list[Effort], theme: Theme) -> Response:
    """One bar for each version that proposed boxes, with the number of images below its name."""
    efforts = [effort for effort in every if effort.work.share_accepted is not None]

    def paint(axes: Axes) -> None:
        names = [f"{effort.version or 'unnamed'}\n{effort.images}" for effort in efforts]
        shares = [effort.work.share_accepted or 0.0 for effort in efforts]
        axes.bar(names, shares, color=theme.series[0], width=0.6)
        axes.set_ylim(0, 1)

    return chart(theme, "version and images labelled from it", "share accepted", paint)
