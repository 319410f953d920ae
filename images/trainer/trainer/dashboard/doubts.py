"""Labels to check again: where the model in service most confidently disagrees with an annotation."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from labelloop.boxes import Boxes, iou_matrix
from labelloop.tidying import Rules
from trainer.dashboard import predictions
from trainer.dashboard.agreement import GOOD, OVERLAPS, Agreement, Finding, compare
from trainer.dashboard.model import Drawn, both_sides
from trainer.dashboard.predictions import Predictions
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.reviews import How, Mark, Side
from trainer.dataset.snapshot import Snapshot
from trainer.words import plural

LEAST = 0.5
LOOSEST = 0.3
REMEMBERED = 5000


class Kind(StrEnum):
    """A kind of doubt, as in the page's address."""

    MISSING = "missing"
    LABEL = "label"
    LOOSE = "loose"
    EXTRA = "extra"


KINDS = {
    Agreement.SPURIOUS: Kind.MISSING,
    Agreement.WRONG_LABEL: Kind.LABEL,
    Agreement.LOOSE: Kind.LOOSE,
    Agreement.MISSED: Kind.EXTRA,
}
WORDS = {
    Kind.MISSING: "a box may be missing",
    Kind.LABEL: "the label may be wrong",
    Kind.LOOSE: "the box may be loose",
    Kind.EXTRA: "a box may be one too many",
}
WAYS = {
    Kind.MISSING: (How.ACCEPTED,),
    Kind.LABEL: (How.RELABELLED, How.ACCEPTED, How.DELETED),
    Kind.LOOSE: (How.ACCEPTED, How.DELETED),
    Kind.EXTRA: (How.DELETED,),
}
"""What can be done about each kind on the spot, the likeliest first."""


@dataclass(frozen=True)
class Suspicion:
    """One disagreement. truth: the label's box, None where the model alone has one; found: the model's, None
    where it finds nothing. confidence: 0..1. score: the model's of its box, None without one. number: among
    the doubts about its image; the surest is 1.
    """

    task: int
    kind: Kind
    confidence: float
    truth: Side | None
    found: Side | None
    score: float | None = None
    number: int = 0

    @property
    def why(self) -> str:
        return WORDS[self.kind]

    @property
    def id(self) -> str:
        """The same as long as the task and the two boxes are."""
        content = (self.task, self.kind.value, self.truth, self.found)
        return hashlib.sha256(repr(content).encode()).hexdigest()[:12]

    @property
    def _shown(self) -> Side:
        shown = self.truth if self.kind is Kind.EXTRA else self.found
        assert shown is not None, "a doubt has a box"
        return shown

    @property
    def label(self) -> str:
        """That of the box in question: of the model's, or of a label's box that the model does not find."""
        return self._shown.label

    @property
    def box(self) -> tuple[float, float, float, float]:
        return self._shown.box

    @property
    def labels(self) -> frozenset[str]:
        """Those of both boxes."""
        return frozenset(side.label for side in (self.truth, self.found) if side is not None)

    @property
    def says(self) -> str:
        """What is disputed, in words."""
        seen = "" if self.found is None else f"{self.found.label} ({self.score or 0.0:.2f})"
        match self.kind:
            case Kind.MISSING:
                return f"The model sees {seen} where nothing is labelled."
            case Kind.LABEL:
                return f"Labelled {self.truth.label if self.truth else ''}; the model says {seen}."
            case Kind.LOOSE:
                return (
                    f"The box of {self.truth.label if self.truth else ''} does not fit what the model sees."
                )
            case Kind.EXTRA:
                return f"Labelled {self.label}; the model sees nothing there."

    @property
    def ways(self) -> tuple[How, ...]:
        return WAYS[self.kind]

    def dismissed(self, marks: Iterable[Mark]) -> bool:
        """Whether somebody has decided that the label is right. marks: those of its task."""
        return any(mark.dismisses(self.truth, self.found) for mark in marks)


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


