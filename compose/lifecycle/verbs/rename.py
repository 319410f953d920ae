"""`make labels RENAME=old=new`: other names for labels, everywhere that they are written down."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from labelloop import layout
from labelloop.labels import LabelConfigError
from labelloop.renaming import RenameError, read_pairs, rename_in_config
from lifecycle import exclusion
from lifecycle.console import Failure, heading, line
from lifecycle.files import replace_text
from lifecycle.home import Home
from lifecycle.runtime.runtime import Stack, running_stack
from lifecycle.settings import settings as settings_module
from lifecycle.settings.given import is_yes
from lifecycle.settings.settings import Settings
from lifecycle.verbs.backup import write_archive

TRAINER_SECONDS = 3600.0
_AGAIN = "What was changed already stays so; mend that and type the command again, it goes on."


@dataclass(frozen=True)
class LabelFile:
    """LABEL_CONFIG, where it holds one of the old names. text: under the new ones."""

    path: Path
    name: str
    text: str
    hashes: Mapping[str, str]


def rename(home: Home, given: Mapping[str, str]) -> None:
    """Counts what has the old names; unless DRY=1, writes a backup and renames it all.

    Each step tells what is left to do by the names that it finds. So after a kill the same command goes on.

    Raises:
        Failure: RENAME is none, the stack doesn't run, a round is at work, or a label would be missing.
    """
    try:
        names = read_pairs(given["RENAME"])
    except RenameError as error:
        raise Failure(str(error), do="For example `make labels RENAME=cat=feline,kitten=feline`.") from error
    dry = is_yes(given, "DRY")
    settings = settings_module.load(home)
    project, ours = _project(home, given)
    with exclusion.operation(home, "labels"):
        stack = running_stack(home, settings)
        classes = _starting_classes(home, project)
        file = _label_file(home, settings, names, classes) if ours else None
        order = {"project": project, "names": names, "classes": classes, "file": file and file.hashes}
        found = stack.rename(json.dumps({**order, "dry": True}))
        found |= _trainers_part(stack, project, names, dry=True)
        left = _say_what(project, names, found, file)
        if dry:
            line("dry run", "nothing is changed")
            return
        if not left:
            # A kill may have come between the model's last file and its being loaded anew.
            _trainers_part(stack, project, names, dry=False)
            line("renamed", "nothing has the old names")
            return
        heading("Backup")
        write_archive(home, stack)
        heading("Renaming")
        try:
            _carry_out(stack, project, names, order, file)
        except Failure as error:
            raise Failure(str(error), do=_AGAIN) from error


def _carry_out(
    stack: Stack, project: int, names: Mapping[str, str], order: Mapping[str, Any], file: Optional[LabelFile]
) -> None:
    stack.rename(json.dumps({**order, "dry": False}))
    line("Label Studio", "label config, annotations, drafts and predictions have the new names")
    _trainers_part(stack, project, names, dry=False)
    line("models", "so have versions and rounds; the backend loads the model anew, and predicts anew")
    if file is not None:
        replace_text(file.path, file.text, file.path.stat().st_mode & 0o777)
        line("file", f"so has {file.name}")


def _project(home: Home, given: Mapping[str, str]) -> tuple[int, bool]:
    """The project's id, and whether it is LABEL_CONFIG's."""
    try:
        first = json.loads(home.provisioned.read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError, TypeError):
        first = None
    wanted = given.get("PROJECT") or first
    if wanted is None:
        raise Failure("make labels RENAME=…", found="no project yet", needed="one", do="`make up` makes it.")
    return int(wanted), int(wanted) == first


def check_project(given: Mapping[str, str]) -> None:
    """Raises Failure: PROJECT is no number."""
    if not given.get("PROJECT", "0").isdecimal():
        raise Failure("PROJECT", found=repr(given["PROJECT"]), needed="a project's number, such as PROJECT=2")


def _starting_classes(home: Home, project: int) -> list[str]:
    """The classes of the project's starting model; none where there is none."""
    card = home.volumes / layout.MODELS / str(project) / "v0000" / "card.json"
    try:
        return [str(name) for name in json.loads(card.read_text(encoding="utf-8"))["classes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _label_file(
    home: Home, settings: Settings, names: Mapping[str, str], classes: list[str]
) -> Optional[LabelFile]:
    """LABEL_CONFIG's file, unless it needs no change or can't be read as a label config."""
    name = settings["LABEL_CONFIG"]
    path = home.root / name
    try:
        text = path.read_bytes().decode("utf-8")
        renamed = rename_in_config(text, names, classes).xml
    except (OSError, UnicodeDecodeError, LabelConfigError, RenameError):
        return None
    hashes = {"before": _hash(text), "after": _hash(renamed)}
    return LabelFile(path, name, renamed, hashes) if renamed != text else None


def _hash(text: str) -> str:
    """As the provisioner takes it: of the text with Unix's line ends."""
    return hashlib.sha256(text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8")).hexdigest()


def _trainers_part(stack: Stack, project: int, names: Mapping[str, str], *, dry: bool) -> dict[str, Any]:
    """How many versions and rounds have the old names; renames these unless `dry`."""
    options = ["--project", str(project), *(["--dry"] if dry else [])]
    answer = stack.ask(["rename", json.dumps(names), *options], TRAINER_SECONDS)
    return dict(json.loads(answer.strip().splitlines()[-1]))


def _say_what(
    project: int, names: Mapping[str, str], found: Mapping[str, Any], file: Optional[LabelFile]
) -> bool:
    """Says what has the old names. Returns: whether anything has."""
    heading(f"Project {project} ({found['title']})")
    for old, new in names.items():
        line("rename", f"{old!r} to {new!r}")
    counts = {
        name: int(found[name]) for name in ("annotations", "drafts", "predictions", "versions", "rounds")
    }
    line("label config", "changes" if found["config_changed"] else "has the new names already")
    line("found in", ", ".join(f"{count} {name}" for name, count in counts.items()))
    if file is not None:
        line("file", f"{file.name} changes too")
    return bool(found["config_changed"] or any(counts.values()) or file is not None)
