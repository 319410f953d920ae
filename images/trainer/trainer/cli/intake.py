"""Labels that exist elsewhere, brought into a project."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trainer.cli import intake_table
from trainer.cli.command import ProjectOption, command, connect
from trainer.intake import carry_out, formats, other_studio
from trainer.intake.carry_out import Places
from trainer.intake.drafts import Drafting
from trainer.intake.existing import Existing
from trainer.intake.formats import Format
from trainer.intake.label_names import LabelNames, parse_map
from trainer.intake.plan import WORK, Effect, How, Plan, Planner
from trainer.intake.records import IntakeError, Record
from trainer.loop import Loop
from trainer.peers.projects import Project
from trainer.terminal.display import Display
from trainer.words import plural

TOKEN = "IMPORT_TOKEN"
"""The variable with the token of another Label Studio, which no list of processes shows."""


LONGEST_NAME = 50
"""Of a folder; in characters, of up to four bytes."""


class As(StrEnum):
    ANNOTATIONS = "annotations"
    PREDICTIONS = "predictions"


@command
def intake(
    dataset: Annotated[str, typer.Argument(help="A folder, a file, or the URL of another Label Studio.")],
    name: Annotated[str, typer.Option(help="What new images' folder below volumes/images is called.")] = "",
    images: Annotated[Path | None, typer.Option(help="Another folder with the images.")] = None,
    format_: Annotated[Format | None, typer.Option("--format", help="By default it is found out.")] = None,
    as_: Annotated[As, typer.Option("--as", help="What the labels become.")] = As.ANNOTATIONS,
    boxes: Annotated[bool, typer.Option("--boxes", help="Make boxes of all shapes.")] = False,
    map_: Annotated[str, typer.Option("--map", help="theirs=ours,… for labels.")] = "",
    people: Annotated[str, typer.Option(help="theirs=e-mail address here,…")] = "",
    from_: Annotated[int | None, typer.Option("--from", help="The other Label Studio's project id.")] = None,
    into: Annotated[Path | None, typer.Option(help="volumes/images, where it can be written.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="List every image that is left out.")] = False,
    project: ProjectOption = None,
) -> None:
    """Bring labels that exist: show what would be done, ask, and do it."""
    loop = connect()
    chosen = loop.project(project)
    fetched = loop.settings.cache_dir / "intake"
    with Display() as display:
        other = _other(dataset)
        if other is not None:
            row = other_studio.choose_project(other, from_)
            records, date = other_studio.read(other, row), datetime.now(UTC)
            name = name or _plain(f"{row.get('title')}-{row['id']}")
        else:
            path = Path(dataset)
            kind = format_ or formats.detect(path)
            display.say(f"{dataset}: {kind}")
            records, date = formats.records(path, kind, images), _date_of(path)
            name = name or _plain(path.stem if path.is_file() else path.resolve().name)
        names = LabelNames(chosen.label_config, chosen.labels, parse_map(map_))
        drafting = Drafting(
            chosen.id, chosen.labels, names, parse_map(people, "PEOPLE"), as_ is As.PREDICTIONS
        )
        fetcher = other_studio.Fetcher(fetched, loop.settings.labelstudio_url, other, loop.settings.outside)
        planner = Planner(
            loop.studio,
            chosen.id,
            _existing(loop, chosen, display),
            drafting,
            loop.settings.images_dir,
            _plain(name),
            date,
            fetcher.fetch,
        )
        plan = _planned(planner, records, display)
        intake_table.show(plan, names, loop.studio, display.console, all_)
        _require_agreement(plan, names, boxes)
        _require_whole_urls(plan, chosen)
        if not plan.total(*WORK):
            display.say("Nothing to do." + _left_out(plan))
            return
        if not yes and not _agreed(display):
            return
        places = Places(into or loop.settings.images_dir, loop.settings.rounds_dir, fetched)
        _carry_out(plan, loop, chosen, places, display)


def _left_out(plan: Plan) -> str:
    """A sentence on what is left out, for the end of what is told; empty when nothing is."""
    count = plan.left_out_count
    return f" {plural(count, 'image')} left out: see above." if count else ""


def _other(dataset: str) -> other_studio.OtherStudio | None:
    """The Label Studio that `dataset` is the URL of; None when it is a path."""
    if not re.match(r"https?://", dataset):
        return None
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise IntakeError(f"{dataset}: no token; `make import` asks for it, or takes TOKEN_FILE=")
    return other_studio.OtherStudio(dataset, token)


def _existing(loop: Loop, project: Project, display: Display) -> Existing:
    found = Existing(loop.settings)
    found.read(loop.studio, project, lambda f, text: display.update("looking at tasks", f, None, text))
    display.finish()
    return found


def _planned(planner: Planner, records: Iterator[Record], display: Display) -> Plan:
    plan = planner.run(records, lambda n: display.update("reading", 0.0, None, plural(n, "image")))
    display.finish()
    return plan


def _require_agreement(plan: Plan, names: LabelNames, boxes: bool) -> None:
    """Raises IntakeError: there is nothing that could be brought, or something has to be decided first."""
    if not plan.total(*Effect):
        why = next((f"; the first of {plan.left_out_count}: {reason}" for *_, reason in plan.left_out()), "")
        raise IntakeError(f"the dataset has no image that can be used{why}")
    if names.unknown:
        listed = ", ".join(
            f"{name} ({plural(count, 'box', 'boxes')})" for name, count in names.unknown.items()
        )
        raise IntakeError(f"the project has no label for: {listed}.\n{names.advice()}")
    if plan.counts.shapes and not boxes:
        listed = ", ".join(f"{count} × {kind}" for kind, count in plan.counts.shapes.items())
        raise IntakeError(
            f"not all shapes are upright boxes: {listed}. SHAPES=boxes brings the boxes around them"
        )


def _require_whole_urls(plan: Plan, project: Project) -> None:
    """Raises IntakeError: the project puts the URLs of images together, and new ones are to be brought."""
    new = plan.images(How.NEW, Effect.ADD)[0] + plan.images(How.NEW, Effect.IMAGE)[0]
    if new and project.labels.image:
        raise IntakeError(
            f"{plural(new, 'image')} would be new, but the label config of project {project.id} puts an "
            f"image's URL together ({project.labels.image!r}), and files of volumes/images come with a whole "
            'one; import their tasks in Label Studio first, or write value="$image"'
        )


def _agreed(display: Display) -> bool:
    if os.isatty(0) and os.isatty(1):
        return typer.confirm("Do it?", default=False)
    display.say("Nothing is changed yet: YES=1 does it.")
    return False


def _carry_out(plan: Plan, loop: Loop, project: Project, places: Places, display: Display) -> None:
    total = plan.total(*WORK)
    started = datetime.now(UTC)

    def progress(done: int) -> None:
        passed = (datetime.now(UTC) - started).total_seconds()
        left = passed * (total - done) / done if done else None
        display.update("bringing labels", done / total, left, f"{done} of {plural(total, 'image')}")

    progress(0)
    outcome = carry_out.carry_out(plan, loop.studio, project.id, project.labels.data_key, places, progress)
    display.finish()
    display.say(
        f"{plural(outcome.tasks, 'new task')}, {plural(outcome.annotations, 'annotation')}, "
        f"{plural(outcome.predictions, 'prediction')}." + _left_out(plan)
    )
    if outcome.kept:
        display.say(f"{plural(outcome.kept, 'image')} changed meanwhile and were left alone.")


def _date_of(path: Path) -> datetime:
    """When a dataset's labels were made, as far as its files tell: the newest one's time."""
    newest = path.stat().st_mtime
    if path.is_dir():
        newest = max((entry.stat().st_mtime for entry in os.scandir(path)), default=newest)
    return min(datetime.fromtimestamp(newest, UTC), datetime.now(UTC))


def _plain(name: str) -> str:
    """A folder's name without what other systems cannot have in one."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:LONGEST_NAME] or "dataset"
