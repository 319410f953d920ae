"""What every command has: its registration, its expected errors as one line, the choice of a project."""

import functools
import sqlite3
from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from labelloop.errors import Explained
from trainer.env import get_settings
from trainer.loop import Loop
from trainer.terminal.display import plain

FAILED = 1
# The disk is full, say.
_OUTSIDE = (OSError, sqlite3.OperationalError)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ProjectOption = Annotated[
    int | None, typer.Option("--project", help="Label Studio's project id; needed with several.")
]
P = ParamSpec("P")
R = TypeVar("R")


def fail(message: str) -> typer.Exit:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]error:[/red] {plain(message)}")
    return typer.Exit(FAILED)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Registers a command whose expected errors become one line on stderr and exit status 1."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (Explained, *_OUTSIDE) as error:
            raise fail(str(error)) from None
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])).upper()}={e['input']!r}: {e['msg']}" for e in error.errors()
            )
            raise fail(f"settings: {problems}") from None

    return app.command(name=function.__name__.rstrip("_"))(guarded)


def connect() -> Loop:
    """Raises MissingSecret."""
    return Loop.connect(get_settings())
