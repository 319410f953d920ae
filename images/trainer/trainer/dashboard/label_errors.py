"""Labels to check again: where the model in service most confidently disagrees with an annotation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException, status
from fastapi.responses import HTMLResponse, Response

from labelloop.boxes import Boxes, iou_matrix
from labelloop.registry import Card
from trainer.dashboard import junk_boxes, predictions, stored
from trainer.dashboard.agreement import GOOD, OVERLAPS, Agreement, Finding, compare
from trainer.dashboard.csv_file import csv_file
from trainer.dashboard.curves import effects
from trainer.dashboard.model import Drawn, both_sides, chosen_card, why_not_looked
from trainer.dashboard.pages import Asked, View
from trainer.dashboard.predictions import Predictions
from trainer.dashboard.stored import Scored, Stamp
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.rounds.folder import SNAPSHOT
from trainer.words import plural

router = APIRouter()

SHOWN = 24
KEPT = 2
LEAST = 0.5
LOOSEST = 0.3
COLUMNS = ("task", "image", "doubt", "label", "confidence", "x1", "y1", "x2", "y2")

WORDS = {
    Agreement.SPURIOUS: "a box may be missing",
    Agreement.WRONG_LABEL: "the label may be wrong",
    Agreement.LOOSE: "the box may be loose",
    Agreement.MISSED: "a box may be one too many",
}


@dataclass(frozen=True)
class Suspicion:
    """One disagreement. box: x1 y1 x2 y2 in pixels: the model's box, or a label's box that the model does not
    find. label: of that box. confidence: 0..1.
    """

    kind: Agreement
    confidence: float
    label: str
    box: tuple[float, float, float, float]

    @property
    def why(self) -> str:
        return WORDS[self.kind]


@dataclass(frozen=True)
class Suspect:
    """An image whose labels may be wrong. suspicions: those of at least LEAST, most confident first."""

    image: SnapshotImage
    suspicions: tuple[Suspicion, ...]
    truth: list[Drawn]
    found: list[Drawn]

    @property
    def confidence(self) -> float:
        return self.suspicions[0].confidence

    @property
    def summary(self) -> str:
        more = len(self.suspicions) - 1
        said = f"{self.suspicions[0].why} (doubt {self.confidence:.2f})"
        return f"{said}, and {plural(more, 'more doubt')}" if more else said


def suspects(
    snapshot: Snapshot, found: Predictions, limits: np.ndarray, recalls: Mapping[str, float]
) -> list[Suspect]:
    """The images with a disagreement of at least LEAST, most confident first.

    limits: (labels,) the lowest scores at which the model's boxes count. recalls: by label, the share of the
    hold-out's boxes that the model finds. Where it finds few, a box that it misses is weak evidence.
    """
    rows = [
        _suspect(image, found.of(image, limits), found.of(image), snapshot.classes, recalls)
        for image in snapshot.images
        if image.id in found.boxes
    ]
    return sorted((row for row in rows if row.suspicions), key=lambda row: -row.confidence)


def ranked(found: list[Suspect]) -> list[tuple[SnapshotImage, Suspicion]]:
    """Every suspicion of every image, most confident first."""
    rows = [(suspect.image, suspicion) for suspect in found for suspicion in suspect.suspicions]
    return sorted(rows, key=lambda row: -row[1].confidence)


def _suspect(
    image: SnapshotImage, shown: Boxes, every: Boxes, names: list[str], recalls: Mapping[str, float]
) -> Suspect:
    truth = predictions.truth_of(image)
    findings = compare(truth, shown, LOOSEST)
    suspicions = []
    for finding in findings:
        confidence = _confidence(finding, truth, shown, every, names, recalls)
        if confidence >= LEAST:
            of, index = (truth, finding.truth) if finding.found is None else (shown, finding.found)
            x1, y1, x2, y2 = (float(value) for value in of.xyxy[index])
            suspicions.append(
                Suspicion(finding.kind, confidence, names[int(of.labels[index])], (x1, y1, x2, y2))
            )
    return Suspect(
        image,
        tuple(sorted(suspicions, key=lambda suspicion: -suspicion.confidence)),
        *both_sides(truth, shown, findings, names),
    )


def _confidence(
    finding: Finding,
    truth: Boxes,
    shown: Boxes,
    every: Boxes,
    names: list[str],
    recalls: Mapping[str, float],
) -> float:
    """How much the model doubts the label, 0..1. The exponents were the best in a measurement (`make bench
    ONLY=label_errors`).
    """
    if finding.kind is Agreement.RIGHT:
        return 0.0
    if finding.found is None:
        index = finding.truth if finding.truth is not None else 0
        overlap = iou_matrix(truth.xyxy[index : index + 1], every.xyxy)[0]
        # If the model found something on a part of the box, the label is less doubtful than with nothing.
        seen = float((every.scores * np.minimum(overlap / OVERLAPS, 1.0) ** 3).max(initial=0.0))
        return (1.0 - seen) * recalls.get(names[int(truth.labels[index])], 0.0)
    score = float(shown.scores[finding.found])
    if finding.kind is Agreement.SPURIOUS:
        return score
    # Label and model agree that something is there, so a low score is hardly evidence for the label.
    looseness = min((GOOD - finding.iou) / (GOOD - OVERLAPS), 1.0) if finding.kind is Agreement.LOOSE else 1.0
    return float(score ** (1 / 3)) * looseness


def contents(page: View) -> dict[str, Any]:
    """The page's contents. suspects: all of them, None before predictions were made. shown: the first ones.

    Raises:
        HTTPException: 404, the version in service cannot be read.
    """
    card = chosen_card(page, None)
    scored = (
        stored.newest_evaluation(page.loop, page.project, card.version) if card and page.project else None
    )
    values: dict[str, Any] = {"card": card, "scored": scored, "suspects": None, **junk_boxes.contents(page)}
    if card is not None and scored is not None:
        values["why_not"] = why_not_looked(page, card, scored)
        values["looking"] = page.parts.looking.state(scored.round.id, card.version)
        snapshot = stored.snapshot(page.loop.rounds.folder(scored.round.id))
        rows = _of_round(page, card, scored, snapshot) if snapshot is not None else None
        if snapshot is not None and rows is not None:
            values |= {"suspects": rows, "shown": rows[:SHOWN], "images": snapshot.labelled}
    return values


def _of_round(page: View, card: Card, scored: Scored, snapshot: Snapshot) -> list[Suspect] | None:
    """The suspects in a round's images; None before predictions were made, or when these cannot be read."""
    folder = page.loop.rounds.folder(scored.round.id)
    files = (folder / SNAPSHOT, predictions.path_of(folder, card.version))
    stamps = tuple(stored.stamp_of(file) for file in files)
    otherwise = page.loop.settings.score_threshold
    limits = card.thresholds(snapshot.label_config.names_in(card.score_thresholds), otherwise)
    recalls = [(part.label, part.recall or 0.0) for part in effects(scored.evaluation, None, otherwise)]
    try:
        return _suspects(folder, card.version, stamps, tuple(limits.tolist()), tuple(recalls))
    except FileNotFoundError:
        return None


