"""All checks, each in a process of its own, so that none takes longer than it may or takes others along."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labelloop.errors import in_one_line
from trainer.gpu_check.lines import Line
from trainer.gpu_check.place import Place

Check = Callable[[Place], Iterator[Line]]


@dataclass(frozen=True)
class Bounded:
    """A check's name, which is its module's, and the seconds after which it is ended."""

    name: str
    seconds: float


CHECKS = (
    Bounded("device", 40.0),
    Bounded("operators", 50.0),
    Bounded("boxes", 100.0),
    Bounded("rounds", 190.0),
    Bounded("serving", 90.0),
)
"""Together less than 8 minutes."""


def lines_of(name: str, place: Place) -> Iterator[Line]:
    """One check, in this process. What it raises is a line that failed."""
    from importlib import import_module

    check: Check = import_module(f"trainer.gpu_check.{name}").check
    try:
        yield from check(place)
    except Exception as error:
        yield Line(name, "ended", False, {"by": in_one_line(error)})


def all_lines(
    checks: Iterable[Bounded], command: Callable[[str], list[str]], say: Callable[[Line], None]
) -> list[Line]:
    """Runs the checks one after the other. command: for a check's name, what runs it and prints its lines as
    JSON, one a row. say: is told each line as soon as it is known.
    """
    found: list[Line] = []
    for check in checks:
        for line in _in_time(check, command(check.name)):
            say(line)
            found.append(line)
    return found


def _in_time(check: Bounded, command: list[str]) -> Iterator[Line]:
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, timeout=check.seconds)
        output, words, status = done.stdout, done.stderr, done.returncode
        reason = "" if status == 0 else f"exit status {status}: {_last(words)}"
    except subprocess.TimeoutExpired as late:
        output, reason = late.stdout or b"", f"not done after {check.seconds:.0f} s"
    rows = [Line.read(json.loads(row)) for row in output.decode().splitlines() if row.startswith('{"check"')]
    yield from rows
    if reason or not rows:
        seconds = time.monotonic() - began
        yield Line(check.name, "ended", False, {"by": reason or "nothing looked at", "s": seconds})


def _last(words: bytes) -> str:
    lines = [line for line in words.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no word"


def this_program(device: str) -> Callable[[str], list[str]]:
    program = [sys.executable, "-m", "trainer.gpu_check", "--device", device, "--json"]
    return lambda name: [*program, "--only", name]


def report(lines: list[Line], seconds: float) -> str:
    """As JSON."""
    told = {"seconds": round(seconds, 1), "lines": [line.as_json() for line in lines]}
    return json.dumps(told, indent=1, default=str).replace("Infinity", '"inf"') + "\n"


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gpu-check.json"
    path.write_text(text)
    return path
