"""The loop once through, on made pictures."""

from typing import Annotated

import typer

from trainer.cli.command import command, connect
from trainer.terminal.display import Display


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

    loop = connect()
    with Display() as display:
        world = World(loop.settings, loop.studio, loop.backend, display)
        if remove:
            run.remove_demo(world)
        else:
            run.demo(world, run.Places(studio, dashboard), images)
