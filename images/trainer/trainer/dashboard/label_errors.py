"""The page of labels to check again: what the model in service doubts about the labels of now, and what was
decided.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query, status
from fastapi.responses import HTMLResponse, Response

from labelloop.files import Stamp, stamp_of
from labelloop.registry import Card
from labelloop.tidying import Rules
from trainer.dashboard import junk_boxes, predictions, stored
from trainer.dashboard.changes import Since
from trainer.dashboard.csv_file import csv_file
from trainer.dashboard.curves import effects
from trainer.dashboard.doubts import (
    WORDS,
    Doubter,
    Kind,
    Suspect,
    Suspicion,
    by_confidence,
    ranked,
    suspects,
    without_dismissed,
)
from trainer.dashboard.model import chosen_card, look_of, scored_of, seen_folder, why_not_looked
from trainer.dashboard.pages import Asked, View
from trainer.dashboard.stored import Scored
from trainer.dataset.reviews import How, Mark, Reviews, ReviewsError
from trainer.dataset.snapshot import Snapshot
from trainer.rounds.folder import SNAPSHOT

router = APIRouter()

SHOWN = 24
KEPT = 2
KEYS = {How.ACCEPTED: "a", How.DELETED: "d", How.RELABELLED: "c"}
DECIDED = {
    How.RIGHT: "the label is right",
    How.ACCEPTED: "the model's box was taken",
    How.DELETED: "the label's box was deleted",
    How.RELABELLED: "the label was changed",
}
COLUMNS = ("task", "image", "doubt", "label", "confidence", "x1", "y1", "x2", "y2", "decided", "by")


@dataclass(frozen=True)
class Choice:
    """What of the doubts is shown: the part of the address that a bookmark keeps."""

    kind: Kind | None = None
    label: str | None = None
    show: Literal["open", "done"] = "open"
    page: int = 1

    def takes(self, suspicion: Suspicion) -> bool:
        return self.kind in (None, suspicion.kind) and (self.label is None or self.label in suspicion.labels)

    def takes_mark(self, mark: Mark) -> bool:
        labels = {side.label for side in (mark.label, mark.model) if side is not None}
        return self.kind in (None, _kind_of(mark)) and (self.label is None or self.label in labels)

    def query(self, project: int | None, **changed: object) -> str:
        """The address's query, with some other values. What is as at first is left out."""
        values = {"kind": self.kind, "label": self.label, "show": self.show, "page": self.page, **changed}
        first = {"kind": None, "label": None, "show": "open", "page": 1}
        kept = {
            name: str(value) for name, value in values.items() if value != first[name] and value is not None
        }
        return urlencode({"project": project, **kept})


