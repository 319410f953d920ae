"""The page on past rounds: how every version does on today's hold-out, and in each round what changed, what
the gate decided and why.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from matplotlib.axes import Axes

from labelloop.choice import chosen
from trainer.dashboard import stored
from trainer.dashboard.charts import Theme, chart
from trainer.dashboard.pages import Asked, ChartTheme, View
from trainer.judging.evaluate import Evaluation
from trainer.judging.standing import Stand, Standing
from trainer.judging.trial import Trial
from trainer.loop import Loop
from trainer.rounds.table import Round
from trainer.training.job import Job, JobError
from trainer.words import plural
from trainer.worker.retention import removed

router = APIRouter(prefix="/rounds")

BESIDE = 0.02
"""How far an arrow is from the mark of its version, as a share of the axis."""
MOST_NAMED = 8
"""With more marks than these, their names would cover each other in the chart."""
REMOVED = ("snapshot, log and checkpoints were removed by retention (KEEP_ROUNDS)",)


@dataclass(frozen=True)
class Row:
    """One round of the table.

    candidate, champion: both on that round's own hold-out. changed: the changes since the project's previous
    round, in words. stand: how what it made does on today's hold-out. trial: how far the trial of its
    promotion is, in words; empty without one that is open.
    """

    round: Round
    candidate: Evaluation | None
    champion: Evaluation | None
    changed: tuple[str, ...]
    stand: Stand | None = None
    trial: str = ""


@dataclass(frozen=True)
class Point:
    """A model's mAP on today's hold-out, for the chart. images: how many it was trained on. interval: 95 %.
    restricted: whether its score does not compare with the others', e.g. as it knows fewer labels.
    """

    name: str
    images: int
    score: float
    interval: tuple[float, float] | None
    promoted: bool
    restricted: bool


@dataclass(frozen=True)
class Step:
    """A promotion's own comparison, for the chart: before and after, on the hold-out of that round."""

    images: int
    before: float
    after: float


def rows(loop: Loop, project_id: int, standing: Standing) -> list[Row]:
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
                standing.made_by(round_),
                _trial(loop, round_),
            )
        )
        before = folder if stored.contents(folder) else before
    return found[::-1]


def points(standing: Standing) -> list[Point]:
    """The chart's marks, by the number of images that the models were trained on."""
    found = [
        Point(
            stand.version or f"round {stand.round}",
            stand.card.images,
            stand.mAP,
            stand.score.interval if stand.score else None,
            stand.version is not None,
            bool(stand.why),
        )
        for stand in standing.stands
        if stand.mAP is not None
    ]
    return sorted(found, key=lambda point: (point.images, point.name))


def steps(found: list[Row]) -> list[Step]:
    """The chart's arrows, oldest first."""
    return [
        Step(
            row.candidate.labelled - row.candidate.images - len(row.candidate.missing),
            row.champion.mAP,
            row.candidate.mAP,
        )
        for row in reversed(found)
        if row.round.version and row.candidate and row.champion
        if row.candidate.mAP is not None and row.champion.mAP is not None
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


def _trial(loop: Loop, round_: Round) -> str:
    """How far the trial of its promotion is. What a person has chosen since ends one."""
    trial, models = Trial.load(loop.rounds.folder(round_.id)), loop.models(round_.project)
    if trial is None or round_.version is None or models.champion() != round_.version:
        return ""
    return "" if chosen(models) == trial.version else trial.so_far


def _training(loop: Loop, round_: Round) -> list[str]:
    try:
        job = Job.load(loop.rounds.folder(round_.id))
    except (OSError, JobError):
        return []
    return [f"{job.detector} from {job.start}, {plural(job.iterations, 'iteration')}"]


def contents(page: View) -> dict[str, Any]:
    standing = page.standing or Standing(None, ())
    found = rows(page.loop, page.project, standing) if page.project is not None else []
    marks, arrows = points(standing), steps(found)
    return {
        "rows": found,
        "standing": standing,
        "points": marks,
        "steps": arrows,
        "draw": partial(score_chart, marks, arrows),
    }


@router.get("", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    return page.show("rounds.html", **contents(page))


@router.get("/scores.svg")
def scores(page: Asked, theme: ChartTheme) -> Response:
    found = contents(page)
    return score_chart(found["points"], found["steps"], theme)


def score_chart(marks: list[Point], arrows: list[Step], theme: Theme) -> Response:
    """Scores on today's hold-out over the images trained on: versions as filled circles, refused candidates
    as hollow squares, restricted scores as hollow diamonds. Arrows are promotions, on their own hold-outs.
    """

    widest = max((point.images for point in marks), default=0) or max((a.images for a in arrows), default=1)

    def paint(axes: Axes) -> None:
        style: dict[str, Any] = {"color": theme.series[2], "linewidth": 1.4}
        for arrow in arrows:
            beside = arrow.images - BESIDE * widest
            head = {**style, "arrowstyle": "->", "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (beside, arrow.after), (beside, arrow.before), arrowprops=head)
        if arrows:
            axes.plot([], [], label="its promotion, on the hold-out of then", **style)
        for index, (marker, name, members) in enumerate(_series(marks)):
            if members:
                _errorbar(axes, members, marker, name, theme.series[index], filled=marker == "o")
        line = [point for point in marks if point.promoted and not point.restricted]
        axes.plot(
            [point.images for point in line],
            [point.score for point in line],
            color=theme.series[0],
            linewidth=1,
        )
        if len(marks) <= MOST_NAMED:
            for point in marks:
                at = (point.images, point.score)
                axes.annotate(
                    point.name, at, (5, 4), textcoords="offset points", color=theme.ink, fontsize="small"
                )
        axes.set_ylim(0, 1)
        axes.set_xlim(-2 * BESIDE * widest, 1.15 * widest)

    return chart(theme, "images it was trained on", "mAP", paint)


def _series(marks: list[Point]) -> list[tuple[str, str, list[Point]]]:
    """Marker, name and points of each kind of mark."""
    plain = [point for point in marks if not point.restricted]
    return [
        ("o", "version, today's hold-out", [point for point in plain if point.promoted]),
        ("s", "not put into service, today's hold-out", [point for point in plain if not point.promoted]),
        ("D", "restricted, see the table", [point for point in marks if point.restricted]),
    ]


def _errorbar(axes: Axes, chosen: list[Point], marker: str, name: str, colour: str, filled: bool) -> None:
    ranges = [point.interval or (point.score, point.score) for point in chosen]
    below = [max(point.score - low, 0.0) for point, (low, _) in zip(chosen, ranges, strict=True)]
    above = [max(high - point.score, 0.0) for point, (_, high) in zip(chosen, ranges, strict=True)]
    axes.errorbar(
        [point.images for point in chosen],
        [point.score for point in chosen],
        yerr=[below, above],
        fmt=marker,
        markersize=7,
        color=colour,
        markerfacecolor=colour if filled else "none",
        elinewidth=1.2,
        capsize=4,
        label=name,
    )
