"""A version of the model to take along."""

from typing import Annotated

import typer

from trainer.cli.command import ProjectOption, command, connect
from trainer.takeaway.forms import ABOUT, Format
from trainer.takeaway.tokens import Tokens
from trainer.takeaway.wishes import wish_of
from trainer.terminal.display import Display


@command
def model(
    format_: Annotated[Format, typer.Option("--format", help="What it runs with.")] = Format.ONNX,
    version: Annotated[str | None, typer.Option(help="By default the one in service.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="In whole numbers of 8 bits.")] = False,
    project: ProjectOption = None,
) -> None:
    """Write a version of the model as a folder that runs without labelloop, once it finds the same boxes."""
    loop = connect()
    wish = wish_of(loop, loop.project(project), version, format_, int8)
    from trainer.takeaway.making import make  # imports torch, seconds

    with Display() as display:
        folder, checked = make(
            wish,
            loop.models(wish.project),
            loop.rounds,
            loop.settings,
            lambda words: display.say(f"{words} …"),
        )
        display.finish()
        display.say(f"{wish.version} as {format_} in {loop.shown(folder)}; {checked}.")
        display.say(
            f"`pip install numpy pillow {ABOUT[format_].needs}`, then `python predict.py photo.jpg` there."
        )


@command
def token(
    name: Annotated[str | None, typer.Option(help="Make one of this name.")] = None,
    revoke: Annotated[str | None, typer.Option(help="End the one of this name.")] = None,
    project: ProjectOption = None,
) -> None:
    """Make, list or revoke tokens, with which programs send images to POST /detect."""
    loop = connect()
    tokens = Tokens(loop.settings.rounds_dir)
    if revoke:
        tokens.revoke(revoke)
        typer.echo(f"{revoke} is revoked.")
    if name:
        chosen = loop.project(project)
        made = tokens.make(name, chosen.id, chosen.uid)
        whose = f"project {chosen.id} ({chosen.title})"
        typer.echo(f"{name}, for the model of {whose}. It is shown this once:\n\n{made}\n")
    if name or revoke:
        return
    for one in tokens.all():
        typer.echo(f"{one.name}: project {one.project}, made {one.made_at:%Y-%m-%d %H:%M} UTC")
    if not tokens.all():
        typer.echo("There is no token, so POST /detect is off. `make token NAME=…` makes one.")
