"""The checks of `make doctor`: each is bounded in time, and one that fails is a finding too."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable

from labelloop.findings import LOGS, Finding, problem
from lifecycle.console import Failure

Check = Callable[[], Iterable[Finding]]


def of_failure(name: str, error: Failure) -> Finding:
    """A failure as a finding. Its command is the first one that the failure's own way out names."""
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