def chosen(
    kind: Kind | Literal[""] = "",
    label: str = "",
    show: Literal["open", "done"] = "open",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Choice:
    """The choice in an address. Empty texts, which a form without scripts sends, choose everything."""
    return Choice(kind or None, label or None, show, page)


Chosen = Annotated[Choice, Depends(chosen)]


@dataclass(frozen=True)
class Doubts:
    """All doubts of the model in service, as the labels are now.

    every: images with their doubts, most confident first; open: with those that nobody has dismissed. marks:
    what was decided, by task. since: what was changed since the look.
    """

    folder: Path
    snapshot: Snapshot
    looked_at: datetime
    open: list[Suspect]
    every: list[Suspect]
    marks: Mapping[int, list[Mark]]
    since: Since


def doubts(page: View, card: Card, scored: Scored) -> Doubts | None:
    """None before the version has looked, or when what it saw cannot be read.

    Raises:
        ReviewsError: what was decided cannot be read.
    """
    folder = seen_folder(page, card, scored)
    snapshot = stored.snapshot(folder) if folder else None
    base = _of_folder(page, card, scored, folder) if folder and snapshot else None
    if folder is None or snapshot is None or base is None or page.models is None:
        return None
    doubter, found = base
    looked_at = doubter.found.began or datetime.fromisoformat(scored.round.requested_at).astimezone(UTC)
    since = page.parts.changes.since(folder, snapshot, looked_at)
    every = _now(doubter, found, since)
    marks: dict[int, list[Mark]] = {}
    for mark in Reviews(page.models.path).marks():
        marks.setdefault(mark.task, []).append(mark)
    return Doubts(folder, snapshot, looked_at, without_dismissed(every, marks), every, marks, since)


def current_doubts(page: View) -> Doubts | None:
    """Those of the model in service. Raises as `doubts` does; HTTPException: 404, it cannot be read."""
    card = chosen_card(page, None)
    scored = scored_of(page, card)
    return doubts(page, card, scored) if card and scored else None


def _now(doubter: Doubter, found: list[Suspect], since: Since) -> list[Suspect]:
    """The suspects, with those that were changed since compared anew."""
    changed = dict(since.images)
    if not changed:
        return found
    fresh = (doubter.again(image) for image in changed.values() if image is not None)
    return by_confidence(
        [suspect for suspect in found if suspect.image.task not in changed]
        + [suspect for suspect in fresh if suspect is not None]
    )


def contents(page: View, choice: Choice | None = None, who: str = "") -> dict[str, Any]:
    """The page's contents. suspects: all that the choice takes, None before the version has looked. shown:
    those of the choice's page. newest: the last decision of `who`.

    Raises:
        HTTPException: 404, the version in service cannot be read, or there is no such label.
    """
    choice = choice or Choice()
    card = chosen_card(page, None)
    scored = scored_of(page, card)
    values: dict[str, Any] = {
        "card": card,
        "scored": scored,
        "suspects": None,
        "choice": choice,
        "kinds": WORDS,
        "keys": KEYS,
        "decided": DECIDED,
        "look": look_of(page, card),
        "why_not": why_not_looked(page, card),
        **junk_boxes.contents(page),
    }
    if card is None or scored is None:
        return values
    try:
        found = doubts(page, card, scored)
    except ReviewsError as error:
        return {**values, "problem": str(error)}
    return values if found is None else values | _listed(page, found, choice, who)


def _listed(page: View, found: Doubts, choice: Choice, who: str) -> dict[str, Any]:
    names = found.snapshot.classes
    if choice.label is not None and choice.label not in names:
        listed = ", ".join(names)
        raise HTTPException(
            status.HTTP_404_NOT_FOUND, f"there is no label {choice.label[:40]!r}; there are: {listed}"
        )
    taken = filtered(found.open, choice)
    done = _done(found, choice)
    rows: Sequence[object] = taken if choice.show == "open" else done
    pages = max(1, -(-len(rows) // SHOWN))
    number = min(choice.page, pages)
    on_page = slice((number - 1) * SHOWN, number * SHOWN)
    shown = taken[on_page] if choice.show == "open" else []
    page.parts.changes.look_up(found.since, found.snapshot, [suspect.image.task for suspect in shown])
    there = found.since.images
    shown = [suspect for suspect in shown if there.get(suspect.image.task, suspect.image) is not None]
    return {
        "suspects": taken,
        "shown": shown,
        "done": done[on_page] if choice.show == "done" else [],
        "done_count": len(done),
        "doubt_count": sum(len(suspect.suspicions) for suspect in taken),
        "counts": Counter(doubt.kind for suspect in found.open for doubt in suspect.suspicions),
        "names": names,
        "pages": pages,
        "number": number,
        "gone": choice.page > pages,
        "images": found.snapshot.labelled,
        "looked_at": found.looked_at,
        "owners": found.since.owners,
        "problem": _silence(found),
        "newest": max(
            (mark for rows in found.marks.values() for mark in rows if mark.by == who), key=_at, default=None
        ),
    }


def _at(mark: Mark) -> datetime:
    return mark.at


def _silence(found: Doubts) -> str | None:
    if found.since.problem is None:
        return None
    return f"Label Studio does not say which labels were changed since the look: {found.since.problem}"


def filtered(found: Sequence[Suspect], choice: Choice) -> list[Suspect]:
    """The images with a doubt that the choice takes, with all their doubts."""
    if choice.kind is None and choice.label is None:
        return list(found)
    return [suspect for suspect in found if any(map(choice.takes, suspect.suspicions))]


def _done(found: Doubts, choice: Choice) -> list[Mark]:
    """What was decided, newest first."""
    marks = [mark for rows in found.marks.values() for mark in rows if choice.takes_mark(mark)]
    return sorted(marks, key=_at, reverse=True)


def _kind_of(mark: Mark) -> Kind | None:
    return next((kind for kind, words in WORDS.items() if words == mark.doubt), None)


def _of_folder(page: View, card: Card, scored: Scored, folder: Path) -> tuple[Doubter, list[Suspect]] | None:
    """The suspects of a look with its labels; None when it cannot be read."""
    files = (folder / SNAPSHOT, predictions.path_of(folder, card.version))
    stamps = tuple(stamp_of(file) for file in files)
    otherwise = page.loop.settings.score_threshold
    recalls = [(part.label, part.recall or 0.0) for part in effects(scored.evaluation, None, otherwise)]
    try:
        return _suspects(folder, card.model_dump_json(), stamps, otherwise, tuple(recalls))
    except FileNotFoundError:
        return None


@lru_cache(KEPT)
def _suspects(
    folder: Path,
    card_json: str,
    stamps: tuple[Stamp, ...],
    otherwise: float,
    recalls: tuple[tuple[str, float], ...],
) -> tuple[Doubter, list[Suspect]]:
    """Raises FileNotFoundError when a file is missing or unreadable, so that this result is not cached."""
    card = Card.model_validate_json(card_json)
    snapshot, found = stored.snapshot(folder), predictions.load(folder, card.version)
    if snapshot is None or found is None:
        raise FileNotFoundError(folder)
    limits = card.thresholds(snapshot.label_config.names_in(card.score_thresholds), otherwise)
    rules = Rules.of(card, snapshot.label_config)
    doubter = Doubter(found, snapshot.classes, limits, rules, dict(recalls))
    return doubter, suspects(snapshot, doubter)


@router.get("/label-errors", response_class=HTMLResponse)
def show(page: Asked, choice: Chosen) -> HTMLResponse:
    return page.show("label_errors.html", person=page.person, **contents(page, choice, page.person.email))


@router.get("/label-errors.csv")
def table(page: Asked) -> Response:
    """Every suspicion, most confident first, dismissed ones too.

    Raises:
        HTTPException: 404, the version in service has not looked yet; 503, what was decided cannot be read.
    """
    try:
        found = current_doubts(page)
    except ReviewsError as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error)) from error
    if found is None:
        raise HTTPException(
            status.HTTP_404_NOT_FOUND, "the model in service has not looked at the labels yet"
        )
    rows = (
        (image.task, image.file, doubt.why, doubt.label, round(doubt.confidence, 4))
        + tuple(round(value, 1) for value in doubt.box)
        + _decided(doubt, found.marks.get(image.task, []))
        for image, doubt in ranked(found.every)
    )
    return csv_file(f"labelloop-{page.project}-label-errors.csv", COLUMNS, rows)


def _decided(doubt: Suspicion, marks: Sequence[Mark]) -> tuple[str, str]:
    by = next((mark.by for mark in marks if mark.dismisses(doubt.truth, doubt.found)), None)
    return ("", "") if by is None else (DECIDED[How.RIGHT], by)
