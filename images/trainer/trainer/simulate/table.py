"""Shows a simulation's figures as tables."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rich.table import Table

from trainer.judging.effort import TABLES
from trainer.simulate.figures import FIRST_IMAGES, Step, by
from trainer.simulate.promotions import UNDONE_WITHIN
from trainer.simulate.show import AT_LABELS
from trainer.simulate.work_done import PRICES, saved
from trainer.words import duration

_COLUMNS = (
    ("order", 11),
    ("seed", 4),
    ("labels", 6),
    ("boxes", 6),
    ("accepted", 8),
    ("adjusted", 8),
    ("relabelled", 10),
    ("deleted", 7),
    ("drawn", 6),
    ("clicked", 7),
    ("verified", 8),
    ("share", 5),
    ("time", 9),
    ("by hand", 9),
    ("saved", 6),
    *((name, 7) for name in TABLES),
    ("mAP", 6),
    ("AP50", 6),
    ("wall", 9),
)
_TOTALS = {
    "saved_by_hand": "time saved against drawing all by hand",
    "saved_first_images": f"time saved on the first {FIRST_IMAGES} images",
    "saved_one_round": "time saved against one round only, without clicks",
    "one_round_saved_by_hand": "one round only, against all by hand",
    "first_click_right": "first clicks on an object that fetched a right box",
    "share_accepted": "proposed boxes accepted, in the editor",
    "share_verified": "images submitted from the page Verify",
    "mAP": "mAP at the end",
    "AP50": "AP50 at the end",
    "learning_s": "seconds from a submission to boxes that learnt from it, mean",
    "learning_most_s": "the most of these seconds",
    "wall_seconds": "seconds that the run took",
}


def line(step: Step) -> str:
    """A step as a row below HEADER, with its verdict at the end."""
    work = step.work
    values = (
        step.order,
        step.seed,
        step.labels,
        step.boxes,
        work.accepted,
        work.adjusted,
        work.relabelled,
        work.deleted,
        work.drawn,
        work.by_click,
        step.effort.verified.images,
        "-" if work.share_accepted is None else f"{work.share_accepted:.0%}",
        duration(step.seconds),
        duration(step.by_hand_seconds),
        f"{saved(step.seconds, step.by_hand_seconds):.0%}",
        *(f"{step.effort.share_saved(person):.0%}" for person in PRICES.values()),
        f"{step.mAP:.3f}",
        f"{step.AP50:.3f}",
        duration(step.wall_seconds),
    )
    return f"{_joined(values)}  {step.verdict or step.version}"


def _joined(values: tuple[object, ...]) -> str:
    return " ".join(f"{value!s:>{width}}" for value, (_, width) in zip(values, _COLUMNS, strict=True))


HEADER = f"{_joined(tuple(name for name, _ in _COLUMNS))}  verdict"


def tables(summary: dict[str, Any]) -> Iterator[Table]:
    """The summary as tables, with mean ± standard deviation over the seeds."""
    if not summary["orders"]:
        return
    totals = Table(title="Over all labels", title_justify="left")
    totals.add_column("")
    for order in summary["orders"]:
        totals.add_column(order, justify="right")
    for name, words in _TOTALS.items():
        digits = 1 if "seconds" in words else 3
        totals.add_row(words, *(spread(row[name], digits) for row in summary["orders"].values()))
        for table in TABLES:
            if (of_table := by(table, name)) in next(iter(summary["orders"].values())):
                shares = (spread(figures[of_table]) for figures in summary["orders"].values())
                totals.add_row(f"  by the {table} table", *shares)
    yield totals
    steps = Table(title="By number of labels", title_justify="left")
    of_tables = {f"saved by hand, {table}": by(table, "saved_by_hand") for table in TABLES}
    for name in (
        "order",
        "labels",
        "mAP",
        "AP50",
        "accepted",
        "saved by hand",
        *of_tables,
        "first click right",
        "least certain first",
    ):
        steps.add_column(name, justify="left" if name == "order" else "right")
    for row in summary["steps"]:
        of_row = (
            "mAP",
            "AP50",
            "share_accepted",
            "saved_by_hand",
            *of_tables.values(),
            "first_click_right",
            "least_certain_first",
        )
        steps.add_row(row["order"], str(row["labels"]), *(spread(row[name]) for name in of_row))
    yield steps
    yield _promotions(summary["promotions"])
    yield _spent(summary["runs"])
    if summary["labels_needed"]:
        yield _labels_needed(summary)
    yield _show(summary["show"])


def _show(of: dict[str, dict[str, Any]]) -> Table:
    """The few figures by which a release is judged, by order."""
    table = Table(title="In short", title_justify="left")
    table.add_column("")
    for order in of:
        table.add_column(order, justify="right")

    def row(words: str, cell: Callable[[dict[str, Any]], str]) -> None:
        table.add_row(words, *(cell(figures) for figures in of.values()))

    for name, words in _SHOWN.items():
        row(f"{words}, {' / '.join(TABLES)}", partial(_by_tables, name))
    row("images submitted from the page Verify", lambda figures: _percent(figures["share_verified"]))
    row("  their boxes right, wrong; objects missed", _verified)
    row(f"mAP with {AT_LABELS} labels, the newest version", lambda figures: spread(figures["mAP"]))
    row("  of the round with so many labels", lambda figures: spread(figures["trained_at"], 0))
    row("first clicks that fetched a right box", lambda figures: _percent(figures["first_click_right"]))
    row("seconds from a submission to boxes that learnt from it, mean; most", _learning)
    row("rounds; promotions with a lower mAP on the test images", _wrong)
    row(f"  of these undone within {UNDONE_WITHIN} images", _undone)
    return table


_SHOWN = {
    "saved": "time saved against all by hand",
    "first_images": f"  on the first {FIRST_IMAGES} images",
    "in_editor": "  with every image opened in the editor",
}


def _by_tables(name: str, figures: dict[str, Any]) -> str:
    return " / ".join(_percent(figures[name][table]) for table in TABLES)


def _percent(figure: dict[str, Any] | None) -> str:
    """A spread of shares in words, e.g. 51.2 ± 1.0 %."""
    if figure is None:
        return "-"
    sd = "" if figure["sd"] is None else f" ± {100 * figure['sd']:.1f}"
    return f"{100 * figure['mean']:.1f}{sd} %"


def _verified(figures: dict[str, Any]) -> str:
    verified = figures["verified"]
    return f"{verified['right']}, {verified['wrong']}; {verified['missed']}"


def _learning(figures: dict[str, Any]) -> str:
    mean, most = figures["learning_s"], figures["learning_most_s"]
    return "-" if mean is None else f"{mean['mean']:.1f}; {most:.1f}"


def _wrong(figures: dict[str, Any]) -> str:
    promotions = figures["promotions"]
    share = promotions["share_wrong"]
    return f"{promotions['rounds']}; {promotions['wrong']}" + ("" if share is None else f" ({share:.1%})")


def _undone(figures: dict[str, Any]) -> str:
    return str(figures["promotions"]["wrong_undone_soon"])


def _promotions(counts: dict[str, Any]) -> Table:
    """What the test images say of the rounds' promotions."""
    table = Table(title="Rounds", title_justify="left")
    for name in ("", "all", f"undone within {UNDONE_WITHIN} images"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("rounds", str(counts["rounds"]), "")
    table.add_row("promotions", str(counts["promoted"]), "")
    for name, words in (("wrong", "lower mAP on the test images"), ("slower", "slower to correct there")):
        share = counts[f"share_{name}"]
        of_all = "" if share is None else f", {share:.1%} of the rounds"
        undone_soon = str(counts[f"{name}_undone_soon"])
        table.add_row(f"of them {words} than the former", f"{counts[name]}{of_all}", undone_soon)
    return table


def _spent(runs: list[dict[str, Any]]) -> Table:
    """Where the runs' time went, in their mean."""
    table = Table(title="Where the time of a run went", title_justify="left")
    table.add_column("")
    table.add_column("seconds", justify="right")
    for on in dict.fromkeys(on for run in runs for on in run["spent"]):
        table.add_row(on, f"{sum(run['spent'].get(on, 0.0) for run in runs) / len(runs):.1f}")
    return table


def _labels_needed(summary: dict[str, Any]) -> Table:
    """The labels needed, by seed and then on the mean curves."""
    table = Table(title="Labels needed", title_justify="left")
    for name in ("mAP", "of random order", "uncertainty", "random", "ratio"):
        table.add_column(name, justify="right")
    for row in summary["labels_needed"]:
        needed = (spread(row[order], 0) for order in ("uncertainty", "random"))
        ratio = spread(row["ratio"], 2)
        table.add_row(f"{row['target']:.3f}", f"{row['share']:.0%} of the last", *needed, ratio)
    for row in summary["labels_needed_on_means"]:
        mine, its = row["uncertainty"], row["labels"]
        count, ratio = ("-", "-") if mine is None else (f"{mine:.0f}", f"{mine / its:.2f}")
        table.add_row(f"{row['mAP']:.3f}", f"mean of {row['seeds']} at {its}", count, str(its), ratio)
    return table


def spread(figure: dict[str, Any] | None, digits: int = 3) -> str:
    """A spread in words, e.g. 0.512 ± 0.010 (2 seeds)."""
    if figure is None:
        return "-"
    sd = "" if figure["sd"] is None else f" ± {figure['sd']:.{digits}f}"
    return f"{figure['mean']:.{digits}f}{sd} ({figure['n']} seed{'' if figure['n'] == 1 else 's'})"
