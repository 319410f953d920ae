"""What bringing a dataset will do, as tables."""

from itertools import islice

from rich.console import Console
from rich.table import Table

from labelloop.studio import Studio
from trainer.intake.label_names import LabelNames
from trainer.intake.plan import Effect, How, Plan
from trainer.intake.records import CROWD
from trainer.terminal.display import plain
from trainer.words import plural

LISTED = 20

_ROWS = (
    ("new images, with labels", How.NEW, Effect.ADD),
    ("new images, without labels", How.NEW, Effect.IMAGE),
    ("images that are here, by their bytes", How.BY_BYTES, Effect.ADD),
    ("images that are here, by their name", How.BY_NAME, Effect.ADD),
    ("brought before", How.BY_BYTES, Effect.KNOWN),
    ("brought before, by their name", How.BY_NAME, Effect.KNOWN),
    ("labelled here by people: left alone", How.BY_BYTES, Effect.KEPT),
    ("labelled here by people, by their name: left alone", How.BY_NAME, Effect.KEPT),
    ("here, and nobody has labelled them", How.BY_BYTES, Effect.NOTHING),
    ("here by their name, and nobody has labelled them", How.BY_NAME, Effect.NOTHING),
)


def show(plan: Plan, names: LabelNames, studio: Studio, console: Console, everything: bool) -> None:
    """Prints the tables. everything: list all images that are left out, not the first LISTED alone."""
    console.print(_images(plan))
    if plan.counts.boxes:
        console.print(_labels(plan))
    for line in (*_notes(plan, names), *_authors(plan, studio)):
        console.print(plain(line))
    count = plan.left_out_count
    if count:
        console.print(f"Left out: {plural(count, 'image')}")
        for name, origin, reason in islice(plan.left_out(), count if everything else LISTED):
            console.print(_line(f"  {name} ({origin}): {reason}"))
        if count > LISTED and not everything:
            console.print(f"  … and {count - LISTED} more; ALL=1 lists them")


def _line(text: str) -> str:
    """A text of the dataset's as one line, which cannot pass for one of ours."""
    return plain(text).replace("\n", "\\n")


def _images(plan: Plan) -> Table:
    table = Table("", "images", "boxes", "of them without a box", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for title, how, effect in _ROWS:
        images, boxes, negatives = plan.images(how, effect)
        if images:
            table.add_row(title, f"{images:,}", f"{boxes:,}", f"{negatives:,}")
    if plan.left_out_count:
        table.add_row("left out", f"{plan.left_out_count:,}", "", "")
    return table


def _labels(plan: Plan) -> Table:
    table = Table("in the dataset", "here", "boxes", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for (theirs, ours), count in sorted(plan.counts.boxes.items()):
        table.add_row(_line(theirs), _line(ours), f"{count:,}")
    return table


def _notes(plan: Plan, names: LabelNames) -> list[str]:
    counts = plan.counts
    notes = [
        f"{kind}: {count:,}, of which the box around it is brought" for kind, count in counts.shapes.items()
    ]
    notes += [
        f"label {name!r}: {plural(count, 'box', 'boxes')} left out, as MAP says"
        for name, count in names.left_out.items()
    ]
    if counts.specks:
        notes.append(f"{plural(counts.specks, 'box', 'boxes')} without area inside the image: left out")
    notes += [
        f"{kind}: {plural(count, 'result')} not brought, as the project has no such control of that name"
        for kind, count in counts.others.items()
    ]
    if CROWD in names.unknown:
        notes.append(
            f"{CROWD} stands for COCO's crowd regions: MAP={CROWD}=… gives them a label, for example one to "
            f"be ignored; MAP={CROWD}= leaves them out"
        )
    return notes


def _authors(plan: Plan, studio: Studio) -> list[str]:
    authors = plan.counts.authors
    if not authors:
        return []
    rows = studio.request("GET", "/api/users/") or []
    here = {str(row.get("email", "")).lower() for row in rows}
    return [
        f"by {name}: {plural(count, 'annotation')}"
        + (
            ""
            if name.lower() in here
            else ", who is not here: stored as yours. Invite the person first, or say who it is: "
            f"PEOPLE={name.removeprefix('user ')}=name@example.org"
        )
        for name, count in authors.most_common()
    ]
