"""Labels to look at again: where the model in service and an annotation disagree most confidently."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from labelloop.boxes import Boxes, iou_matrix
from trainer.dashboard import predictions, stored
from trainer.dashboard.agreement import GOOD, OVERLAPS, Finding, Kind, compare
from trainer.dashboard.curves import effects
from trainer.dashboard.model import Drawn, chosen_card, drawn
from trainer.dashboard.pages import Asked, percent
from trainer.dashboard.predictions import Predictions
from trainer.snapshot import Snapshot, SnapshotImage

router = APIRouter()

SHOWN = 24
LEAST = 0.3

WORDS = {
    Kind.SPURIOUS: "a box may be missing",
    Kind.WRONG_LABEL: "the label may be wrong",
    Kind.LOOSE: "the box may be loose",
    Kind.MISSED: "a box may be one too many",
}


@dataclass(frozen=True)
class Suspect:
    """An image whose label may be wrong. confidence: 0..1, of the surest disagreement on it."""

    image: SnapshotImage
    confidence: float
    why: str
    truth: list[Drawn]
    found: list[Drawn]

    @property
    def summary(self) -> str:
        return f"{self.why} ({percent(self.confidence)} sure)"


def suspects(
    snapshot: Snapshot, found: Predictions, limits: np.ndarray, recalls: Mapping[str, float]
) -> list[Suspect]:
    """The images with a disagreement of at least LEAST, surest first.

    limits: (labels,) scores from which on the model's boxes count. recalls: by label, the share of the
    hold-out's boxes that the model finds; where it finds few, a box that it does not see says little.
    """
    rows = [
        _suspect(image, found.of(image, limits), found.of(image), snapshot.classes, recalls)
        for image in snapshot.images
        if image.id in found.boxes
    ]
    return sorted((row for row in rows if row.confidence >= LEAST), key=lambda row: -row.confidence)


def _suspect(
    image: SnapshotImage, shown: Boxes, every: Boxes, names: list[str], recalls: Mapping[str, float]
) -> Suspect:
    truth = predictions.truth_of(image)
    findings = compare(truth, shown)
    rated = [(_confidence(finding, truth, shown, every, names, recalls), finding) for finding in findings]
    confidence, surest = max(rated, key=lambda pair: pair[0], default=(0.0, None))
    return Suspect(
        image,
        confidence,
        WORDS.get(surest.kind, "") if surest else "",
        [drawn(truth, f.truth, f, names, False) for f in findings if f.truth is not None],
        [drawn(shown, f.found, f, names, True) for f in findings if f.found is not None],
    )


def _confidence(
    finding: Finding,
    truth: Boxes,
    shown: Boxes,
    every: Boxes,
    names: list[str],
    recalls: Mapping[str, float],
) -> float:
    """How sure the model is that the label is wrong there."""
    if finding.kind is Kind.RIGHT:
        return 0.0
    if finding.found is not None:
        score = float(shown.scores[finding.found])
        looseness = (GOOD - finding.iou) / (GOOD - OVERLAPS) if finding.kind is Kind.LOOSE else 1.0
        return score * looseness
    index = finding.truth if finding.truth is not None else 0
    overlaps = iou_matrix(truth.xyxy[index : index + 1], every.xyxy)[0] >= OVERLAPS
    seen = float(every.scores[overlaps].max(initial=0.0))
    return (1.0 - seen) * recalls.get(names[int(truth.labels[index])], 0.0)


@router.get("/label-errors", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    card = chosen_card(page, None)
    scored = (
        stored.newest_evaluation(page.loop, page.project, card.version) if card and page.project else None
    )
    values: dict[str, object] = {"card": card, "scored": scored, "suspects": None}
    if card is not None and scored is not None:
        folder = page.loop.rounds.folder(scored.round.id)
        values["looking"] = page.request.app.state.looking.state(scored.round.id, card.version)
        snapshot, found = stored.snapshot(folder), predictions.load(folder, card.version)
        if snapshot is not None and found is not None:
            otherwise = page.loop.settings.score_threshold
            recalls = {part.label: part.recall or 0.0 for part in effects(scored.evaluation, None, otherwise)}
            rows = suspects(snapshot, found, card.thresholds(snapshot.classes, otherwise), recalls)
            values |= {"suspects": rows[:SHOWN], "count": len(rows), "images": snapshot.labelled}
    return page.show("label_errors.html", 200, **values, task_url=page.task_url)
