"""`make reset`: labels, models and rounds go; images, settings and secrets stay."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from labelloop import layout
from labelloop.database_place import DatabasePlace
from lifecycle.backup import contents
from lifecycle.backup.service import parse_answer
from lifecycle.console import Failure, heading, line
from lifecycle.home import Home
from lifecycle.runtime import volumes
from lifecycle.runtime.runtime import Stack, running_stack
from lifecycle.settings import known
from lifecycle.settings import settings as settings_module
from lifecycle.settings.given import is_yes
from lifecycle.settings.settings import Settings
from lifecycle.verbs.backup import count, write_archive
from lifecycle.verbs.restore import stop

WORD = "reset"
_KEPT = ".gitkeep"


def reset(home: Home, given: Mapping[str, str]) -> None:
    """Says what goes, asks for a word, stops, writes a backup unless it is declined, and deletes.

    The backup is made after the stop, so that no label is added between the backup and the deletion.
    YES=1 asks nothing, for scripts; BACKUP=0 goes without the backup.

    Raises:
        Failure: neither a terminal nor YES=1; the word was another one; the database is that of a state which
            stays; the backup failed, and what ran runs again. Nothing is deleted then.
    """
    yes = is_yes(given, "YES")
    if not yes and not sys.stdin.isatty():
        raise Failure(
            "make reset", found="no terminal to ask on", needed="one, or YES=1", do="Nothing is deleted."
        )
    settings = settings_module.load(home)
    empties = _is_ours(home, settings)
    if empties:
        _check_is_of_no_other_state(home, settings)
    heading("This goes:")
    stack = running_stack(home, settings)
    _say_what_goes(home, stack)
    line("stays", "volumes/images, volumes/backups, volumes/cache, .env, configs/")
    wanted = is_yes(given, "BACKUP", otherwise=True)
    if wanted and not yes:
        wanted = _ask("\nBack it up first? [Y/n] ").lower() not in ("n", "no")
    if not yes and _ask(f"\nType {WORD} to delete the above: ") != WORD:
        raise Failure("make reset", found="another word", needed=WORD, do="Nothing is deleted.")
    ran = stop(home)
    if wanted and home.has_labels:
        heading("Backup")
        _back_up(stack, home, ran)
    if empties:
        _empty_database(home, stack, settings, ran)
    for name in contents.STATE:
        _empty(home.root / name)
    volumes.prepare_volumes(home, None)
    line("reset", "done; `make up` begins anew")


def _is_ours(home: Home, settings: Settings) -> bool:
    """Whether the stack has begun on its database on PostgreSQL. One that .env asks for may be another's."""
    was_used = home.database_name.is_file() or settings.get(known.LAST_DATABASE) == known.POSTGRES
    return settings.on_postgres and was_used


def _check_is_of_no_other_state(home: Home, settings: Settings) -> None:
    """Raises Failure: the database that the stack begins anew on holds the labels of a replaced-… folder."""
    name = DatabasePlace.parse(settings.database_url()).name
    for file in sorted(home.backups.glob(f"replaced-*/{contents.DATABASE_NAME}")):
        if file.read_text(encoding="utf-8").strip() == name:
            folder = file.parents[2]
            raise Failure(
                f"the database {name}",
                found=f"the labels of {folder.relative_to(home.root)} in it, which a restore put aside",
                needed="a database that may be emptied, for the stack to begin anew on",
                do=f"Nothing is deleted. Delete {folder} first, if you have no use for these labels.",
            )


def _empty_database(home: Home, stack: Stack, settings: Settings, ran: bool) -> None:
    """Empties the database on PostgreSQL.

    Raises:
        Failure: it could not be emptied; nothing is deleted, and what ran runs again.
    """
    answer = parse_answer(stack.backup_service(["empty"]))
    if answer.get("error"):
        own = f"If that server is beyond repair, delete {home.volumes / layout.POSTGRES} by hand first."
        do = own if settings.own_postgres else ""
        raise Failure(f"{answer['error']}\nNothing is deleted{_started_again(stack, ran)}", do=do)


def _back_up(stack: Stack, home: Home, ran: bool) -> None:
    try:
        write_archive(home, stack)
    except Failure as error:
        raise Failure(f"{error}\nNothing is deleted{_started_again(stack, ran)}") from error


def _started_again(stack: Stack, ran: bool) -> str:
    """Starts what ran. Returns: how that went, to be said behind why nothing is deleted."""
    try:
        if ran:
            stack.start()
        return "; what ran runs again" if ran else ""
    except Failure as error:
        return f", but what ran does not start again: {error}"


def _ask(question: str) -> str:
    """Raises Failure: the answer was Ctrl-D."""
    try:
        return input(question).strip()
    except EOFError as error:
        raise Failure("make reset", found="no answer", needed="one", do="Nothing is deleted.") from error


def _say_what_goes(home: Home, stack: Stack) -> None:
    if home.has_labels:
        told = count(stack)
        for project in told.get("projects", []):
            line(f"project {project['id']}", f"{project['title']}: {project['annotations']} annotations")
        if told.get("error"):
            line("labels", f"can't be counted: {told['error']}")
    models = [project.versions() for project in contents.model_projects(home)]
    line("models", f"{sum(map(len, models))} versions in {len(models)} projects")
    rounds = home.root / contents.ROUNDS_FOLDER
    line("rounds", f"{sum(1 for path in rounds.glob('[0-9]*') if path.is_dir())} folders")
    for name in contents.STATE:
        line("", f"{name}: {_bytes(home.root / name) / 1e6:.1f} MB")


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _empty(folder: Path) -> None:
    """Deletes what is in it; the folder itself may be a mount."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _KEPT:
            path.unlink()
