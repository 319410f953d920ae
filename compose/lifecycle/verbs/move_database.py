"""`make move-database`: from SQLite to PostgreSQL, the stack's own or, with DATABASE_URL, one that exists."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labelloop import database_place
from lifecycle.build import images
from lifecycle.console import Failure, heading, line, note
from lifecycle.doctor import checks
from lifecycle.home import Home
from lifecycle.runtime import volumes
from lifecycle.runtime.host_stack import HostStack
from lifecycle.runtime.runtime import (
    HOST,
    Stack,
    choose_accelerator,
    choose_architecture,
    choose_runtime,
    docker_stack,
)
from lifecycle.settings import env_file, known, network
from lifecycle.settings import settings as settings_module
from lifecycle.settings.settings import ENV_HEADER, Settings
from lifecycle.verbs.backup import write_archive
from lifecycle.verbs.restore import stop
from lifecycle.verbs.up import build_ahead, up

_WANTED = ("DATABASE", "DATABASE_URL", "DATABASE_CA")


def move_database(home: Home, given: Mapping[str, str]) -> None:
    """Checks and build, while people label; then stop, backup, copy, switch, start.

    The switch is one replacement of .env, after the copy was compared with what it was made of. Killed before
    it, the stack is on SQLite as it was, and the next attempt begins anew. SQLite's file is kept.

    Raises:
        Failure: nothing was moved, why, and what ran runs again; or all was, and the stack does not start.
    """
    settings_module.check(home, given)
    before = settings_module.load(home)
    if before.get(known.LAST_DATABASE) == known.POSTGRES or not home.database.is_file():
        found = "none" if before.get(known.LAST_DATABASE) != known.POSTGRES else "on PostgreSQL already"
        do = "`make up DATABASE=postgres` begins on it." if found == "none" else ""
        raise Failure("the labels", found=found, needed="some in SQLite's file", do=do)
    target = {known.DATABASE: known.POSTGRES, **{name: before.get(name, "") for name in _WANTED[1:]}, **given}
    asked = {name: before.get(name, "") for name in _WANTED[:2]} if before.on_postgres else {}
    try:
        archive, counts = _copy(home, target, asked)
    except BaseException:
        if asked:  # as it was found: the next attempt goes to the same place
            _keep(home, asked)
        raise
    rows = f"{counts['rows']} rows of {counts['tables']} tables"
    line("copied", f"{rows}, {counts['annotations']} annotations; compared, row by row")
    _keep(home, {**target, known.LAST_DATABASE: known.POSTGRES})
    up(home, {})
    line("moved", f"the labels are on PostgreSQL; as they were before: {home.database.name}, {archive.name}")


def _copy(home: Home, target: Mapping[str, str], asked: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
    """All but the switch. asked: what .env says of a database that it is not on yet.

    Returns: the backup from before the copy, and what was counted.
    """
    if asked:  # until the switch it is SQLite
        _keep(home, {known.DATABASE: known.SQLITE, "DATABASE_URL": ""})
    build_ahead(home)
    settings = settings_module.load(home) | target
    stack = _stack_on(home, settings)
    heading("Stop, back up, and copy")
    ran = stop(home)
    try:
        # The way back.
        archive = write_archive(home, _present(home))
        with told_to_compose(settings):
            return archive, stack.move_database()
    except BaseException as error:
        if ran:
            note("nothing was moved: starting what ran")
            _present(home).start()
        if isinstance(error, Failure):
            raise Failure(f"{error.text} Nothing was moved", do=error.do) from error
        raise


def _present(home: Home) -> Stack:
    """The stack as .env has it, on SQLite."""
    settings = settings_module.load(home)
    runtime = settings.last_runtime
    return HostStack(home, settings) if runtime == HOST else docker_stack(home, settings, runtime)


def _stack_on(home: Home, settings: Settings) -> Stack:
    """The stack with the database that it is to have; what that needs is checked and built."""
    runtime = choose_runtime(settings)
    if runtime == HOST:
        if settings.own_postgres and not settings.get("DATABASE_PORT"):
            port = {"DATABASE_PORT": str(network.free_port(database_place.PORT))}
            _keep(home, port)
            settings = settings | port
        stack = HostStack(home, settings)
        # A server that a killed attempt left holds the port until the stop.
        left = stack.holds_ports() and not stack.is_running()
        line("database", checks.database(home, settings, running=left))
        return stack
    accelerator = choose_accelerator(settings, runtime)
    arch = choose_architecture(settings, accelerator)
    published_at = settings.get("REGISTRY", "")
    with told_to_compose(settings):
        images.build_images(home, accelerator, arch, published_at, postgres=True)
    volumes.prepare_volumes(home, settings.containers_user, postgres=settings.own_postgres)
    return docker_stack(home, settings, runtime)


@contextmanager
def told_to_compose(settings: Settings) -> Iterator[None]:
    """Tells Compose of these settings by variables, which it prefers to .env, as that is to stay yet."""
    told = {
        "COMPOSE_FILE": settings_module.compose_files(settings, on_gpu=False),
        **{name: settings.get(name, "") for name in _WANTED[1:]},
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _keep(home: Home, changes: Mapping[str, str]) -> None:
    env_file.update(home.env_file, changes, header=ENV_HEADER, mode=0o600)
