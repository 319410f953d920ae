"""What the operator reads: headings, a line per thing done, FAIL lines with found, needed and the way out."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class Failure(Exception):
    """An operation can't go on. The text says what was found, what was needed, and what to do."""

    status = 1
    """What the program ends with."""

    def __init__(self, what: str, *, found: str = "", needed: str = "", do: str = "") -> None:
        facts = ", ".join(
            part for part in (found and f"found {found}", needed and f"needed {needed}") if part
        )
        self.text = f"{what}: {facts}." if facts else f"{what.rstrip('.')}."
        self.do = do
        super().__init__(f"{self.text} {do}".rstrip())


def heading(text: str) -> None:
    print(f"\n{text}", flush=True)


def line(name: str, text: str) -> None:
    print(f"  {name:<12} {text}", flush=True)


def note(text: str) -> None:
    print(f"  {text}", flush=True)


def fail(error: Failure) -> None:
    print(f"\nFAIL  {error}", file=sys.stderr, flush=True)


def refusal(error: OSError) -> Failure:
    """What the system refused, in a line; where a folder or file is somebody else's, whose."""
    what = f"{error.filename or 'the system'}: {error.strerror or error}"
    if isinstance(error, PermissionError) and error.filename:
        path = Path(os.fsdecode(error.filename)).absolute()
        owned = next(each for each in (path, *path.parents) if os.access(each, os.F_OK))
        owner, user = owned.stat().st_uid, os.geteuid()
        if owner != user:
            return Failure(
                what,
                found=f"{owned} owned by user {owner}",
                needed=f"a file of user {user}, who asks",
                do=f"Run it as the owner, or `sudo chown -R {user}:{os.getegid()} {owned}`.",
            )
    return Failure(what, do="Mend that, and try again; `make doctor` looks for more.")


class Board:
    """One line per name, rewritten in place on a terminal; elsewhere printed when its text changes."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._shown: dict[str, str] = {}
        self._terminal = sys.stdout.isatty()
        self._drawn = False

    def show(self, texts: dict[str, str], seconds: float) -> None:
        """Shows each name's text; `seconds` since the start is appended."""
        if self._terminal:
            if self._drawn:
                print(f"\033[{len(self._names)}A", end="")
            for name in self._names:
                print(f"\033[2K  {name:<12} {texts.get(name, '')}  {seconds:.0f} s")
            self._drawn = True
        else:
            for name in self._names:
                if texts.get(name) and texts[name] != self._shown.get(name):
                    print(f"  {name:<12} {texts[name]}  {seconds:.0f} s")
        self._shown = dict(texts)
        sys.stdout.flush()
