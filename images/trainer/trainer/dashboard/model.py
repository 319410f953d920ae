"""The page on one version of the model: how good it is, label by label and box by box."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from labelloop.boxes import Boxes
from labelloop.images import ImageError, upright
from labelloop.registry import Card, RegistryError
from labelloop.tidying import Rules, Untidy
from trainer.dashboard import agreement, predictions, stored
from trainer.dashboard.agreement import Agreement, Finding
from trainer.dashboard.captions import Caption, Captioned, placed
from trainer.dashboard.curves import effects, precision_recall_chart, total
from trainer.dashboard.looking import Look
from trainer.dashboard.pages import Asked, ChartTheme, View, templates
from trainer.dashboard.predictions import Predictions
from trainer.dashboard.security import checked_form
from trainer.dashboard.stored import Scored
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.judging.effort import TABLES, Costs
from trainer.worker.retention import weights_removed

router = APIRouter()

WORST = 12
MOST_DRAWN = 300
"""Boxes of one side of an image. A browser takes seconds for a page with tens of thousands."""
MOST_CAPTIONS = 60
LINES = 24
"""So many lines of captions are as high as an image's longer side."""
SHOWN_PX = 640
JPEG_QUALITY = 80

UNTIDY = {
    Untidy.SECOND_LABEL: ("box of a second label on an object", "boxes of a second label on an object"),
    Untidy.SECOND_BOX: ("second box of the same label", "second boxes of the same label"),
    Untidy.NESTED: ("box inside one of its label", "boxes inside one of their label"),
    Untidy.SLIVER: ("sliver", "slivers"),
    Untidy.SPECK: ("speck", "specks"),
}

