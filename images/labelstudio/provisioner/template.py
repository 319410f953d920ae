"""A migrated, empty database, made at build time: a first boot copies it instead of migrating for minutes.

python -m provisioner.template [FILE]
"""

import argparse
import os
import secrets
import sqlite3
import sys
import tempfile
from pathlib import Path

from labelloop.files import replacing
from provisioner import django_app


def template_path() -> Path:
    """Where it is kept, in the image and on the host: in the virtual environment, named by the version."""
    return Path(sys.prefix) / f"label_studio-{django_app.label_studio_version()}.sqlite3"


def make_template(target: Path) -> None:
    """Migrates a database in a temporary folder and writes it to `target`, atomically. Once a process."""
    with tempfile.TemporaryDirectory(prefix="labelloop-template-") as home:
        os.environ["LABELLOOP_HOME"] = home
        os.environ["SECRET_KEY"] = secrets.token_hex()
        os.environ.pop("DATABASE_URL", None)
        django_app.setup()
        from django.conf import settings
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", interactive=False, verbosity=0)
        connections.close_all()
        database = Path(settings.DATABASES["default"]["NAME"])
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with replacing(target) as temporary:
            temporary.write_bytes(database.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m provisioner.template", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=template_path(), help="default: %(default)s")
    target: Path = parser.parse_args().file
    if target.is_file():
        print(f"{target} is there already")
        return
    print(
        f"migrating an empty database of Label Studio {django_app.label_studio_version()} (a minute or more)",
        flush=True,
    )
    make_template(target)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
