"""The page that shows two versions side by side."""

from dataclasses import dataclass, replace

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from labelloop.registry import Card
from trainer.dashboard import stored
from trainer.dashboard.model import chosen_card
from trainer.dashboard.pages import Asked, moment, number
from trainer.dashboard.stored import Scored
from trainer.judging.standing import Stand, Standing

router = APIRouter()

TODAY = "mAP today"


@dataclass(frozen=True)
class Line:
    """One line of a comparison. better: the column with the higher of two scores; None if neither is."""

    name: str
    left: str
    right: str
    better: str | None = None


@router.get("/compare", response_class=HTMLResponse)
def compare(page: Asked, left: str | None = None, right: str | None = None) -> HTMLResponse:
    """Two versions side by side: by default the one in service and the one before it."""
    versions = page.versions
    right_card = chosen_card(page, right)
    before = [version for version in versions if right_card is None or version != right_card.version]
    left_card = chosen_card(page, left or (before[-1] if before else None))
    if left_card is None or right_card is None or page.project is None:
        return page.show("compare.html", lines=[], versions=versions, left=None, right=None)
    scored = stored.comparable_evaluations(page.loop, page.project, (left_card.version, right_card.version))
    fingerprints = [found.evaluation.fingerprint for found in scored if found]
    same = len(fingerprints) == 2 and len(set(fingerprints)) == 1
    today = _today(page.standing, left_card.version, right_card.version)
    return page.show(
        "compare.html",
        lines=[*_about(left_card, right_card), *today, *_scores(*scored, same)],
        versions=versions[::-1],
        left=left_card.version,
        right=right_card.version,
        same=same,
        today=bool(today),
    )


def _about(left: Card, right: Card) -> list[Line]:
    def line(name: str, of: str) -> Line:
        return Line(name, *(str(getattr(card, of) or "–") for card in (left, right)))

    return [
        Line("made", *(moment(card.created_at) for card in (left, right))),
        line("in round", "round"),
        line("detector", "detector"),
        line("sees images at, px", "look"),
        line("parent", "parent"),
        line("training images", "images"),
        line("their boxes", "boxes"),
        line("verdict", "verdict"),
        line("why", "reason"),
    ]


def _today(standing: Standing | None, *versions: str) -> list[Line]:
    """Both on today's hold-out, as the pages Rounds and Model have it; nothing before there is one."""
    stands = [standing.of(version) for version in versions] if standing and standing.round else []
    left, right = stands or (None, None)
    if left is None or right is None:
        return []
    line = _score_line(TODAY, left.mAP, right.mAP)
    if left.why or right.why:  # one of them was not scored on all of it
        line = Line(TODAY, *(_with_why(stand) for stand in (left, right)))
    return [line]


def _with_why(stand: Stand) -> str:
    return "; ".join(filter(None, (number(stand.mAP) if stand.mAP is not None else "", stand.why)))


def _scores(left: Scored | None, right: Scored | None, same: bool) -> list[Line]:
    """same: whether both are of one hold-out; without that no score is called the higher one."""
    pair = [scored.evaluation if scored else None for scored in (left, right)]
    rows = [
        Line("scored in round", *(scored.round.called if scored else "–" for scored in (left, right))),
        Line("hold-out images", *(str(found.images) if found else "–" for found in pair)),
    ]
    names = [name for found in pair if found for name in found.per_class]
    scores = [("mAP", [found.mAP if found else None for found in pair])]
    scores.append(("AP50", [found.AP50 if found else None for found in pair]))
    for name in dict.fromkeys(names):
        scores.append((f"AP of {name}", [found.per_class.get(name) if found else None for found in pair]))
    lines = [_score_line(name, *values) for name, values in scores]
    return rows + (lines if same else [replace(line, better=None) for line in lines])


def _score_line(name: str, left: float | None, right: float | None) -> Line:
    better = None
    if left is not None and right is not None and left != right:
        better = "left" if left > right else "right"
    return Line(name, number(left), number(right), better)
