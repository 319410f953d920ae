"""What `make doctor` finds: whether a thing is well, and the way out; each look bounded in time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lifecycle.console import Failure

OK, WARNING, PROBLEM = "ok", "warning", "problem"
LEVELS = (OK, WARNING, PROBLEM)
LOGS = ("`make logs` has the rest; `make up` restarts what runs badly.", "make logs")


@dataclass(frozen=True)
class Finding:
    """name: what was looked at. fix: the way out in words, and command: what to type; empty when ok."""

    level: str
    name: str
    text: str
    fix: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"{self.name}: level {self.level!r}, needed one of {', '.join(LEVELS)}")


Check = Callable[[], Iterable[Finding]]


def ok(name: str, text: str) -> Finding:
    return Finding(OK, name, text)


def warning(name: str, text: str, fix: str, command: str) -> Finding:
    return Finding(WARNING, name, text, fix, command)


def problem(name: str, text: str, fix: str, command: str) -> Finding:
    return Finding(PROBLEM, name, text, fix, command)


def of_failure(name: str, error: Failure) -> Finding:
    """The command is the first that the failure's own way out names."""
    named = re.search(r"`([^`]+)`", error.do)
    command = named[1] if named else "make up"
    return problem(name, error.text, error.do or "Correct it; then start again.", command)


def bounded(name: str, check: Check, seconds: float) -> list[Finding]:
    """What `check` finds within `seconds`; that it fails, or takes longer, is a finding of its own."""
    found: list[Finding] = []

    def look() -> None:
        try:
            for finding in check():
                found.append(finding)
        except Failure as error:
            found.append(of_failure(name, error))
        except Exception as error:
            text = f"could not be looked at: {type(error).__name__}: {error}"
            found.append(problem(name, text, *LOGS))

    # A daemon: a look that hangs must not keep the program from ending.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    so_far = list(found)
    if thread.is_alive():
        so_far.append(problem(name, f"could not be looked at within {seconds:.0f} s", *LOGS))
    return so_far
