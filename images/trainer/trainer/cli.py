"""`labelloop`: what a person asks of the loop."""

import functools
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from labelloop.labels import LabelConfigError
from labelloop.registry import Registry, RegistryError
from labelloop.settings import MissingSecret
from labelloop.studio import Studio, StudioError
from trainer import render
from trainer.backend import Backend, BackendError
from trainer.dashboard.errors import ReportError
from trainer.display import Display, make_console, plural
from trainer.env import TrainerSettings, get_settings
from trainer.export import ExportError
from trainer.importer import ImageIndex, Importer, ImportFailed
from trainer.locks import Busy, snapshotting
from trainer.prelabel import PredictionsLost, Prelabeller
from trainer.projects import NoProject, choose, detection_projects
from trainer.rounds import Round, RoundError, Rounds, State
from trainer.simulate.errors import DatasetError, OptionError, SimulationError
from trainer.simulate.options import Costs, Options, numbers, predicted_values, words
from trainer.snapshot import SnapshotError
from trainer.split import SplitError
from trainer.watch import WorkerGone, follow_predictions, follow_round, require_worker, show_progress

CANCEL_WAIT_S = 60.0
IMPORT_WAIT_S = 30.0
SERVING_WAIT_S = 30.0
FAILED = 1
EXPECTED = (
    StudioError,
    BackendError,
    RegistryError,
    RoundError,
    NoProject,
    MissingSecret,
    LabelConfigError,
    PredictionsLost,
    ImportFailed,
    SnapshotError,
    SplitError,
    ExportError,
    ReportError,
    WorkerGone,
    Busy,
    OptionError,
    DatasetError,
    SimulationError,
    OSError,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ProjectOption = Annotated[
    int | None, typer.Option("--project", help="Label Studio's project id; needed with several.")
]
P = ParamSpec("P")
R = TypeVar("R")


def fail(message: str) -> typer.Exit:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]error:[/red] {escape(message)}")
    return typer.Exit(FAILED)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Registers a command whose expected errors become one line on stderr and exit status 1."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except EXPECTED as error:
            raise fail(str(error)) from None
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])).upper()}={e['input']!r}: {e['msg']}" for e in error.errors()
            )
            raise fail(f"settings: {problems}") from None

    return app.command(name=function.__name__.rstrip("_"))(guarded)


@dataclass(frozen=True)
class Loop:
    """Everything a command talks to."""

    settings: TrainerSettings
    studio: Studio
    backend: Backend
    rounds: Rounds
    registry: Registry

    @classmethod
    def connect(cls) -> "Loop":
        settings = get_settings()
        return cls(
            settings,
            Studio(settings.labelstudio_url, settings.secret("api_token")),
            Backend(settings.mlbackend_url, settings.secret("backend_password")),
            Rounds(settings.rounds_dir),
            Registry(settings.models_dir),
        )

    def project(self, wanted: int | None) -> dict[str, Any]:
        return choose(
            detection_projects(self.studio), wanted if wanted is not None else self.settings.project
        )

    def prelabeller(self) -> Prelabeller:
        return Prelabeller(self.studio, self.backend, self.registry, self.settings.rounds_dir)

    def shown(self, path: Path) -> Path:
        """A path as the operator sees it."""
        home = self.settings.labelloop_home
        return path.relative_to(home) if path.is_relative_to(home) else path

    def follow_predictions(self, project_id: int, display: Display) -> None:
        follow_predictions(
            self.studio, self.prelabeller(), self.registry, self.settings.rounds_dir, project_id, display
        )


@command
def retrain(project: ProjectOption = None) -> None:
    """Train on the labels so far; shows the round until its verdict and the new pre-labels."""
    loop = Loop.connect()
    chosen = loop.project(project)
    require_worker(loop.settings.rounds_dir)
    round_, joined = loop.rounds.request(chosen["id"], "make retrain")
    with Display() as display:
        doing = f"is open ({round_.state}); joining it" if joined else "requested"
        display.say(f"Round {round_.id} of project {chosen['id']} ({chosen['title']}) {doing}.")
        try:
            round_ = follow_round(loop.rounds, round_, display)
            _say_verdict(loop, round_, display)
            if round_.state == State.PROMOTED:
                loop.follow_predictions(chosen["id"], display)
        except KeyboardInterrupt:
            if round_.closed:
                display.say("Detached: pre-labelling goes on.")
            else:
                display.say(
                    f"Detached: round {round_.id} goes on. `make retrain` shows it again, "
                    "`make cancel` cancels it."
                )


def _say_verdict(loop: Loop, round_: Round, display: Display) -> None:
    log = loop.shown(loop.rounds.folder(round_.id) / "log.txt")
    if round_.state == State.FAILED:
        raise fail(f"round {round_.id} failed: {round_.error}\nIts log is {log}")
    if round_.state == State.CANCELLED:
        raise fail(f"round {round_.id}: {round_.verdict or 'cancelled'}")
    display.say(round_.verdict or str(round_.state))


