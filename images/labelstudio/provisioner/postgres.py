"""The PostgreSQL database, where Label Studio's is one: waited for, and migrated in its place.

A migration there is a transaction of its own: a kill leaves one that is done or one that is not begun. The
state from before all of them is in the backup that `make upgrade` makes.
"""

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labelloop.database_place import TABLES, USERS, DatabaseAccess
from labelloop.errors import Explained
from labelloop.files import write_text
from provisioner import django_app

log = logging.getLogger(__name__)

WAIT_S = 90.0
LOOK_S = 0.5
_START_LOCK = 6_004_101
"""The key of the advisory lock that whoever starts or provisions holds."""


MIGRATIONS = "django_migrations"
MOVED = "labelloop_moved"
"""A table that is there from the end of `make move-database` to the first start on what it has copied."""


class DatabaseError(Explained):
    """PostgreSQL can't be used as it is; the message says why, and the way out."""


def django_database(access: DatabaseAccess) -> dict[str, Any]:
    """Django's description of it. A thread keeps its connection for a minute, and looks whether it lives."""
    options = access.parameters
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": options.pop("dbname"),
        "USER": options.pop("user"),
        "PASSWORD": access.password,
        "HOST": options.pop("host"),
        "PORT": options.pop("port"),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**options, "application_name": "labelstudio"},
    }


def server_error() -> type[Exception]:
    """What the driver raises for what the server refuses."""
    import psycopg

    found: type[Exception] = psycopg.Error
    return found


def connect(access: DatabaseAccess, wait_s: float = 0.0) -> Any:
    """A psycopg connection. A server that can't be reached, or starts up, is asked for `wait_s` seconds.

    Raises:
        DatabaseError: it lets nobody in, in the server's words.
    """
    import psycopg

    deadline = time.monotonic() + wait_s
    while True:
        try:
            return psycopg.connect(
                **access.parameters,
                password=access.password,
                application_name="labelloop",
            )
        except psycopg.OperationalError as error:
            if time.monotonic() >= deadline:
                said = str(error).strip().splitlines()[-1]
                raise DatabaseError(
                    f"PostgreSQL at {access.place} can't be used: {said}. Is it running, and are "
                    "DATABASE_URL and DATABASE_PASSWORD in .env right? `make doctor` looks."
                ) from error
            time.sleep(LOOK_S)


@contextmanager
def alone(access: DatabaseAccess) -> Iterator[None]:
    """Waits for the server, and for whoever else starts on this database. A killed one's lock is freed.

    It asks again and again: a statement that waits in the server would hold up the index that another one's
    migration makes CONCURRENTLY, which waits for all statements that began before it, and so for ever.

    Raises:
        DatabaseError: the server can't be used.
    """
    with connect(access, WAIT_S) as connection:
        connection.autocommit = True
        while not connection.execute("SELECT pg_try_advisory_lock(%s)", [_START_LOCK]).fetchone()[0]:
            time.sleep(LOOK_S)
        yield


def check_is_no_others(cursor: Any, access: DatabaseAccess, known: Collection[tuple[str, str]]) -> None:
    """Checks that a database is empty, or Label Studio's, before anything is made in it.

    cursor: psycopg's or Django's, in that database. known: Label Studio's migrations, by app and name. A
    first start that was killed leaves some of these.

    Raises:
        DatabaseError: it has tables of others.
    """
    cursor.execute(TABLES)
    tables = {name for (name,) in cursor.fetchall()}
    if not tables or USERS in tables:
        return
    if MIGRATIONS in tables:
        cursor.execute(f"SELECT app, name FROM {MIGRATIONS}")
        if set(cursor.fetchall()) <= set(known):
            return
    raise DatabaseError(
        f"the database {access.place} has {len(tables)} tables that are not Label Studio's, {min(tables)} "
        "first. Nothing was changed there. Label Studio needs one of its own: have an empty one made, and "
        "name it: `make up DATABASE_URL=…`"
    )


def migrate_if_behind(access: DatabaseAccess, noted: Path) -> bool:
    """Migrates the database if Label Studio (loaded already) has more migrations; returns whether it did.

    noted: the file in Label Studio's state that names the database, from the first migration on.

    Raises:
        DatabaseError: the state says that it belongs to this database, which is empty; or it has tables of
            others.
    """
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    with connection.cursor() as cursor:
        check_is_no_others(cursor, access, MigrationLoader(None).disk_migrations)
    if noted.exists() and MIGRATIONS not in connection.introspection.table_names():
        raise DatabaseError(
            f"the database {access.place} is empty, but {noted} says that labels are in it. Does "
            "DATABASE_URL name another server than before? `make restore FILE=…` puts a backup in; `make "
            "reset` begins anew."
        )
    migrated = migrate(access)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {MOVED}")
    if not noted.exists():
        write_text(noted, f"{access.place.name}\n")
    return migrated


def migrate(access: DatabaseAccess) -> bool:
    """Runs the migrations that are missing; returns whether there were any. Label Studio has to be loaded."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return False
    version = django_app.label_studio_version()
    log.warning("migrating the database %s to Label Studio %s", access.place, version)
    call_command("migrate", interactive=False, no_color=True, verbosity=0)
    log.warning("migrated")
    return True
