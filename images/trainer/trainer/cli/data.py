"""Images in, boxes on them, datasets out."""

import json
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from labelloop.image_cache import ImageCache
from labelloop.locks import Busy
from trainer.cli.command import ProjectOption, command, connect, fail
from trainer.dataset.left_out import LeftOut, counts_in_words
from trainer.peers.projects import Project, choose, detection_projects
from trainer.terminal import render
from trainer.terminal.display import Display
from trainer.terminal.watch import follow_predictions, show_progress
from trainer.words import plural
from trainer.worker.image_index import ImageIndex
from trainer.worker.importer import Importer
from trainer.worker.prelabel import Prelabeller

IMPORT_WAIT_S = 30.0
INCOMPLETE = 3
"""The exit status of an export that was written without images that somebody labelled to be used."""


@command
def predict(project: ProjectOption = None) -> None:
    """Give every unlabelled image the boxes of the model in service, now."""
    loop = connect()
    chosen = loop.project(project)
    loop.require_worked_on(chosen)
    prelabeller = loop.prelabeller()
    with Display() as display:
        try:
            stored = prelabeller.run(
                chosen, on_progress=lambda progress: show_progress(progress, display), again=True
            )
            display.finish()
            if stored:
                display.say(f"{plural(stored, 'image')} pre-labelled.")
        except Busy:
            stored = 0
            display.say("The worker is at it already.")
            try:
                follow_predictions(loop, chosen.id, display)
            except KeyboardInterrupt:
                display.say("Detached: pre-labelling goes on.")
                return
        except KeyboardInterrupt:
            display.say("Stopped here; the worker goes on with the rest.")
            return
        failures = prelabeller.unpredicted(chosen.id).failures()
        render.without_boxes(failures, display.console)
        if failures:
            images = plural(len(failures), "image")
            raise fail(f"the model could not look at {images} of project {chosen.id}")
        if not stored:
            display.say(_all_done(prelabeller, chosen))


def _all_done(prelabeller: Prelabeller, project: Project) -> str:
    """What there is when nothing was left to predict."""
    showing = prelabeller.showing(project)
    if showing is None:
        raise fail("there is no model yet; the starting model is being written, see `make status`")
    if showing.others:
        theirs = ", ".join(name or "without a version" for name in showing.others)
        return (
            f"{showing.version} knows no label of the project; the predictions that are there stay: {theirs}."
        )
    return "The model in service has looked at every unlabelled image."


@command
def import_(
    again: Annotated[
        bool, typer.Option("--again", help="Make tasks of images whose tasks were deleted, too.")
    ] = False,
) -> None:
    """Make tasks of new images in volumes/images, now."""
    loop = connect()
    index = ImageIndex(loop.settings.rounds_dir, loop.settings.images_dir)
    importer = Importer(index, loop.studio, loop.settings.rounds_dir)
    wanted = loop.settings.project
    projects = detection_projects(loop.studio)
    ids = [choose(projects, wanted).id] if wanted is not None else [p.id for p in projects]
    made, failure, busy = 0, None, False
    with Display() as display:

        def check() -> int:
            if left := index.check(1.0):
                display.update("checking images", 0.0, None, f"{left} left")
            return left

        try:
            made = importer.run(ids, wait_s=IMPORT_WAIT_S, force=True, again=again, check=check)
        except Busy:
            busy = True
        except Exception as error:  # which files nobody can read is told all the same
            failure = error
        while check():
            pass
        display.finish()
        if busy or importer.waiting:
            display.say("Label Studio is importing already; what is new follows by itself.")
        if failure is None and not busy:
            display.say(f"{plural(made, 'new image')}." if made else "No new images.")
        if importer.deleted:
            display.say(
                f"{plural(importer.deleted, 'image')} whose tasks were deleted stay out; "
                "`make import AGAIN=1` makes tasks of them again."
            )
        render.problems(index.waiting(), display.console, "not imported yet")
        render.problems(index.flawed(), display.console, "used as far as browsers show them")
        render.problems(index.problems(), display.console)
    if failure is not None:
        raise failure


@command
def rename(
    names: Annotated[str, typer.Argument(help="By old name the new one, as JSON.")],
    dry: Annotated[bool, typer.Option(help="Count, and change nothing.")] = False,
    project: ProjectOption = None,
) -> None:
    """Rename labels in versions and rounds, for `make labels RENAME=…`; prints how many as JSON."""
    from trainer.worker.renaming import rename as rename_labels

    loop = connect()
    chosen = loop.project(project)
    done = rename_labels(loop.models(chosen.id), loop.rounds, chosen.id, json.loads(names), dry)
    typer.echo(done.as_json())


class Format(StrEnum):
    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"


@command
def export(
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.COCO,
    out: Annotated[
        Path | None, typer.Option(help="A folder; by default below volumes/rounds/exports.")
    ] = None,
    images: Annotated[bool, typer.Option(help="Copy the images, too.")] = True,
    project: ProjectOption = None,
) -> None:
    """Write the labels so far as a dataset; exit status 3 when labelled images are missing from it."""
    from trainer.dataset.export import export as write
    from trainer.dataset.snapshot import labels_now

    loop = connect()
    chosen = loop.project(project)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = out or loop.settings.rounds_dir / "exports" / f"{chosen.id}-{format_}-{stamp}"
    with ImageCache(loop.settings.cache_dir).in_use(), Display() as display:
        snapshot = labels_now(
            loop.studio,
            chosen.id,
            loop.settings,
            lambda f, text: display.update("reading labels", f, None, text),
        )
        display.update("writing", 0.0, None, f"{snapshot.labelled} images")
        write(snapshot, format_, folder, loop.settings, images)
        display.finish()
        told = folder / "skipped.txt"
        lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
        unwritten = max(len(lines) - len(snapshot.skipped), 0)
        display.say(
            f"{plural(snapshot.labelled - unwritten, 'image')} with {plural(snapshot.boxes, 'box', 'boxes')} "
            f"as {format_}{'' if images else ', without images,'} in {loop.shown(folder)}"
            f"{_left_out(snapshot.skipped, unwritten)}"
        )
    if unwritten or any(row.about.fault for row in snapshot.skipped):
        raise typer.Exit(INCOMPLETE)


def _left_out(skipped: Sequence[LeftOut], unwritten: int) -> str:
    """The end of the last line: how many images are missing, and why."""
    reasons = [counts_in_words(skipped)] if skipped else []
    if unwritten:
        reasons.append(f"{unwritten} × images that could not be copied")
    count = len(skipped) + unwritten
    return f"; {count} left out, see skipped.txt: {', '.join(reasons)}" if count else ""
