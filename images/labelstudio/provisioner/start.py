"""What has to be true of the database before Label Studio serves its first page."""

from labelloop.settings import Settings, get_settings
from provisioner import account, database, indexes, postgres


def prepare() -> None:
    """Migrates the schema if it is behind, makes our indexes, updates the account; leaves no connection open
    for a fork.

    On PostgreSQL, where others may start at the same time, one process after the other.
    """
    from django.db import connections

    settings = get_settings()
    access = settings.postgres
    if access is None:
        database.migrate_if_behind(settings.database_path)
        _complete(settings)
    else:
        with postgres.alone(access):
            postgres.migrate_if_behind(access, settings.database_name_path)
            _complete(settings)
    connections.close_all()


def _complete(settings: Settings) -> None:
    _make_tables()
    indexes.ensure()
    account.ensure_account(settings)


def _make_tables() -> None:
    """Those of ours that requests make where they lack: PostgreSQL refuses one of two that do so at once."""
    from django.db import connection

    from provisioner import attempts, ended_sessions, image_tasks, project_fields

    with connection.cursor() as cursor:
        for ours in (attempts, ended_sessions, image_tasks, project_fields):
            ours.make_table(cursor)
