"""The few figures by which a release is judged, of all runs of one order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer.judging.effort import TABLES
from trainer.simulate.figures import RunFigures, Step, by
from trainer.simulate.promotions import counts
from trainer.simulate.spread import plain
from trainer.words import plural

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


def recorded(shown: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The figures as rows whose course over commits is kept (docs/benchmarks/): name, value, unit and detail.

    shown: what `show` gives, by order. What was not measured has no row.

    >>> recorded({"random": {"saved": {"quick": {"mean": 0.5, "sd": 0.01, "n": 3}}}})
    [{'name': 'random: time saved, quick costs', 'value': 50.0, 'unit': '%', 'detail': '± 1.0, 3 runs'}]
    """
    return [row for order, figures in shown.items() for row in _rows(order, figures)]


_SHARES = {
    "saved": "time saved",
    "first_images": "time saved on the first ten images",
    "in_editor": "time saved with every image opened in the editor",
}


def _rows(order: str, figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, words in _SHARES.items():
        for table, share in figures.get(name, {}).items():
            yield from _row(f"{order}: {words}, {table} costs", share, "%")
    yield from _row(f"{order}: images submitted from the page Verify", figures.get("share_verified"), "%")
    yield from _row(f"{order}: mAP with {AT_LABELS} labels", figures.get("mAP"), "")
    yield from _row(f"{order}: first clicks right", figures.get("first_click_right"), "%")
    yield from _row(f"{order}: from a submission to boxes", figures.get("learning_s"), "s")
    promotions = figures.get("promotions") or {}
    if promotions.get("share_wrong") is not None:
        yield {
            "name": f"{order}: rounds that promoted a version of lower mAP",
            "value": 100 * promotions["share_wrong"],
            "unit": "%",
            "detail": f"{promotions['wrong']} of {promotions['rounds']}, "
            f"{promotions['wrong_undone_soon']} undone by themselves",
        }


def _row(name: str, spread: Mapping[str, Any] | None, unit: str) -> Iterator[dict[str, Any]]:
    if spread is None:
        return
    factor = 100 if unit == "%" else 1
    runs = plural(spread["n"], "submission" if unit == "s" else "run")
    sd = "" if spread["sd"] is None else f"± {factor * spread['sd']:.{1 if factor > 1 else 3}f}, "
    yield {"name": name, "value": factor * spread["mean"], "unit": unit, "detail": sd + runs}


def _labels(step: Step) -> int:
    return step.labels
