"""The SQLite database: copied from the template at the first boot, migrated when Label Studio is newer.

Both work on a copy, which takes the database's name when it is complete. A kill leaves the old database or
the new one, and nothing in between.
"""

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

from labelloop.files import fsync_dir, replacing
from provisioner import django_app

log = logging.getLogger(__name__)

SIDE_FILES = ("-wal", "-shm")


def copy_template(database: Path, template: Path) -> bool:
    """Puts the template where no database is yet; returns whether it did.

    Without a template `migrate_if_behind` has the work.
    """
    if database.exists():
        return False
    if not template.is_file():
        log.warning("no template at %s: the database is migrated from scratch, which takes minutes", template)
        return False
    _remove_side_files(database)
    with replacing(database) as temporary:
        shutil.copyfile(template, temporary)
    log.info("database %s copied from the template", database)
    return True


def migrate_if_behind(database: Path) -> bool:
    """Migrates the database if Label Studio (loaded already) has more migrations; returns whether it did.

    The former database stays beside it as <name>.before-<version>.
    """
    from django.db import connections

    if not _is_behind():
        return False
    connections.close_all()
    log.warning(
        "the database is behind Label Studio %s; migrating a copy of it", django_app.label_studio_version()
    )
    copy = database.with_name(f"{database.name}.migrating")
    _remove(copy)
    _snapshot(database, copy)
    _migrate(copy)
    _checkpoint(copy)
    kept = database.with_name(f"{database.name}.before-{django_app.label_studio_version()}")
    kept.unlink(missing_ok=True)
    _checkpoint(database)
    _remove_side_files(database)
    if database.exists():
        os.link(database, kept)
    copy.replace(database)
    fsync_dir(database.parent)
    log.warning("migrated; the former database is %s", kept)
    return True


def _is_behind() -> bool:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _migrate(database: Path) -> None:
    """In a process of its own: this one has the application loaded on the real database."""
    command = [sys.executable, "manage.py", "migrate", "--no-input", "--no-color", "--verbosity", "0"]
    environment = {**os.environ, "LABEL_STUDIO_DATABASE_NAME": str(database)}
    subprocess.run(command, cwd=django_app.package_dir(), env=environment, check=True)


def _snapshot(database: Path, copy: Path) -> None:
    """A consistent copy, whatever its write-ahead log holds."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def _checkpoint(database: Path) -> None:
    """Moves the write-ahead log into the database file."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _remove(database: Path) -> None:
    database.unlink(missing_ok=True)
    _remove_side_files(database)


def _remove_side_files(database: Path) -> None:
    for suffix in SIDE_FILES:
        with suppress(FileNotFoundError):
            database.with_name(database.name + suffix).unlink()
