"""How the loop stands: on the terminal, as findings, as a page."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from labelloop.studio import Studio
from trainer.cli.command import FAILED, ProjectOption, command, connect
from trainer.env import get_settings
from trainer.terminal import render
from trainer.terminal.display import Display, make_console


@command
def status() -> None:
    """Services, model in service, labels, open round, unreadable images; status 1 when something is wrong."""
    from trainer.health.status import gather

    loop = connect()
    found = gather(loop.settings, loop.studio, loop.backend)
    render.status(found, make_console())
    if not found.well:
        raise typer.Exit(FAILED)


@command
def doctor() -> None:
    """What is wrong and the way out of it, as JSON for `make doctor`."""
    from trainer.health.doctor import TIMEOUT_S, examine

    loop = connect()
    studio = Studio(loop.settings.labelstudio_url, loop.settings.secret("api_token"), TIMEOUT_S)
    found = examine(loop.settings, studio, loop.backend)
    typer.echo(json.dumps([asdict(finding) for finding in found]))


@command
def report(
    file: Annotated[
        str | None, typer.Option(help="Its name; by default of the project and the time.")
    ] = None,
    project: ProjectOption = None,
) -> None:
    """Write what the dashboard shows as one HTML file."""
    from trainer.dashboard import report as reports
    from trainer.dashboard.loop import WatchedLoop

    loop = WatchedLoop.connect(get_settings())
    chosen = loop.project(project)
    path = reports.path_of(loop.settings.rounds_dir, chosen.id, file)
    with Display() as display:
        reports.look(loop, chosen.id, lambda text: display.update("looking at images", 0.0, None, text))
        display.update("writing", 0.0, None, path.name)
        reports.write(loop, chosen.id, path, lambda text: display.update("writing", 0.0, None, text))
        display.finish()
        display.say(f"Report in {loop.shown(path)} ({path.stat().st_size / 1e6:.1f} MB)")
