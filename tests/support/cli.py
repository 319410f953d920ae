"""The command line as tests run it."""

from collections.abc import Callable

from typer.testing import Result

Run = Callable[..., Result]
