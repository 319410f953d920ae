"""`make restore FILE=…`: checks, build, stop, swap, start; and back to where it was if that isn't well."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lifecycle import files
from lifecycle.backup import contents
from lifecycle.backup.archive import Manifest, alone, newest_archive
from lifecycle.backup.service import parse_answer
from lifecycle.backup.swap import Swap, aside_folder, undo_interrupted
from lifecycle.backup.unpack import check_engine, check_version, unpack, verify
from lifecycle.console import Failure, heading, line, note
from lifecycle.home import Home
from lifecycle.runtime.runtime import running_stack
from lifecycle.settings import settings as settings_module
from lifecycle.settings.known import POSTGRES
from lifecycle.verbs.backup import against, count
from lifecycle.verbs.up import build_ahead, up

_STAGED = ".restoring-"


@dataclass(frozen=True)
class Replaced:
    """What was put in the place of the former state, and where that is, in words with its annotations."""

    swap: Swap
    told: str


def restore(home: Home, given: Mapping[str, str]) -> None:
    """From an archive to a healthy stack in its state; what was there moves to volumes/backups/replaced-…

    What takes long (the check, the build, unpacking) comes before the stop, so that people can label until
    then, and what is set aside is all that they did.

    Raises:
        Failure: the archive is refused, or the build failed, and nothing was touched; or the restored stack
            doesn't get healthy, and the former state is back and started.
    """
    archive = _file(home, given)
    if undo_interrupted(home):
        note("a restore was killed before its end: the state from before it is back")
    heading("Checks. Nothing is changed yet.")
    manifest = verify(archive)
    check_version(home, manifest)
    check_engine(manifest, settings_module.load(home).database)
    _say(archive, manifest)
    had_state = home.has_labels
    if _settings_are_possible(home):
        build_ahead(home)
    replaced = put_in(home, archive, manifest)
    try:
        up(home, {})
    except Exception as error:
        raise _way_back(home, replaced.swap, manifest, error, start=had_state) from error
    line("restored", f"the state of {manifest.created_at}")
    line("replaced", f"{replaced.told}; delete it when you are content")
    if not manifest.secrets:
        note("no secrets in it: .env stayed, account and API token are its; people may have to log in again")


def put_in(home: Home, archive: Path, manifest: Manifest) -> Replaced:
    """Stops the stack and puts the state of a verified archive in its place.

    Raises:
        Failure: it could not be done; all is as it was, but the stack may be stopped.
    """
    with alone(home, "a restore"):
        for leftover in home.backups.glob(f"{_STAGED}*"):
            shutil.rmtree(leftover)
        aside = aside_folder(home)
        staged = home.backups / aside.name.replace("replaced-", _STAGED)
        try:
            unpack(archive, manifest, staged)
            if manifest.database == POSTGRES:
                _load(home, staged)
            swap = Swap.plan(home, staged, aside)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        heading("Stop, and put the state in")
        stop(home)
        told = _tell(home, aside, manifest)
        try:
            swap.do(home)
        except BaseException as error:
            swap.undo(home)
            if isinstance(error, OSError):
                raise Failure(
                    f"putting the state in: {error}", do="The former state is back; `make up` starts it."
                ) from error
            raise
        note(f"{manifest.counts['files']} files are in place; what was there: {told}")
    return Replaced(swap, told)


def _load(home: Home, staged: Path) -> None:
    """Makes a database beside the one in service, from the dump in a staged state, which gets its name."""
    note("loading the database beside the one in service")
    settings = settings_module.load(home)
    stack = running_stack(home, settings)
    dump = staged / contents.DUMP
    if os.geteuid() == 0 and settings.containers_user:  # who reads it, under Docker
        for path in (staged, dump.parents[1], dump.parent, dump):
            os.chown(path, *settings.containers_user)
    answer = parse_answer(stack.backup_service(["load", str(dump.relative_to(home.root))]))
    if answer.get("error"):
        raise Failure(str(answer["error"]), do="Nothing is changed.")
    files.replace_text(staged / contents.DATABASE_NAME, f"{answer['loaded']}\n", 0o644)
    dump.unlink()


def _tell(home: Home, aside: Path, manifest: Manifest) -> str:
    """Says where the present state moves to, and how many annotations it holds. The stack must be stopped."""
    name = str(aside.relative_to(home.root))
    if not home.has_labels:
        return f"{name}, without a database"
    counted = count(running_stack(home, settings_module.load(home)))
    return f"{name}, with {against(counted, manifest.counts['annotations'])}"


def _settings_are_possible(home: Home) -> bool:
    """Whether the settings in force can be used. If not, the archive may mend them, and `up` builds later."""
    try:
        settings_module.check_stored(home, {})
    except Failure as error:
        note(f"nothing can be built before the restore: {error}")
        return False
    return True


def stop(home: Home) -> bool:
    """Stops whatever runs of the stack; a checkout that never ran has nothing. Returns: whether there was."""
    stack = running_stack(home, settings_module.load(home))
    there = stack.is_there()
    if there:
        stack.stop()
    return there


def _way_back(home: Home, swap: Swap, manifest: Manifest, error: Exception, start: bool) -> Failure:
    heading("The restored state did not come up. Putting the former one back.")
    note((str(error) or repr(error)).splitlines()[0])
    # First the settings: with those of the archive it may be that not even a stop works.
    swap.undo_settings(home)
    stop(home)
    kept = aside_folder(home)
    told = _tell(home, kept, manifest)
    swap.undo(home, kept)
    what = f"the restored state did not come up: {error}\nIt is {told}"
    if not start:
        return Failure(what, do="All is as empty as it was.")
    try:
        up(home, {})
    except Failure as second:
        return Failure(f"{what}The former state is back but does not start: {second}")
    return Failure(what, do="The former state is back and runs.")


def _file(home: Home, given: Mapping[str, str]) -> Path:
    if not given.get("FILE"):
        newest = newest_archive(home)
        wanted = newest.relative_to(home.root) if newest else "an archive of make backup"
        raise Failure("make restore", found="no FILE", needed=f"FILE={wanted}")
    asked = Path(given["FILE"]).expanduser()
    for path in (home.root / asked, home.backups / asked):
        if path.is_file():
            return path
    raise Failure(
        f"FILE={given['FILE']}", found="no such file", needed="an archive", do="They are in volumes/backups/."
    )


def _say(archive: Path, manifest: Manifest) -> None:
    counts = manifest.counts
    line("archive", f"{archive.name}: whole, every sum is right")
    version = manifest.version.get("commit") or "of an unknown version"
    line("of", f"{manifest.created_at}, labelloop {version}")
    for project in manifest.projects:
        line(f"project {project['id']}", f"{project['title']}: {project['annotations']} annotations")
    line("with it", f"{counts['models']} models, {counts['rounds']} rounds")
