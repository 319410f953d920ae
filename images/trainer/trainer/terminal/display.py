"""Shows progress: as a bar in a terminal, as plain lines elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from trainer.words import duration, printable

PLAIN_EVERY_S = 10.0
PLAIN_WIDTH = 160


def make_console() -> Console:
    """A console on stdout. If that is no terminal, it is wide enough that tables are not wrapped."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)


def plain(text: str) -> str:
    """Text from elsewhere as rich prints it: without markup, and without commands to the terminal."""
    return escape(printable(text))


def time_left(eta_seconds: float | None, measuring: bool) -> str:
    """The time that is left, in words; "" where nothing is known or will be.

    >>> time_left(95.0, True), time_left(None, True), time_left(None, False)
    ('1:35 min left', 'measuring the time left', '')
    """
    if eta_seconds is not None:
        return f"{duration(eta_seconds)} left"
    return "measuring the time left" if measuring else ""


class Display:
    """Shows one stage at a time: its title, progress (0..1), remaining time and current activity."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or make_console()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._title = ""
        self._started = 0.0
        self._next_line = 0.0
        self._last = ""

    def __enter__(self) -> "Display":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def showing(self) -> bool:
        """Whether a stage is shown."""
        return bool(self._title)

    def say(self, text: str) -> None:
        """Prints a line."""
        self.console.print(plain(text))

    def update(
        self,
        title: str,
        fraction: float,
        eta_seconds: float | None,
        message: str,
        measuring: bool = False,
    ) -> None:
        """Shows a stage. A new title ends the one that is shown. measuring: eta_seconds is still to come."""
        if title != self._title:
            self.finish()
            self._title, self._started, self._next_line = title, time.monotonic(), 0.0
        eta = time_left(eta_seconds, measuring)
        if self.console.is_terminal:
            self._draw(title, fraction, eta, message)
        else:
            self._print(title, fraction, eta, message)
        self._last = message

    def finish(self) -> None:
        """Ends the stage that is shown, and leaves a line with its duration."""
        if self._title:
            self._close()
            words = f"{self._title}: {self._last}" if self._last else self._title
            self.say(f"{words} ({duration(time.monotonic() - self._started)})")
            self._title = self._last = ""

    def _draw(self, title: str, fraction: float, eta: str, message: str) -> None:
        if self._progress is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TaskProgressColumn(),
                TextColumn("{task.fields[eta]}"),
                TextColumn("{task.fields[message]}", markup=False),
            )
            self._progress = Progress(*columns, console=self.console, transient=True)
            self._progress.start()
            self._task = self._progress.add_task(title, total=1.0, eta="", message="")
        if self._task is not None:
            self._progress.update(self._task, completed=fraction, eta=eta, message=message)

    def _print(self, title: str, fraction: float, eta: str, message: str) -> None:
        if time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + PLAIN_EVERY_S
        self.say(", ".join(filter(None, (f"{title} {fraction:.0%}", eta, message))))

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = None
