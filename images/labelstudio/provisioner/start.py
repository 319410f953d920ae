"""What has to be true of the database before Label Studio serves its first page."""

from labelloop.settings import get_settings
from provisioner import account, database, indexes


def prepare() -> None:
    """Migrates the schema if it is behind, makes our indexes, updates the account; leaves no connection open
    for a fork.
    """
    from django.db import connections

    settings = get_settings()
    database.migrate_if_behind(settings.database_path)
    indexes.ensure()
    account.ensure_account(settings)
    connections.close_all()
