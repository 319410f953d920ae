"""The few figures by which a release is judged, of all runs of one order."""

from collections.abc import Sequence
from typing import Any

from trainer.judging.effort import TABLES
from trainer.simulate.figures import RunFigures, Step, by
from trainer.simulate.promotions import counts
from trainer.simulate.spread import plain

AT_LABELS = 40
"""The number of labels at which versions are compared."""


def show(runs: Sequence[RunFigures]) -> dict[str, Any]:
    """Means and spreads over the runs, as JSON.

    saved, first_images, in_editor: by the tables of costs; the last as if the page Verify had not been used.
    mAP: on the test images, of the version in service with AT_LABELS labels. trained_at: the labels of the
    round before that. verified: sums over the runs. promotions: as in `promotions.counts`.
    """
    tables = [run.saved_by_tables for run in runs]
    at = [max((step for step in run.steps if step.labels <= AT_LABELS), key=_labels) for run in runs]
    long_enough = [step for run, step in zip(runs, at, strict=True) if run.steps[-1].labels >= AT_LABELS]
    verified = sum((run.effort.verified for run in runs[1:]), runs[0].effort.verified)
    return {
        **{
            name: {table: plain(row[by(table, of)] for row in tables) for table in TABLES}
            for name, of in (
                ("saved", "saved_by_hand"),
                ("first_images", "saved_first_images"),
                ("in_editor", "saved_in_editor"),
            )
        },
        "mAP": plain(step.mAP for step in long_enough),
        "trained_at": plain(step.labels for step in long_enough),
        "first_click_right": plain(run.first_click_right for run in runs),
        "learning_s": plain(seconds for run in runs for seconds in run.learning_s),
        "learning_most_s": max((seconds for run in runs for seconds in run.learning_s), default=None),
        "share_verified": plain(run.share_verified for run in runs),
        "verified": {name: getattr(verified, name) for name in ("images", "right", "wrong", "missed")},
        "promotions": counts(
            sum(run.rounds for run in runs), [row for run in runs for row in run.promotions]
        ),
    }


def _labels(step: Step) -> int:
    return step.labels
