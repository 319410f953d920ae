"""The numbers for the curves, from an evaluation's matches: at an IoU of 0.5, label by label."""

from dataclasses import dataclass

import numpy as np
from fastapi import Response
from matplotlib.axes import Axes

from trainer.dashboard.charts import Theme, chart, line_style, thinned
from trainer.judging.evaluate import Evaluation
from trainer.judging.matches import ClassMatches

CURVE_POINTS = 200
DECIMALS = 9  # scores are rounded to so many; pages show and choose scores with two


@dataclass(frozen=True)
class Effect:
    """The effect of showing one label's boxes from a score on. found and missed count true boxes, spurious
    counts the model's boxes that are on no true box.
    """

    label: str
    score: float
    found: int
    missed: int
    spurious: int

    @property
    def recall(self) -> float | None:
        return _share(self.found, self.found + self.missed)

    @property
    def precision(self) -> float | None:
        return _share(self.found, self.found + self.spurious)


def effect(label: str, matches: ClassMatches, score: float) -> Effect:
    """The effect of showing a label's boxes from `score` on."""
    shown = np.round(matches.score, DECIMALS) >= round(score, DECIMALS)
    found = int((matches.right()[0] & shown).sum())
    return Effect(label, score, found, int(matches.truths.sum()) - found, int(shown.sum()) - found)


def effects(evaluation: Evaluation, score: float | None, otherwise: float) -> list[Effect]:
    """The effect for every label, at `score` or at the label's threshold (`otherwise` where it has none)."""
    own = evaluation.score_thresholds
    return [
        effect(label, matches, own.get(label, otherwise) if score is None else score)
        for label, matches in evaluation.matches.items()
    ]


def total(parts: list[Effect]) -> Effect:
    """The effect for all labels together."""
    return Effect(
        "all",
        parts[0].score if parts else 0.0,
        sum(part.found for part in parts),
        sum(part.missed for part in parts),
        sum(part.spurious for part in parts),
    )


def precision_recall(matches: ClassMatches) -> tuple[list[float], list[float]]:
    """Recall and precision after each detection, by falling score.

    As in COCO's average precision, the precision is the highest at this recall or a higher one.
    """
    right = matches.right()[0]
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = hits / max(int(matches.truths.sum()), 1)
    return recall.tolist(), envelope.tolist()


def precision_recall_chart(evaluation: Evaluation | None, theme: Theme) -> Response:
    def paint(axes: Axes) -> None:
        matches = evaluation.matches if evaluation else {}
        present = [(label, found) for label, found in matches.items() if found.truths.sum()]
        for index, (label, found) in enumerate(present):
            recall, precision = precision_recall(found)
            chosen = thinned(len(recall), CURVE_POINTS)
            axes.step(
                [0.0, *(recall[i] for i in chosen)],
                [precision[0] if precision else 0.0, *(precision[i] for i in chosen)],
                where="pre",
                label=label,
                linewidth=1.8,
                **line_style(index, theme),
            )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)

    return chart(theme, "recall", "precision", paint)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
