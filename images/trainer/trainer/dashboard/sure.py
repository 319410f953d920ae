"""Which of a version's stored boxes it is sure of, and whether it sees anything else in their image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelloop import label_xml
from labelloop.card import Card
from labelloop.labels import LabelConfig
from labelloop.order import LAST
from labelloop.regions import read_regions
from labelloop.studio import has_draft
from labelloop.twins import is_marked
from labelloop.verified import BESIDE
from trainer.judging.evaluate import Evaluation
from trainer.judging.matches import ACCEPTED, ClassMatches

SURE = 0.9
"""A score is sure when so large a share of the hold-out's boxes with it, or a higher one, is right."""
WORTH_A_LOOK = 0.1
"""From this score on, a box that is not proposed is worth a look: one in ten, by the model's own word."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class SureBox:
    """One box to verify. number: its region's place in the prediction. place: left, top, width, height in
    percent of the upright image.
    """

    number: int
    label: str
    score: float
    place: tuple[float, float, float, float]


@dataclass(frozen=True)
class Proposed:
    """An unlabelled image with sure boxes. rows: all regions of the prediction. finishes: every region is
    sure, and the model sees nothing else that is worth a look, so the image is done once all are verified.
    """

    task: int
    version: str
    prediction: int
    image: str
    size: tuple[int, int]
    rows: tuple[dict[str, Any], ...]
    boxes: tuple[SureBox, ...]
    finishes: bool


def sure_from(matches: ClassMatches) -> float | None:
    """The lowest score from which on SURE of a label's boxes were right; None when there is none.

    Right is a box that a person leaves as it is. One more is counted as wrong, so that a few right ones are
    no proof: nine are needed.

    >>> ten = ClassMatches(truths=[10], image=[0] * 10, score=[0.9] * 9 + [0.4], hits=[1023] * 9 + [0])
    >>> sure_from(ten)
    0.9
    >>> sure_from(ClassMatches(truths=[8], image=[0] * 8, score=[0.9] * 8, hits=[1023] * 8)) is None
    True
    """
    right = matches.right()[ACCEPTED]
    shares = np.cumsum(right) / (np.arange(len(right)) + 2)
    last_of_score = np.append(np.diff(matches.score) < 0, [True])[: len(right)]
    good = np.flatnonzero((shares >= SURE) & last_of_score)
    return float(matches.score[good[-1]]) if len(good) else None


def limits(evaluation: Evaluation, config: LabelConfig) -> dict[str, float]:
    """By label of the config, the score from which on its boxes are sure; none for a label without one."""
    known = config.names_in(evaluation.matches)
    found = {
        label.value: sure_from(evaluation.matches[name])
        for label, name in zip(config.labels, known, strict=True)
        if name in evaluation.matches
    }
    return {name: limit for name, limit in found.items() if limit is not None}


def asks_more(xml: str) -> bool:
    """Whether a label config asks for answers that no box gives, for which the editor is needed."""
    controls = (tag for tag in label_xml.read(xml).iter() if tag.get("name") and tag.get("toName"))
    return any(tag.get("required").strip().lower() == "true" for tag in controls if "Labels" not in tag.name)


def read(
    task: Json, version: str, least: Mapping[str, float], config: LabelConfig, card: Card, finishable: bool
) -> Proposed | None:
    """A task of Label Studio's with its predictions; None when there is nothing to verify in it.

    Nothing is when somebody has begun to label it, when its boxes come from a labelled near-duplicate or it
    is one, and when a region is not one upright box with one label; nor where somebody has to open the image
    anyway, as she would look at the same boxes twice. finishable: whether boxes are all that the label config
    asks for; where they aren't, every image has to be opened.
    """
    prediction = _of_version(task, version)
    image = config.image_of(task.get("data"))
    if prediction is None or has_draft(task) or not isinstance(image, str) or _is_near_labelled(prediction):
        return None
    rows = tuple(prediction["result"])
    labels = [_label(row, config) for row in rows]
    if None in labels:
        return None
    boxes = tuple(
        SureBox(number, name, float(row["score"]), _place(row))
        for number, (row, name) in enumerate(zip(rows, labels, strict=True))
        if name is not None and float(row["score"]) >= least.get(name, np.inf)
    )
    if not boxes:
        return None
    size = int(rows[0]["original_width"]), int(rows[0]["original_height"])
    done = len(boxes) == len(rows) and not _sees_more(prediction, labels, config, card)
    if finishable and not done:
        return None
    return Proposed(
        int(task["id"]), version, int(prediction["id"]), image, size, rows, boxes, finishable and done
    )


def _of_version(task: Json, version: str) -> Json | None:
    """The newest prediction of exactly this version with any region."""
    rows = [row for row in task.get("predictions") or [] if row.get("model_version") == version]
    newest = max(rows, key=lambda row: int(row["id"]), default=None)
    return newest if newest is not None and newest.get("result") else None


def _is_near_labelled(prediction: Json) -> bool:
    """Whether the image is a labelled one's near-duplicate. Such an image can belong to the hold-out, and
    would teach next to nothing.
    """
    return prediction.get("score") == LAST or any(map(is_marked, prediction["result"]))


def _label(row: Json, config: LabelConfig) -> str | None:
    """The label of a region that is one upright box with one label and a score; None for any other."""
    if not isinstance(row.get("score"), int | float) or not row.get("original_width"):
        return None
    found = read_regions([row], config)
    if found.problems or len(found.boxes) != 1 or row["value"].get("rotation"):
        return None
    return config.names[int(found.boxes.labels[0])]


def _place(row: Json) -> tuple[float, float, float, float]:
    value = row["value"]
    return float(value["x"]), float(value["y"]), float(value["width"]), float(value["height"])


def _sees_more(prediction: Json, labels: Sequence[str | None], config: LabelConfig, card: Card) -> bool:
    """Whether a box that is not proposed is worth a look."""
    beside = prediction["result"][0].get(BESIDE)
    if isinstance(beside, int | float):
        return float(beside) >= WORTH_A_LOOK
    return _may_see_more(prediction, labels, config, card)


def _may_see_more(prediction: Json, labels: Sequence[str | None], config: LabelConfig, card: Card) -> bool:
    """The same of a prediction of an earlier release, from its score alone (labelloop.order).

    The score holds the sum of the entropies of all boxes, weighted by rarity. Less those of the boxes that
    are proposed, it bounds what any other box can have.
    """
    score = prediction.get("score")
    if not card.trained or not isinstance(score, int | float) or not 0 < score < 1:
        return True
    rarity = card.rarity(config.names_in(card.boxes_by_class))
    weights = dict(zip(config.names, rarity.tolist(), strict=True))
    shown = sum(
        weights[name] * _entropy(float(row["score"]))
        for row, name in zip(prediction["result"], labels, strict=True)
        if name is not None
    )
    return bool(1 / score - 1 - shown >= min(weights.values()) * _entropy(WORTH_A_LOOK))


def _entropy(score: float) -> float:
    p = min(max(score, 1e-6), 1 - 1e-6)
    return float(-(p * np.log(p) + (1 - p) * np.log1p(-p)))
