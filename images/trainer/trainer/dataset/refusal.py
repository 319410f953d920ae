"""When a round must not train on what a snapshot found: labels or controls that were renamed, images that are
away.

Leaving a few images out costs little, and they are named. Leaving many out without asking would have a model
forget a label, or learn from an accidental part of the images, so the round stops and says the way out.
"""

from collections import Counter
from collections.abc import Sequence

from labelloop.renaming import command
from labelloop.settings import Settings
from trainer.dataset.left_out import Kind, LeftOut
from trainer.words import first_of, plural

# A label that is unknown in one or two images, or in this share of them, is taken for a slip: these images
# are left out. From there on it is a label that people use, and the config lacks it.
SLIPS = 2
SLIPS_SHARE = 0.02


def refusal(
    project: int, labelled: int, skipped: Sequence[LeftOut], labels: Sequence[str], settings: Settings
) -> str | None:
    """Why a round must not train, and the way out; None when it may.

    project: its id. labelled: the number of labelled images. skipped: those that are left out. labels: those
    of the label config.
    """
    return (
        _renamed(project, labelled, skipped, labels)
        or _not_understood(labelled, skipped)
        or _missing(labelled, skipped, settings)
    )


def _renamed(project: int, labelled: int, skipped: Sequence[LeftOut], labels: Sequence[str]) -> str | None:
    images = Counter(label for row in skipped for label in row.labels)
    lost = {label: count for label, count in images.items() if count > max(SLIPS, SLIPS_SHARE * labelled)}
    if not lost:
        return None
    told = ", ".join(f"{label!r} in {plural(count, 'labelled image')}" for label, count in lost.items())
    old, there = next(iter(lost)), ", ".join(map(repr, labels))
    return (
        f"the label config does not have {told}, so these boxes cannot be learned; it has {there}. "
        f"Nothing was trained. If a label was renamed, `{command(old, '<new name>', project)}` renames "
        "it in all annotations; otherwise put it back into the label config"
    )


def _not_understood(labelled: int, skipped: Sequence[LeftOut]) -> str | None:
    """Most annotations cannot be understood, as after a control was renamed in the label config."""
    regions = [row for row in skipped if row.kind is Kind.REGION]
    if len(regions) <= max(SLIPS, labelled // 2):
        return None
    return (
        f"regions of {len(regions)} of {plural(labelled, 'labelled image')} could not be understood, so "
        f"nothing was trained: {_told(regions)}. If a control was renamed or removed in the label config, "
        "give it its name again, or put it back; otherwise mend these annotations: the page Data lists them"
    )


def _missing(labelled: int, skipped: Sequence[LeftOut], settings: Settings) -> str | None:
    away = [row for row in skipped if row.kind is Kind.AWAY]
    if len(away) * 100 <= settings.missing_percent * labelled:
        return None
    return (
        f"{len(away)} of {plural(labelled, 'labelled image')} could not be had, more than "
        f"{settings.missing_percent} % (MISSING_PERCENT), so nothing was trained: {_told(away)}. "
        "Put the files back or start the server, then `make retrain`; delete the tasks whose image is gone "
        "for good, or `make up MISSING_PERCENT=100` to train without them"
    )


def _told(rows: Sequence[LeftOut]) -> str:
    return first_of([f"task {row.task}: {row.reason}" for row in rows])