@dataclass(frozen=True)
class Doubter:
    """Compares with labels the boxes of a version that people are shown.

    limits: (labels,) the lowest scores at which its boxes are shown; rules: which mark an object that another
    marks. recalls: by label, the share of the hold-out's boxes that it finds. Where it finds few, a box that
    it misses is weak evidence.
    """

    found: Predictions
    names: list[str]
    limits: np.ndarray
    rules: Rules
    recalls: Mapping[str, float]
    _again: dict[SnapshotImage, Suspect | None] = field(default_factory=dict, compare=False, repr=False)

    def again(self, image: SnapshotImage) -> Suspect | None:
        """As `suspect`, remembered: pages ask again and again about the images whose labels were changed."""
        try:
            return self._again[image]
        except KeyError:
            found = self.suspect(image)
        if len(self._again) >= REMEMBERED:
            self._again.clear()
        self._again[image] = found
        return found

    def suspect(self, image: SnapshotImage) -> Suspect | None:
        """The image with what is doubtful about it; None when nothing is, or the model has not seen it."""
        if image.id not in self.found.boxes:
            return None
        shown, every = self.found.shown(image, self.limits, self.rules), self.found.of(image)
        truth = predictions.truth_of(image)
        findings = compare(truth, shown, LOOSEST)
        doubts: list[tuple[Suspicion, Finding]] = []
        for finding in findings:
            confidence = self._confidence(finding, truth, shown, every)
            if confidence >= LEAST:
                doubts.append((self._suspicion(image, finding, confidence, truth, shown), finding))
        if not doubts:
            return None
        doubts.sort(key=lambda row: -row[0].confidence)
        numbers = {id(finding): number for number, (_, finding) in enumerate(doubts, start=1)}
        sides = both_sides(truth, shown, findings, self.names, lambda finding: numbers.get(id(finding)))
        numbered = (replace(row, number=number) for number, (row, _) in enumerate(doubts, start=1))
        return Suspect(image, tuple(numbered), *sides)

    def _suspicion(
        self, image: SnapshotImage, finding: Finding, confidence: float, truth: Boxes, shown: Boxes
    ) -> Suspicion:
        return Suspicion(
            image.task,
            KINDS[finding.kind],
            confidence,
            self._side(truth, finding.truth),
            self._side(shown, finding.found),
            None if finding.found is None else float(shown.scores[finding.found]),
        )

    def _side(self, boxes: Boxes, index: int | None) -> Side | None:
        if index is None:
            return None
        x1, y1, x2, y2 = (round(float(value), 2) for value in boxes.xyxy[index])
        return Side(label=self.names[int(boxes.labels[index])], box=(x1, y1, x2, y2))

    def _confidence(self, finding: Finding, truth: Boxes, shown: Boxes, every: Boxes) -> float:
        """How much the model doubts the label, 0..1. The exponents were the best in a measurement (`make
        bench ONLY=label_errors`).
        """
        if finding.kind is Agreement.RIGHT:
            return 0.0
        if finding.found is None:
            index = finding.truth if finding.truth is not None else 0
            overlap = iou_matrix(truth.xyxy[index : index + 1], every.xyxy)[0]
            # If the model found something on a part of the box, the label is less doubtful than with nothing.
            seen = float((every.scores * np.minimum(overlap / OVERLAPS, 1.0) ** 3).max(initial=0.0))
            return (1.0 - seen) * self.recalls.get(self.names[int(truth.labels[index])], 0.0)
        score = float(shown.scores[finding.found])
        if finding.kind is Agreement.SPURIOUS:
            return score
        # Label and model agree that something is there, so a low score is hardly evidence for the label.
        loose = finding.kind is Agreement.LOOSE
        looseness = min((GOOD - finding.iou) / (GOOD - OVERLAPS), 1.0) if loose else 1.0
        return float(score ** (1 / 3)) * looseness


def suspects(snapshot: Snapshot, doubter: Doubter) -> list[Suspect]:
    """The images with a disagreement of at least LEAST, most confident first."""
    return by_confidence(suspect for image in snapshot.images if (suspect := doubter.suspect(image)))


def by_confidence(found: Iterable[Suspect]) -> list[Suspect]:
    return sorted(found, key=lambda suspect: (-suspect.confidence, suspect.image.task))


def ranked(found: Iterable[Suspect]) -> list[tuple[SnapshotImage, Suspicion]]:
    """Every suspicion of every image, most confident first."""
    rows = [(suspect.image, suspicion) for suspect in found for suspicion in suspect.suspicions]
    return sorted(rows, key=lambda row: (-row[1].confidence, row[0].task))


def without_dismissed(found: Iterable[Suspect], marks: Mapping[int, list[Mark]]) -> list[Suspect]:
    """The suspects with the suspicions that nobody has dismissed. marks: by task."""
    rows: list[Suspect] = []
    for suspect in found:
        mine = marks.get(suspect.image.task)
        left = (
            suspect.suspicions
            if not mine
            else tuple(doubt for doubt in suspect.suspicions if not doubt.dismissed(mine))
        )
        if left:
            rows.append(
                suspect if len(left) == len(suspect.suspicions) else replace(suspect, suspicions=left)
            )
    return rows
