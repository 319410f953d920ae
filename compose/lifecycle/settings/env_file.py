"""Files of NAME=VALUE lines, which Docker Compose reads too: alike, unless a value has ${…} or a \\ in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lifecycle import files
from lifecycle.console import Failure

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
_QUOTED = re.compile(r"""(['"])(.*?)\1\s*(?:#.*)?""")
_PLAIN = re.compile(r"^[\w./:@%+,=-]*$")


def read(path: Path) -> dict[str, str]:
    """Name → value; empty when there is no such file.

    Raises:
        Failure: a line is neither empty, a comment nor NAME=VALUE.
    """
    values: dict[str, str] = {}
    if not path.exists():
        return values
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        match = _LINE.match(text)
        if match is None:
            raise Failure(
                f"{path}, line {number}", found=repr(text), needed="NAME=VALUE", do="Correct the line."
            )
        values[match[1]] = _unquote(match[2])
    return values


def update(path: Path, changes: Mapping[str, str], *, header: str, mode: int) -> None:
    """Sets `changes` in the file, keeping its other lines and their order. The file is replaced in one step.

    A file that doesn't exist starts with `header` (comment lines).
    """
    lines = path.read_text().splitlines() if path.exists() else header.splitlines()
    left = dict(changes)
    for index, text in enumerate(lines):
        match = _LINE.match(text)
        if match is not None and match[1] in left:
            lines[index] = f"{match[1]}={_quote(match[1], left.pop(match[1]))}"
    lines += [f"{name}={_quote(name, value)}" for name, value in left.items()]
    files.replace_text(path, "\n".join(lines) + "\n", mode)


def _unquote(value: str) -> str:
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        return quoted[2]
    return re.sub(r"\s+#.*$", "", value)


def _quote(name: str, value: str) -> str:
    if _PLAIN.match(value):
        return value
    if "'" in value or "\n" in value:
        raise Failure(
            f"{name}", found=repr(value), needed="a value without quotes and line ends", do="Choose another."
        )
    return f"'{value}'"
