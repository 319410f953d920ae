"""What the model's boxes save: each submitted annotation against the prediction it started from."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from matplotlib.axes import Axes

from labelloop.boxes import Boxes
from labelloop.labels import LabelConfig, LabelConfigError, parse_label_config
from labelloop.regions import from_results
from labelloop.registry import RegistryError
from labelloop.studio import StudioError
from trainer.dashboard.agreement import Kind, compare
from trainer.dashboard.charts import Theme, chart
from trainer.dashboard.pages import Asked, ChartTheme, View
from trainer.loop import Loop
from trainer.matches import ACCEPT_S, ADJUST_S, DELETE_S, DRAW_S
from trainer.origin import started_from, version_of
from trainer.snapshot import newest_submitted

router = APIRouter()

KEPT_S = 60.0
AS_IT_WAS = 0.005  # of the image's longer side; a click on a box can shift it by a rounding
UNKNOWN_SIZE = (1000, 1000)

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Work:
    """What a person did with boxes of one version.

    version: None where there was no prediction to start from. accepted: boxes left as they were; changed:
    moved, resized or relabelled ones. lead_times: seconds an image.
    """

    version: str | None
    images: int = 0
    accepted: int = 0
    changed: int = 0
    deleted: int = 0
    drawn: int = 0
    lead_times: tuple[float, ...] = ()

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.version,
            self.images + other.images,
            self.accepted + other.accepted,
            self.changed + other.changed,
            self.deleted + other.deleted,
            self.drawn + other.drawn,
            self.lead_times + other.lead_times,
        )

    @property
    def share_accepted(self) -> float | None:
        """Of the boxes that were proposed."""
        proposed = self.accepted + self.changed + self.deleted
        return self.accepted / proposed if proposed else None

    @property
    def lead_time(self) -> float | None:
        """The median image's, in seconds."""
        return median(self.lead_times) if self.lead_times else None

    @property
    def seconds_by_hand(self) -> float:
        """An estimate: every box of the result drawn."""
        return DRAW_S * (self.accepted + self.changed + self.drawn)

    @property
    def seconds_with_model(self) -> float:
        """An estimate: every box handled as it was."""
        return (
            ACCEPT_S * self.accepted + ADJUST_S * self.changed + DELETE_S * self.deleted + DRAW_S * self.drawn
        )

    @property
    def seconds_saved(self) -> float:
        """Negative when the boxes cost more than they spare."""
        return self.seconds_by_hand - self.seconds_with_model


def measure(tasks: Iterable[Json], config: LabelConfig) -> list[Work]:
    """Of tasks with their annotations and predictions, by version, in the versions' order; work that started
    from nothing comes first.
    """
    by_version: dict[str | None, Work] = {}
    for task in tasks:
        annotation = newest_submitted(task.get("annotations"))
        if annotation is None:
            continue
        work = _work(annotation, started_from(annotation, task.get("predictions") or []), config)
        by_version[work.version] = by_version.get(work.version, Work(work.version)) + work
    return [by_version[version] for version in sorted(by_version, key=lambda version: version or "")]


def _work(annotation: Json, prediction: Json | None, config: LabelConfig) -> Work:
    lead = annotation.get("lead_time")
    lead_times = (float(lead),) if isinstance(lead, int | float) and lead > 0 else ()
    results = annotation.get("result") or []
    proposed = (prediction.get("result") or []) if prediction else []
    size = _size([*results, *proposed])
    mine, found = _boxes(results, config, size), _boxes(proposed, config, size)
    accepted = changed = deleted = drawn = 0
    for finding in compare(mine, found):
        match finding.kind:
            case Kind.MISSED:
                drawn += 1
            case Kind.SPURIOUS:
                deleted += 1
            case Kind.WRONG_LABEL:
                changed += 1
            case _:
                shift = np.abs(mine.xyxy[finding.truth] - found.xyxy[finding.found]).max()
                same = bool(shift <= AS_IT_WAS * max(size))
                accepted, changed = accepted + same, changed + (not same)
    version = version_of(prediction) if prediction else None
    return Work(version, 1, accepted, changed, deleted, drawn, lead_times)


def _size(results: Sequence[Json]) -> tuple[int, int]:
    sized = next((row for row in results if row.get("original_width") and row.get("original_height")), None)
    return (int(sized["original_width"]), int(sized["original_height"])) if sized else UNKNOWN_SIZE


def _boxes(results: Sequence[Json], config: LabelConfig, size: tuple[int, int]) -> Boxes:
    return from_results(list(results), config, size)[0]


class Ledger:
    """Asks Label Studio for a project's annotations at most once in KEPT_S seconds."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[float, list[Work]]] = {}

    def of(self, project_id: int) -> list[Work]:
        """Raises StudioError, or LabelConfigError when boxes can no longer be drawn in the project."""
        with self._lock:
            made_at, works = self._kept.get(project_id, (0.0, []))
            if not made_at or time.monotonic() - made_at > KEPT_S:
                config = parse_label_config(str(self._loop.studio.project(project_id)["label_config"]))
                works = measure(self._loop.studio.annotated_tasks(project_id, predictions=True), config)
                self._kept[project_id] = time.monotonic(), works
            return works


def _works(page: View) -> list[Work]:
    found: list[Work] = page.state.ledger.of(page.project) if page.project is not None else []
    return found


def _rounds(loop: Loop, project_id: int | None, works: list[Work]) -> dict[str, int | None]:
    """The round that made each version; None for the starting model and versions that are gone."""
    found: dict[str, int | None] = {}
    for work in works:
        try:
            found[work.version or ""] = loop.models(project_id or 0).card(work.version or "").round
        except RegistryError:
            found[work.version or ""] = None
    return found


def contents(page: View) -> dict[str, Any]:
    problem, works = None, []
    try:
        works = _works(page)
    except (StudioError, LabelConfigError) as error:
        problem = str(error)
    return {
        "works": works,
        "whole": sum(works, Work(None)),
        "rounds": _rounds(page.loop, page.project, works),
        "problem": problem,
        "cost": {"accept": ACCEPT_S, "adjust": ADJUST_S, "delete": DELETE_S, "draw": DRAW_S},
        "draw": partial(accepted_chart, works),
    }


@router.get("/effort", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    return page.show("effort.html", **contents(page))


@router.get("/effort/accepted.svg")
def accepted(page: Asked, theme: ChartTheme) -> Response:
    try:
        works = _works(page)
    except (StudioError, LabelConfigError):
        works = []
    return accepted_chart(works, theme)


def accepted_chart(every: list[Work], theme: Theme) -> Response:
    """A bar a version that proposed something, with the number of images below its name."""
    works = [work for work in every if work.share_accepted is not None]

    def paint(axes: Axes) -> None:
        names = [f"{work.version or 'unnamed'}\n{work.images}" for work in works]
        axes.bar(names, [work.share_accepted or 0.0 for work in works], color=theme.series[0], width=0.6)
        axes.set_ylim(0, 1)

    return chart(theme, "version and images labelled from it", "share accepted", paint)
