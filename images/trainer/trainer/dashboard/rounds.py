"""The page on past rounds: what changed, what the gate decided and why, and the curve of scores."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from matplotlib.axes import Axes

from trainer.dashboard import stored
from trainer.dashboard.charts import Theme, chart
from trainer.dashboard.pages import Asked, ChartTheme, View
from trainer.judging.evaluate import Evaluation
from trainer.loop import Loop
from trainer.rounds.table import Round
from trainer.training.job import Job, JobError
from trainer.words import plural
from trainer.worker.retention import removed

router = APIRouter(prefix="/rounds")

REMOVED = ("snapshot, log and checkpoints were removed by retention (KEEP_ROUNDS)",)


@dataclass(frozen=True)
class Row:
    """One round of the table. changed: the changes since the project's previous round, in words."""

    round: Round
    candidate: Evaluation | None
    champion: Evaluation | None
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """A candidate's mAP on the hold-out, for the chart. interval: 95 %."""

    round: int
    labelled: int
    score: float
    interval: tuple[float, float] | None
    promoted: bool


def rows(loop: Loop, project_id: int) -> list[Row]:
    """The project's rounds, newest first."""
    history = loop.rounds.history(project_id, stored.HISTORY)
    found: list[Row] = []
    before: Path | None = None
    for round_ in reversed(history):
        folder = loop.rounds.folder(round_.id)
        judged = stored.judgement(folder)
        found.append(
            Row(
                round_,
                judged.candidate if judged else None,
                judged.champion if judged else None,
                (*(REMOVED if removed(folder) else _changes(before, folder)), *_training(loop, round_)),
            )
        )
        before = folder if stored.contents(folder) else before
    return found[::-1]


def points(found: list[Row]) -> list[Point]:
    """The chart's points, oldest first. Rounds whose candidate has no score are left out."""
    return [
        Point(
            row.round.id,
            row.candidate.labelled,
            row.candidate.mAP,
            row.candidate.interval,
            row.round.version is not None,
        )
        for row in reversed(found)
        if row.candidate is not None and row.candidate.mAP is not None
    ]


def _changes(before: Path | None, now: Path) -> list[str]:
    """The changes from one round's snapshot to another's, in words."""
    has = stored.contents(now)
    if has is None:
        return []
    holdout = f", {has.holdout} of them held out"
    had = stored.contents(before) if before else None
    changed = stored.difference(before, now) if before else None
    if had is None or changed is None:
        return [f"{plural(has.images, 'image')}{holdout}, {plural(has.boxes, 'box', 'boxes')}"]
    words = [f"{plural(changed.new, 'new image')}, {has.images} in all{holdout}"]
    if changed.relabelled:
        words.append(f"{plural(changed.relabelled, 'image')} relabelled")
    if changed.gone:
        words.append(f"{plural(changed.gone, 'image')} gone")
    if has.labels != had.labels:
        words.append(f"labels: {', '.join(has.labels)}, before: {', '.join(had.labels)}")
    return words


def _training(loop: Loop, round_: Round) -> list[str]:
    try:
        job = Job.load(loop.rounds.folder(round_.id))
    except (OSError, JobError):
        return []
    return [f"{job.detector} from {job.start}, {plural(job.iterations, 'iteration')}"]


def contents(page: View) -> dict[str, Any]:
    found = rows(page.loop, page.project) if page.project is not None else []
    marks = points(found)
    return {"rows": found, "points": marks, "draw": partial(score_chart, marks)}


@router.get("", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    return page.show("rounds.html", **contents(page))


@router.get("/scores.svg")
def scores(page: Asked, theme: ChartTheme) -> Response:
    found = points(rows(page.loop, page.project)) if page.project is not None else []
    return score_chart(found, theme)


def score_chart(found: list[Point], theme: Theme) -> Response:
    """Scores over labelled images. Promoted rounds are filled circles, kept ones hollow squares."""

    def paint(axes: Axes) -> None:
        for promoted, marker, name in ((True, "o", "promoted"), (False, "s", "kept")):
            chosen = [point for point in found if point.promoted is promoted]
            if not chosen:
                continue
            colour = theme.series[0 if promoted else 1]
            below = [point.score - (point.interval or (point.score,) * 2)[0] for point in chosen]
            above = [(point.interval or (point.score,) * 2)[1] - point.score for point in chosen]
            axes.errorbar(
                [point.labelled for point in chosen],
                [point.score for point in chosen],
                yerr=[[max(value, 0.0) for value in side] for side in (below, above)],
                fmt=marker,
                markersize=7,
                color=colour,
                markerfacecolor=colour if promoted else "none",
                elinewidth=1.2,
                capsize=4,
                label=name,
            )
        in_service = [point for point in found if point.promoted]
        axes.plot(
            [point.labelled for point in in_service],
            [point.score for point in in_service],
            color=theme.series[0],
            linewidth=1,
        )
        axes.set_ylim(0, 1)
        axes.set_xlim(left=0)

    return chart(theme, "labelled images", "hold-out mAP", paint)