Score = Annotated[float | None, Query(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class Drawn:
    """A box to draw, in pixels. kind: its result in the comparison. number: of the doubt about it."""

    x: float
    y: float
    width: float
    height: float
    label: str
    kind: Agreement
    score: float | None
    number: int | None = None

    @property
    def caption(self) -> str:
        said = self.label if self.score is None else f"{self.label} {self.score:.2f}"
        return said if self.number is None else f"{self.number} {said}"


@dataclass(frozen=True)
class Worst:
    """A hold-out image with its true boxes and the model's. seconds: a person's time to correct it."""

    image: SnapshotImage
    seconds: float
    truth: list[Drawn]
    found: list[Drawn]
    summary: str


def chosen_card(page: View, version: str | None) -> Card | None:
    """The card of the version asked for, else of the one in service; None when there is none.

    Raises:
        HTTPException: 404, there is no such version.
    """
    models = page.models
    try:
        wanted = version or (models.champion() if models else None)
        if wanted is None:
            return None
        if models is None or wanted not in models.ever():
            raise RegistryError(f"there is no version {wanted[:40]!r}")
        return models.card(wanted)
    except RegistryError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error


def scored_of(page: View, card: Card | None) -> Scored | None:
    if card is None or page.project is None:
        return None
    return stored.newest_evaluation(page.loop, page.project, card.version)


def why_not_looked(page: View, card: Card | None) -> str | None:
    """Why a version cannot look at the labelled images; None when it can."""
    if card is not None and page.models and card.version in page.models.removed():
        return weights_removed(card.version)
    return None


def seen_folder(page: View, card: Card | None, scored: Scored | None) -> Path | None:
    """The folder with what a version has seen on the labelled images; None before it has looked."""
    if page.models is None or card is None or scored is None:
        return None
    return predictions.folder_of(page.models, card.version, page.loop.rounds.folder(scored.round.id))


def look_of(page: View, card: Card | None) -> Look | None:
    """The version's look that is under way, or that has failed."""
    if page.project is None or card is None:
        return None
    return page.parts.looking.state(page.project, card.version)


def contents(page: View, version: str | None = None, score: float | None = None) -> dict[str, Any]:
    """The page's contents. Raises HTTPException: 404, there is no such version."""
    card = chosen_card(page, version)
    scored = scored_of(page, card)
    folder = seen_folder(page, card, scored)
    snapshot = stored.snapshot(folder) if folder else None
    found = predictions.load(folder, card.version) if folder and card else None
    own = effects(scored.evaluation, None, page.loop.settings.score_threshold) if scored else []
    return {
        "card": card,
        "scored": scored,
        "standing": page.standing,
        "versions": page.versions[::-1],
        "labels": own,
        "untidy": untidy_in_words(scored.evaluation.untidy) if scored else None,
        **_at(page, scored, score),
        **(_images(page, card, snapshot, found) if card and snapshot and found else {"matrix": None}),
        "look": look_of(page, card),
        "why_not": why_not_looked(page, card),
        "draw": partial(precision_recall_chart, scored.evaluation if scored else None),
    }


def untidy_in_words(counts: Mapping[str, int] | None) -> str | None:
    """What is left out so that an object has one box, by reason; None where nobody counted.

    >>> untidy_in_words({"second label": 19, "second box": 1})
    '19 boxes of a second label on an object, 1 second box of the same label'
    """
    if counts is None:
        return None
    said = [
        f"{counts[reason]} {one if counts[reason] == 1 else many}"
        for reason, (one, many) in UNTIDY.items()
        if counts.get(reason)
    ]
    return ", ".join(said) or "none"


@router.get("/model", response_class=HTMLResponse)
def show(page: Asked, version: str | None = None, score: Score = None) -> HTMLResponse:
    return page.show("model.html", **contents(page, version, score))


def _at(page: View, scored: Scored | None, score: float | None) -> dict[str, Any]:
    """The contents that depend on the slider."""
    at = page.loop.settings.score_threshold if score is None else score
    parts = effects(scored.evaluation, at, at) if scored else []
    return {"score": at, "parts": parts, "whole": total(parts)}


@router.get("/model/threshold", response_class=HTMLResponse)
def threshold(page: Asked, version: str | None = None, score: Score = None) -> HTMLResponse:
    """The part of the page that depends on the slider."""
    return page.fragment("threshold.html", **_at(page, scored_of(page, chosen_card(page, version)), score))


@router.get("/model/precision-recall.svg")
def precision_recall(page: Asked, theme: ChartTheme, version: str | None = None) -> Response:
    scored = scored_of(page, chosen_card(page, version))
    return precision_recall_chart(scored.evaluation if scored else None, theme)


@router.post("/model/look")
def look(
    request: Request,
    page: Asked,
    form: Annotated[dict[str, str], Depends(checked_form)],
    version: str | None = None,
    then: Literal["model", "label-errors"] = "model",
) -> Response:
    """Has the version look at the labelled images, as they are labelled now.

    Raises:
        HTTPException: 404, no round has scored the version, or its weights were removed.
    """
    card = chosen_card(page, version)
    scored = scored_of(page, card)
    if card is None or scored is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no round has scored this version yet")
    why_not = why_not_looked(page, card)
    if why_not:
        raise HTTPException(status.HTTP_404_NOT_FOUND, why_not)
    said = page.parts.looking.begin(int(page.project or 0), card.version)
    request.session["said"] = {"text": said, "well": True}
    where = f"/{then}?project={page.project}&version={card.version}#look"
    return RedirectResponse(where, status.HTTP_303_SEE_OTHER)


@router.get("/model/look", response_class=HTMLResponse)
def look_state(page: Asked, version: str | None = None) -> HTMLResponse:
    """How a look goes: the part of pages that the browser fetches again and again meanwhile."""
    card = chosen_card(page, version)
    return page.fragment("look.html", card=card, look=look_of(page, card))


@router.get("/model/images/{image_id}.jpg")
def image(image_id: int, page: Asked, version: str | None = None) -> Response:
    """An image that a version has looked at, upright, with at most SHOWN_PX pixels per side."""
    card = chosen_card(page, version)
    folder = seen_folder(page, card, scored_of(page, card))
    snapshot = stored.snapshot(folder) if folder else None
    found = snapshot.images.get(image_id) if snapshot else None
    if card is None or found is None:
        raise HTTPException(
            status.HTTP_404_NOT_FOUND,
            f"{card.version if card else 'the model'} has not looked at an image {image_id}",
        )
    try:
        small = thumbnail(page.loop.settings.labelloop_home / found.file, SHOWN_PX)
    except ImageError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
    return Response(small, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def thumbnail(file: Path, longest: int, quality: int = JPEG_QUALITY) -> bytes:
    """An image, upright, as a JPEG with at most `longest` pixels per side.

    Raises:
        ImageError: it cannot be read.
    """
    out = io.BytesIO()
    with upright(file) as shown:
        shown.thumbnail((longest, longest))
        shown.info.clear()
        shown.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _images(page: View, card: Card, snapshot: Snapshot, found: Predictions) -> dict[str, Any]:
    names = snapshot.label_config.names_in(card.score_thresholds)
    limits = card.thresholds(names, page.loop.settings.score_threshold)
    rules = Rules.of(card, snapshot.label_config)
    holdout = [image for image in snapshot.holdout if image.id in found.boxes]
    pairs = [(predictions.truth_of(image), found.shown(image, limits, rules)) for image in holdout]
    matrix = agreement.confusion(pairs, len(snapshot.classes))
    costs = TABLES[page.loop.settings.costs]
    worst = [
        _worst(image, *pair, snapshot.classes, costs) for image, pair in zip(holdout, pairs, strict=True)
    ]
    worst = [entry for entry in worst if entry.summary != "all right"]
    return {
        "matrix": matrix,
        "names": snapshot.classes,
        "most": max((count for row in matrix for count in row), default=0),
        "holdout": len(holdout),
        "looked_at": found.began,
        "worst": sorted(worst, key=lambda entry: -entry.seconds)[:WORST],
    }


def _worst(image: SnapshotImage, truth: Boxes, found: Boxes, names: list[str], costs: Costs) -> Worst:
    findings = agreement.compare(truth, found)
    wrong = [finding for finding in findings if finding.kind is not Agreement.RIGHT]
    counts = {kind: sum(finding.kind is kind for finding in wrong) for kind in Agreement}
    return Worst(
        image,
        agreement.seconds(wrong, costs),
        *both_sides(truth, found, findings, names),
        ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "all right",
    )


def both_sides(
    truth: Boxes,
    found: Boxes,
    findings: Sequence[Finding],
    names: list[str],
    number: Callable[[Finding], int | None] = lambda finding: None,
) -> tuple[list[Drawn], list[Drawn]]:
    """The boxes of a comparison to draw, of the truth and of the model: at most MOST_DRAWN each, those that
    disagree first. number: that of the doubt about a finding.
    """
    telling = sorted(findings, key=lambda finding: finding.kind is Agreement.RIGHT)
    of_truth = [f for f in telling if f.truth is not None][:MOST_DRAWN]
    of_found = [f for f in telling if f.found is not None][:MOST_DRAWN]
    return (
        [_drawn(truth, f.truth, f, names, False, number(f)) for f in of_truth if f.truth is not None],
        [_drawn(found, f.found, f, names, True, number(f)) for f in of_found if f.found is not None],
    )


def _drawn(
    boxes: Boxes, index: int, finding: Finding, names: list[str], scored: bool, number: int | None
) -> Drawn:
    """A box of a comparison, with its score where it has one."""
    x1, y1, x2, y2 = (float(value) for value in boxes.xyxy[index])
    score = float(boxes.scores[index]) if scored else None
    return Drawn(x1, y1, x2 - x1, y2 - y1, names[int(boxes.labels[index])], finding.kind, score, number)


def captions(boxes: Sequence[Drawn], image: SnapshotImage) -> list[Caption]:
    """The captions for a picture's boxes that have room."""
    size = image.width, image.height
    wanted = [
        Captioned(
            box.x,
            box.y,
            box.width,
            box.height,
            box.caption,
            box.number is not None or box.kind != Agreement.RIGHT,
        )
        for box in boxes[:MOST_CAPTIONS]
    ]
    return placed(wanted, size, max(size) / LINES)


templates.env.globals |= {"captions": captions, "LINES": LINES}
