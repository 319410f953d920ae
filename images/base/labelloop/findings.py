"""A finding of `make doctor`, whose two halves run on the host and in the trainer.

The host imports this module with its own Python: 3.9 and without packages.
"""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"
LEVELS = (OK, WARNING, PROBLEM)
LOGS = ("`make logs` has the rest; `make up` restarts what runs badly.", "make logs")


@dataclass(frozen=True)
class Finding:
    """One finding. name: what was checked. fix: the way out in words. command: what to type. Both are empty
    when the level is ok.

    Raises:
        ValueError: the level is none of LEVELS.
    """

    level: str
    name: str
    text: str
    fix: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"{self.name}: level {self.level!r}, needed one of {', '.join(LEVELS)}")


def ok(name: str, text: str) -> Finding:
    return Finding(OK, name, text)


def warning(name: str, text: str, fix: str, command: str) -> Finding:
    return Finding(WARNING, name, text, fix, command)


def problem(name: str, text: str, fix: str, command: str) -> Finding:
    return Finding(PROBLEM, name, text, fix, command)
