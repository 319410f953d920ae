"""A model's score on one hold-out, as it is kept beside the versions.

    <models>/<project id>/scores/v0007.json         a version's scores
    <models>/<project id>/scores/round-00012.json   those of the candidate that round 12 did not promote

A version's folder never changes after it was written, so its scores cannot be in it: there will be more.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from labelloop.files import write_text
from labelloop.labels import LabelConfig, LabelMap
from labelloop.registry import Card, ProjectModels
from trainer.judging.evaluate import INTERVAL, RESAMPLES, SEED, Evaluation
from trainer.judging.matches import mean_average_precision, resamples
from trainer.rounds.table import Round, folder_name

FOLDER = "scores"
KEPT = 20
"""So many of the newest hold-outs' scores are kept of each model."""

_KEY = re.compile(r"v\d{4,}|round-\d{5,10}")


class Score(BaseModel):
    """One model on one hold-out.

    round, requested_at: the round whose snapshot the hold-out is of; its number may be given twice. digest:
    of the hold-out's images, labels and boxes; None once labels were renamed. images: how many were scored.
    missing: how many could not be read. labels: the labels with boxes on the hold-out that the model knows,
    to which the scores refer. unknown: those that it does not know. interval: the 95 % interval of mAP. seen:
    on how many of the images the model was trained; None when that is no longer known. why_not: why there is
    no score, for good. failed: why there is none yet.
    """

    round: int
    requested_at: str
    digest: str | None
    images: int = 0
    missing: int = 0
    mAP: float | None = None
    AP50: float | None = None
    per_class: dict[str, float] = Field(default_factory=dict)
    interval: tuple[float, float] | None = None
    labels: list[str] = Field(default_factory=list)
    unknown: list[str] = Field(default_factory=list)
    max_detections: int | None = None
    seen: int | None = None
    why_not: str | None = None
    failed: str | None = None
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def failure(cls, round_: Round, why: str) -> "Score":
        """No score on the hold-out of a round yet. why: the reason."""
        return cls(round=round_.id, requested_at=round_.requested_at, digest=None, failed=why)


class Scores(BaseModel):
    """A model's scores, the newest last. of: what tells the model from another one with its name."""

    of: str
    scores: list[Score] = Field(default_factory=list)

    def on(self, round_id: int, requested_at: str) -> Score | None:
        """The score on the hold-out of a round's snapshot."""
        wanted = (round_id, requested_at)
        return next((row for row in reversed(self.scores) if (row.round, row.requested_at) == wanted), None)

    def on_same(self, digest: str) -> Score | None:
        """The score on a hold-out with this digest, whichever round's it was."""
        rows = (row for row in reversed(self.scores) if row.digest == digest and row.failed is None)
        return next(rows, None)

    def with_score(self, score: Score) -> "Scores":
        """These scores and another one, which replaces that on the same round's hold-out."""
        where = (score.round, score.requested_at)
        others = [row for row in self.scores if (row.round, row.requested_at) != where]
        return self.model_copy(update={"scores": [*others, score][-KEPT:]})


def key_of_candidate(round_id: int) -> str:
    """The name of a round's candidate that was not promoted."""
    return f"round-{folder_name(round_id)}"


def path_of(models: ProjectModels, key: str) -> Path:
    return models.path / FOLDER / f"{key}.json"


def load(models: ProjectModels, key: str, of: str) -> Scores:
    """The scores of a model; none when there are none, or when they are those of another model."""
    try:
        found = Scores.model_validate_json(path_of(models, key).read_bytes())
    except (OSError, ValidationError):
        return Scores(of=of)
    return found if found.of == of else Scores(of=of)


def keep(models: ProjectModels, key: str, of: str, score: Score) -> None:
    """Adds a score, unless the project's models were removed meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    if models.path.is_dir():
        text = load(models, key, of).with_score(score).model_dump_json(indent=1)
        write_text(path_of(models, key), text + "\n")


def stored(models: ProjectModels) -> Iterator[tuple[str, Scores]]:
    """All scores that can be read, with the models' names."""
    for path in sorted((models.path / FOLDER).glob("*.json")):
        if _KEY.fullmatch(path.stem):
            try:
                yield path.stem, Scores.model_validate_json(path.read_bytes())
            except (OSError, ValidationError):
                continue


def renamed(found: Scores, names: Mapping[str, str]) -> Scores:
    """Scores under other names of labels. Where labels become one, the score is dropped, to be made anew: it
    cannot be told from those of the parts.
    """
    rows = []
    for row in found.scores:
        all_labels = [*row.labels, *row.unknown]
        now = {names.get(name, name) for name in all_labels}
        if not set(all_labels) & set(names):
            rows.append(row)
        elif len(now) == len(all_labels):
            rows.append(_renamed(row, names))
    return found.model_copy(update={"scores": rows})


def _renamed(row: Score, names: Mapping[str, str]) -> Score:
    return row.model_copy(
        update={
            "labels": [names.get(name, name) for name in row.labels],
            "unknown": [names.get(name, name) for name in row.unknown],
            "per_class": {names.get(name, name): score for name, score in row.per_class.items()},
            "why_not": row.why_not and knows_none([names.get(name, name) for name in row.unknown]),
            "digest": None,
        }
    )


def knows_none(unknown: Sequence[str]) -> str:
    return f"it knows none of the labels ({', '.join(unknown)})"


def known_labels(card: Card, config: LabelConfig) -> list[str]:
    """The labels of a label config that a model's classes become."""
    mapped = LabelMap.build(card.classes, config, trained=card.trained)
    return [name for name in config.names if name not in mapped.unmatched_labels]


def scored(evaluation: Evaluation, known: Collection[str], where: Score) -> Score:
    """The score in an evaluation, over the labels that the model knows. where: names the hold-out.

    A label that it does not know would count as 0 in the mean, as if it had been tried and missed.
    """
    present = [name for name, row in evaluation.matches.items() if row.truths.sum()]
    present = present or list(evaluation.per_class)
    labels = [name for name in present if name in known]
    unknown = [name for name in present if name not in known]
    facts = {
        "images": evaluation.images,
        "missing": len(evaluation.missing),
        "labels": labels,
        "unknown": unknown,
        "max_detections": evaluation.max_detections,
        "per_class": {name: score for name, score in evaluation.per_class.items() if name in known},
    }
    if evaluation.mAP is None:
        return where.model_copy(update=facts | {"why_not": "no image of the hold-out has a box"})
    if unknown and not labels:
        return where.model_copy(update=facts | {"why_not": knows_none(unknown)})
    whole = {"mAP": evaluation.mAP, "AP50": evaluation.AP50, "interval": evaluation.interval}
    return where.model_copy(update=facts | (_over(evaluation, labels) if unknown else whole))


def _over(evaluation: Evaluation, labels: Collection[str]) -> dict[str, object]:
    """mAP, AP50 and interval over some of the labels, each of which has a box on the hold-out."""
    rows = [evaluation.matches[name] for name in labels]
    resampled = mean_average_precision(rows, resamples(evaluation.images, RESAMPLES, SEED))
    low, high = np.nanpercentile(resampled, INTERVAL)
    return {
        "mAP": float(np.mean([evaluation.per_class[name] for name in labels])),
        "AP50": float(np.mean([row.average_precision_50() for row in rows])),
        "interval": (float(low), float(high)),
    }
