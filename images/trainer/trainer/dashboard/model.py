"""The page on one version of the model: how good it is, label by label and box by box."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from labelloop.boxes import Boxes
from labelloop.images import ImageError, upright
from labelloop.registry import Card, RegistryError
from trainer.dashboard import agreement, predictions, stored
from trainer.dashboard.agreement import Agreement, Finding
from trainer.dashboard.curves import effects, precision_recall_chart, total
from trainer.dashboard.pages import Asked, ChartTheme, View
from trainer.dashboard.predictions import Predictions
from trainer.dashboard.security import checked_form
from trainer.dashboard.stored import Scored
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.rounds.table import RoundError
from trainer.worker.retention import removed, snapshot_removed, weights_removed

router = APIRouter()

WORST = 12
MOST_DRAWN = 300
"""Boxes of one side of an image. A browser takes seconds for a page with tens of thousands."""
SHOWN_PX = 640
JPEG_QUALITY = 80

Score = Annotated[float | None, Query(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class Drawn:
    """A box to draw, in pixels. kind: its result in the comparison."""

    x: float
    y: float
    width: float
    height: float
    label: str
    kind: Agreement
    score: float | None


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


def _scored(page: View, card: Card | None) -> Scored | None:
    if card is None or page.project is None:
        return None
    return stored.newest_evaluation(page.loop, page.project, card.version)


def why_not_looked(page: View, card: Card | None, scored: Scored | None) -> str | None:
    """Why a version cannot predict the images of the round that scored it; None when it can."""
    if card is None or scored is None:
        return None
    if page.models and card.version in page.models.removed():
        return weights_removed(card.version)
    if removed(page.loop.rounds.folder(scored.round.id)):
        return snapshot_removed(scored.round.id)
    return None


def contents(page: View, version: str | None = None, score: float | None = None) -> dict[str, Any]:
    """The page's contents. Raises HTTPException: 404, there is no such version."""
    card = chosen_card(page, version)
    scored = _scored(page, card)
    found = snapshot = None
    looking = None
    if card is not None and scored is not None:
        folder = page.loop.rounds.folder(scored.round.id)
        found, snapshot = predictions.load(folder, card.version), stored.snapshot(folder)
        looking = page.parts.looking.state(scored.round.id, card.version)
    own = effects(scored.evaluation, None, page.loop.settings.score_threshold) if scored else []
    return {
        "card": card,
        "scored": scored,
        "standing": page.standing,
        "versions": page.versions[::-1],
        "labels": own,
        **_at(page, scored, score),
        **(_images(page, card, snapshot, found) if card and snapshot and found else {"matrix": None}),
        "looking": looking,
        "why_not": why_not_looked(page, card, scored),
        "draw": partial(precision_recall_chart, scored.evaluation if scored else None),
    }


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
    return page.fragment("threshold.html", **_at(page, _scored(page, chosen_card(page, version)), score))


@router.get("/model/precision-recall.svg")
def precision_recall(page: Asked, theme: ChartTheme, version: str | None = None) -> Response:
    scored = _scored(page, chosen_card(page, version))
    return precision_recall_chart(scored.evaluation if scored else None, theme)


@router.post("/model/look")
def look(
    request: Request,
    page: Asked,
    form: Annotated[dict[str, str], Depends(checked_form)],
    version: str | None = None,
    then: Literal["model", "label-errors"] = "model",
) -> Response:
    """Makes the version predict the images again, for the confusion matrix and the worst images."""
    card = chosen_card(page, version)
    scored = _scored(page, card)
    if card is None or scored is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no round has scored this version yet")
    why_not = why_not_looked(page, card, scored)
    if why_not:
        raise HTTPException(status.HTTP_404_NOT_FOUND, why_not)
    said = page.parts.looking.begin(scored.round.id, card.version)
    request.session["said"] = {"text": said, "well": True}
    where = f"/{then}?project={page.project}&version={card.version}"
    return RedirectResponse(where, status.HTTP_303_SEE_OTHER)


@router.get("/rounds/{round_id}/images/{image_id}.jpg")
def image(round_id: int, image_id: int, page: Asked) -> Response:
    """An image of a round's snapshot, upright, with at most SHOWN_PX pixels per side."""
    try:
        round_ = page.loop.rounds.get(round_id)
    except RoundError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
    snapshot = stored.snapshot(page.loop.rounds.folder(round_.id))
    if snapshot is None and removed(page.loop.rounds.folder(round_.id)):
        raise HTTPException(status.HTTP_404_NOT_FOUND, snapshot_removed(round_id))
    found = snapshot.images.get(image_id) if snapshot else None
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"round {round_id} has no image {image_id}")
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
    holdout = [image for image in snapshot.holdout if image.id in found.boxes]
    pairs = [(predictions.truth_of(image), found.of(image, limits)) for image in holdout]
    matrix = agreement.confusion(pairs, len(snapshot.classes))
    worst = [_worst(image, *pair, snapshot.classes) for image, pair in zip(holdout, pairs, strict=True)]
    worst = [entry for entry in worst if entry.summary != "all right"]
    return {
        "matrix": matrix,
        "names": snapshot.classes,
        "most": max((count for row in matrix for count in row), default=0),
        "holdout": len(holdout),
        "worst": sorted(worst, key=lambda entry: -entry.seconds)[:WORST],
    }


def _worst(image: SnapshotImage, truth: Boxes, found: Boxes, names: list[str]) -> Worst:
    findings = agreement.compare(truth, found)
    wrong = [finding for finding in findings if finding.kind is not Agreement.RIGHT]
    counts = {kind: sum(finding.kind is kind for finding in wrong) for kind in Agreement}
    return Worst(
        image,
        agreement.seconds(wrong),
        *both_sides(truth, found, findings, names),
        ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "all right",
    )


def both_sides(
    truth: Boxes, found: Boxes, findings: Sequence[Finding], names: list[str]
) -> tuple[list[Drawn], list[Drawn]]:
    """The boxes of a comparison to draw, of the truth and of the model: at most MOST_DRAWN each, those that
    disagree first.
    """
    telling = sorted(findings, key=lambda finding: finding.kind is Agreement.RIGHT)
    of_truth = [f for f in telling if f.truth is not None][:MOST_DRAWN]
    of_found = [f for f in telling if f.found is not None][:MOST_DRAWN]
    return (
        [_drawn(truth, f.truth, f, names, False) for f in of_truth if f.truth is not None],
        [_drawn(found, f.found, f, names, True) for f in of_found if f.found is not None],
    )


def _drawn(boxes: Boxes, index: int, finding: Finding, names: list[str], scored: bool) -> Drawn:
    """A box of a comparison, with its score where it has one."""
    x1, y1, x2, y2 = (float(value) for value in boxes.xyxy[index])
    score = float(boxes.scores[index]) if scored else None
    return Drawn(x1, y1, x2 - x1, y2 - y1, names[int(boxes.labels[index])], finding.kind, score)
