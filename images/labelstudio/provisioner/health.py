"""Whether Label Studio serves a provisioned project; the container's health check.

    python -m provisioner.health

The ML backend is not asked: it starts later. Standard library only (and PostgreSQL's driver,
where that is asked), since this runs every few seconds.
"""

import json
import os
import sqlite3
import sys
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

from labelloop import layout
from labelloop.database_place import DatabaseAccess
from labelloop.errors import Explained
from provisioner.template import template_path


class Unhealthy(Explained):
    """The message says what is missing."""


def check(url: str, folder: Path, template: Path, access: DatabaseAccess | None = None) -> None:
    """Asks Label Studio at `url`, its database and the provisioner's state, both in `folder`; access: to a
    database on PostgreSQL.

    Raises:
        Unhealthy: it does not answer, the database lacks migrations, or the project is not there.
    """
    _check_answer(url)
    state = _state(folder / layout.PROVISIONED_FILE)
    with closing(_connected(folder / layout.DATABASE_FILE, access)) as database:
        missing = _migrations(template) - {
            row[0] for row in database.execute("SELECT app || '.' || name FROM django_migrations")
        }
        if missing:
            raise Unhealthy(f"the database lacks {len(missing)} migrations, {min(missing)} first")
        project = state.get("project")
        if (
            project is None
            or not database.execute(f"SELECT 1 FROM project WHERE id = {int(str(project))}").fetchone()
        ):
            why = state.get("problem") or state.get("waiting") or "the provisioner is at work"
            raise Unhealthy(f"the project is not provisioned yet: {why}")


def _connected(file: Path, access: DatabaseAccess | None) -> Any:
    """A connection to either database, for reading."""
    if access is None:
        return sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=2)
    from provisioner import postgres

    return postgres.connect(access)


def _check_answer(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=4) as answer:
            if json.load(answer) != {"status": "UP"}:
                raise Unhealthy(f"{url}/health does not say UP")
    except (OSError, ValueError) as error:
        raise Unhealthy(f"{url}/health: {error}") from error


def _state(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _migrations(template: Path) -> set[str]:
    if not template.is_file():
        return set()
    with closing(sqlite3.connect(f"file:{template}?mode=ro&immutable=1", uri=True)) as database:
        return {row[0] for row in database.execute("SELECT app || '.' || name FROM django_migrations")}


def main() -> None:
    home = Path(os.environ.get("LABELLOOP_HOME", "/labelloop"))
    url = os.environ.get("LABELSTUDIO_URL", f"http://127.0.0.1:{layout.LABELSTUDIO_PORT}")
    try:
        access = DatabaseAccess.of(os.environ, home)
        check(url.rstrip("/"), home / "volumes" / layout.LABELSTUDIO, template_path(), access)
    except (Explained, ValueError, sqlite3.Error) as error:
        sys.exit(f"unhealthy: {error}")
    print("healthy")


if __name__ == "__main__":
    main()