@command
def cancel(project: ProjectOption = None) -> None:
    """Cancel the open round."""
    loop = Loop.connect()
    chosen = loop.project(project)
    round_ = loop.rounds.open_round(chosen["id"])
    with Display() as display:
        if round_ is None:
            display.say(f"Project {chosen['id']} ({chosen['title']}) has no open round.")
            return
        round_ = loop.rounds.cancel(round_.id)
        deadline = time.monotonic() + CANCEL_WAIT_S
        while not round_.closed:
            require_worker(loop.settings.rounds_dir)
            if time.monotonic() > deadline:
                raise fail(f"round {round_.id} has not stopped after {CANCEL_WAIT_S:.0f} s; see `make logs`")
            display.update("cancelling", round_.stage_progress, None, f"round {round_.id} is {round_.state}")
            time.sleep(0.5)
            round_ = loop.rounds.get(round_.id)
        display.finish()
        display.say(f"Round {round_.id}: {round_.verdict or round_.error or round_.state}")


@command
def status() -> None:
    """Services, champion, labels, open round, unreadable images; exit status 1 when something is wrong."""
    from trainer.status import gather

    loop = Loop.connect()
    found = gather(loop.settings, loop.studio, loop.backend)
    render.status(found, make_console())
    if not found.well:
        raise typer.Exit(FAILED)


@command
def doctor() -> None:
    """What is wrong and the way out of it, as JSON for `make doctor`."""
    from trainer.doctor import TIMEOUT_S, examine

    loop = Loop.connect()
    studio = Studio(loop.settings.labelstudio_url, loop.settings.secret("api_token"), TIMEOUT_S)
    found = examine(loop.settings, studio, loop.backend)
    typer.echo(json.dumps([asdict(finding) for finding in found]))


@command
def models(project: ProjectOption = None) -> None:
    """Every version of the model, oldest first."""
    loop = Loop.connect()
    chosen = loop.project(project)
    render.models(loop.registry.project(chosen["id"]), chosen["title"], make_console())


@command
def rollback(version: str, project: ProjectOption = None) -> None:
    """Put VERSION in service."""
    loop = Loop.connect()
    chosen = loop.project(project)
    versions = loop.registry.project(chosen["id"])
    before = _champion(loop, chosen["id"])
    with Display() as display:
        if before == version:
            display.say(f"{version} is in service already.")
            return
        versions.check(version)
        versions.promote(version)
        display.say(f"Champion of project {chosen['id']} ({chosen['title']}): {before or 'none'} → {version}")
        open_round = loop.rounds.open_round(chosen["id"])
        if open_round is not None:
            display.say(
                f"Round {open_round.id} is {open_round.state}; its candidate will be compared with {version}."
            )
        loop.backend.wait_for(chosen["id"], version, SERVING_WAIT_S, lambda: False)
        missing = loop.prelabeller().missing(chosen["id"], version)
        display.say(
            f"The backend serves it. {plural(missing, 'unlabelled image')} will get boxes in the background."
            if missing
            else "The backend serves it, and every unlabelled image has its boxes."
        )


def _champion(loop: Loop, project_id: int) -> str | None:
    try:
        return loop.registry.project(project_id).champion()
    except RegistryError:
        return None


@command
def predict(project: ProjectOption = None) -> None:
    """Give every unlabelled image the champion's boxes, now."""
    loop = Loop.connect()
    chosen = loop.project(project)
    with Display() as display:
        try:
            stored = loop.prelabeller().run(
                chosen, on_progress=lambda progress: show_progress(progress, display)
            )
            display.finish()
            display.say(
                f"{plural(stored, 'image')} pre-labelled."
                if stored
                else "Every unlabelled image has the champion's boxes."
            )
        except Busy:
            display.say("The worker is at it already.")
            try:
                loop.follow_predictions(chosen["id"], display)
            except KeyboardInterrupt:
                display.say("Detached: pre-labelling goes on.")
        except KeyboardInterrupt:
            display.say("Stopped here; the worker goes on with the rest.")


@command
def import_() -> None:
    """Make tasks of new images in volumes/images, now."""
    loop = Loop.connect()
    index = ImageIndex(loop.settings.rounds_dir, loop.settings.images_dir)
    importer = Importer(index, loop.studio, loop.settings.rounds_dir)
    wanted = loop.settings.project
    projects = detection_projects(loop.studio)
    ids = [choose(projects, wanted)["id"]] if wanted is not None else [p["id"] for p in projects]
    made = importer.run(ids, wait_s=IMPORT_WAIT_S, force=True)
    with Display() as display:
        while left := index.check(1.0):
            display.update("checking images", 0.0, None, f"{left} left")
        display.finish()
        if importer.waiting:
            display.say("Label Studio is importing already; what is new follows by itself.")
        display.say(f"{plural(made, 'new image')}." if made else "No new images.")
        render.problems(index.problems(), display.console)


