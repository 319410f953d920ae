"""A child process of the worker that does nothing."""

from pathlib import Path

from trainer.system.children import STOPPED


class FakeChild:
    """A child process whose end the test decides."""

    def __init__(self, arguments: list[str], log_path: Path) -> None:
        self.arguments, self.log_path = arguments, log_path
        self.exit: int | None = None
        self.stopped = False
        self.pid = 4711

    def status(self) -> int | None:
        return self.exit

    def stop(self, patience_s: float = 0.0) -> None:
        self.stopped = True
        self.exit = STOPPED

    def last_words(self) -> str:
        return "its last words"