@lru_cache(KEPT)
def _suspects(
    folder: Path,
    version: str,
    stamps: tuple[Stamp, ...],
    limits: tuple[float, ...],
    recalls: tuple[tuple[str, float], ...],
) -> list[Suspect]:
    """Raises FileNotFoundError when a file is missing or unreadable, so that this result is not cached."""
    snapshot, found = stored.snapshot(folder), predictions.load(folder, version)
    if snapshot is None or found is None:
        raise FileNotFoundError(folder)
    return suspects(snapshot, found, np.array(limits, dtype=np.float32), dict(recalls))


@router.get("/label-errors", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    return page.show("label_errors.html", **contents(page))


@router.get("/label-errors.csv")
def table(page: Asked) -> Response:
    """Every suspicion, most confident first.

    Raises:
        HTTPException: 404, predictions for the images were not made yet.
    """
    found = contents(page)["suspects"]
    if found is None:
        raise HTTPException(
            status.HTTP_404_NOT_FOUND, "the model in service has not looked at the labels yet"
        )
    rows = (
        (image.task, image.file, doubt.why, doubt.label, round(doubt.confidence, 4))
        + tuple(round(value, 1) for value in doubt.box)
        for image, doubt in ranked(found)
    )
    return csv_file(f"labelloop-{page.project}-label-errors.csv", COLUMNS, rows)