@command
def report(
    file: Annotated[
        str | None, typer.Option(help="Its name; by default of the project and the time.")
    ] = None,
    project: ProjectOption = None,
) -> None:
    """Write what the dashboard shows as one HTML file."""
    from trainer.dashboard import report as reports
    from trainer.dashboard.loop import Loop as DashboardLoop

    loop = Loop.connect()
    chosen = loop.project(project)
    path = reports.path_of(loop.settings.rounds_dir, chosen["id"], file)
    shown = DashboardLoop(loop.settings, loop.studio, loop.backend)
    with Display() as display:
        reports.look(shown, chosen["id"], lambda text: display.update("looking at images", 0.0, None, text))
        display.update("writing", 0.0, None, path.name)
        reports.write(shown, chosen["id"], path)
        display.finish()
        display.say(f"Report in {loop.shown(path)} ({path.stat().st_size / 1e6:.1f} MB)")


class Format(StrEnum):
    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"


@command
def export(
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.COCO,
    out: Annotated[
        Path | None, typer.Option(help="A folder; by default below volumes/rounds/export.")
    ] = None,
    project: ProjectOption = None,
) -> None:
    """Write the labels so far as a dataset."""
    from trainer.export import export as write
    from trainer.snapshot import take

    loop = Loop.connect()
    chosen = loop.project(project)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = out or loop.settings.rounds_dir / "exports" / f"{chosen['id']}-{format_}-{stamp}"
    with (
        Display() as display,
        tempfile.TemporaryDirectory() as scratch,
        snapshotting(loop.settings.rounds_dir),
    ):
        snapshot = take(
            loop.studio,
            chosen["id"],
            loop.settings,
            Path(scratch),
            lambda f, text: display.update("reading labels", f, None, text),
        )
        display.update("writing", 0.0, None, f"{snapshot.labelled} images")
        write(snapshot, format_, folder, loop.settings)
        display.finish()
        left_out = f"; {len(snapshot.skipped)} could not be used, see skipped.txt" if snapshot.skipped else ""
        display.say(
            f"{plural(snapshot.labelled, 'image')} with {plural(snapshot.boxes, 'box', 'boxes')} "
            f"as {format_} in {loop.shown(folder)}{left_out}"
        )


@command
def simulate(
    name: Annotated[str, typer.Argument(help="The dataset's folder, as `make simulate` put it in place.")],
    orders: Annotated[str, typer.Option(help="Which images come first.")] = "uncertainty,random",
    seeds: Annotated[str, typer.Option(help="One project an order and seed.")] = "0,1,2",
    schedule: Annotated[
        str, typer.Option(help="Labelled images at which a round trains.")
    ] = "10,20,40,80,160,all",
    budget: Annotated[int, typer.Option(min=0, help="Labelled images at most; 0: all.")] = 0,
    one_round: Annotated[int, typer.Option(min=1, help="Labels of the single round compared with.")] = 40,
    predicted: Annotated[
        list[str] | None, typer.Option(help="LABEL=CLASS,CLASS of the starting model; repeatable.")
    ] = None,
    draw: Annotated[float, typer.Option(help="Seconds to draw a box.")] = Costs.draw,
    adjust: Annotated[float, typer.Option(help="Seconds to adjust or relabel a box.")] = Costs.adjust,
    delete: Annotated[float, typer.Option(help="Seconds to delete a box.")] = Costs.delete,
    accept: Annotated[float, typer.Option(help="Seconds to look at a good box.")] = Costs.accept,
    accepted_iou: Annotated[float, typer.Option(help="A box is good from here on.")] = Costs.accepted_iou,
    adjusted_iou: Annotated[float, typer.Option(help="And worth adjusting.")] = Costs.adjusted_iou,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the projects in Label Studio.")] = False,
) -> None:
    """Measure what the loop saves a person, on a COCO dataset whose truth is known."""
    from trainer.simulate.command import simulate as run
    from trainer.simulate.run import World

    options = Options(
        name=name,
        orders=words(orders),
        seeds=numbers(seeds, "SEEDS"),
        schedule=words(schedule),
        budget=budget,
        one_round_at=one_round,
        predicted=predicted_values(predicted or []),
        costs=Costs(draw, adjust, delete, accept, accepted_iou, adjusted_iou),
        keep=keep,
    )
    loop = Loop.connect()
    require_worker(loop.settings.rounds_dir)
    with Display() as display:
        world = World(loop.settings, loop.studio, loop.rounds, loop.registry, loop.prelabeller(), display)
        run(world, options)


@command
def demo(
    studio: Annotated[str, typer.Option(help="Where a browser finds Label Studio.")],
    dashboard: Annotated[str, typer.Option(help="Where a browser finds the dashboard.")],
    images: Annotated[int, typer.Option(min=10, max=500, help="Pictures to make.")] = 60,
    remove: Annotated[bool, typer.Option("--remove", help="Delete the demo instead.")] = False,
) -> None:
    """The whole loop once, in a project of its own with pictures made by code."""
    from trainer.demo import run
    from trainer.simulate.run import World

    loop = Loop.connect()
    with Display() as display:
        world = World(loop.settings, loop.studio, loop.rounds, loop.registry, loop.prelabeller(), display)
        if remove:
            run.remove_demo(world)
        else:
            run.demo(world, run.Places(studio, dashboard), images)


if __name__ == "__main__":
    app()
