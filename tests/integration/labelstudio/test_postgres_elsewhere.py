"""A PostgreSQL that exists: with an authority of its own, tables of others, rights that are missing."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from integration.support.labelstudio import REPO, LabelStudio
from integration.support.postgres import Postgres
from support.certificates import signed

from labelloop.database_place import TABLES
from lifecycle.console import Failure
from lifecycle.database.client import Database
from lifecycle.home import Home

IS_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
CONNECT = f"""
from labelloop.settings import get_settings
from provisioner import postgres

try:
    with postgres.connect(get_settings().postgres) as connection:
        print(connection.execute("{IS_TLS}").fetchone()[0])
except postgres.DatabaseError as error:
    print(error)
"""
# As Label Studio's own start begins, on the database of the settings; then the same question of others.
START = """
from labelloop.settings import get_settings
from provisioner import django_app, postgres

django_app.setup()
from django.db.migrations.loader import MigrationLoader

access = get_settings().postgres
try:
    postgres.migrate_if_behind(access, get_settings().database_name_path)
except postgres.DatabaseError as error:
    print("others:", error)
known = MigrationLoader(None).disk_migrations
for name in ("shop", "killed", "void"):
    with postgres.connect(access.named(name)) as connection, connection.cursor() as cursor:
        try:
            postgres.check_is_no_others(cursor, access.named(name), known)
            print(name, "may be used")
        except postgres.DatabaseError as error:
            print(error)
"""
OF_DJANGO = "CREATE TABLE django_migrations (id INT, app TEXT, name TEXT)"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    signed(folder, "127.0.0.1")
    return folder


@pytest.fixture(scope="module")
def server(certificates: Path) -> Iterator[Postgres]:
    with Postgres() as server:
        server.serve_tls(certificates)
        yield server


@pytest.fixture
def label_studio(server: Postgres, certificates: Path, tmp_path: Path) -> LabelStudio:
    """Not started. It is told of the server as of one elsewhere, with the authority of its certificate."""
    found = LabelStudio(tmp_path / "home")
    shutil.copy(certificates / "ca.crt", found.home / "configs" / "db-ca.pem")
    url = server.environment["DATABASE_URL"].partition("?")[0]
    found.environment |= {**server.environment, "DATABASE_URL": url, "DATABASE_CA": "configs/db-ca.pem"}
    return found


def on(label_studio: LabelStudio, name: str) -> Database:
    """Lets it use another database of that server. Returns: that one, as backups ask it."""
    url = label_studio.environment["DATABASE_URL"]
    label_studio.environment["DATABASE_URL"] = f"{url.rpartition('/')[0]}/{name}"
    found = Database.of(Home(label_studio.home), label_studio.environment)
    assert found is not None
    return found


def made(server: Postgres, name: str, *statements: str) -> Database:
    """A new database, and what is in it."""
    server.database.ask(f"CREATE DATABASE {name}")
    database = Database(server.database.access.named(name))
    for statement in statements:
        database.ask(statement)
    return database


def empty(label_studio: LabelStudio) -> str:
    """What `make reset` has the backup service do. Returns: why it could not; nothing when it could."""
    environment = {
        **os.environ,
        **label_studio.environment,
        "PYTHONPATH": os.pathsep.join(str(REPO / folder) for folder in ("compose", "images/base")),
    }
    command = [sys.executable, "-m", "lifecycle.backup_service", "empty"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return str(json.loads(done.stdout.splitlines()[-1]).get("error", ""))


def test_a_server_elsewhere_has_to_prove_who_it_is(label_studio: LabelStudio, tmp_path: Path) -> None:
    database = on(label_studio, "labelloop")
    assert label_studio.run_program(CONNECT, timeout=200).strip() == "True"
    assert database.ask(IS_TLS) == [["t"]]

    # Its certificate is for the address alone.
    url = label_studio.environment["DATABASE_URL"]
    label_studio.environment["DATABASE_URL"] = url.replace("127.0.0.1", "localhost")
    refused = 'server certificate for "127.0.0.1" .*does not match host name "localhost"'
    with pytest.raises(Failure, match=refused):
        on(label_studio, "labelloop").ask(IS_TLS)

    label_studio.environment["DATABASE_URL"] = url
    (tmp_path / "another").mkdir()
    shutil.copy(signed(tmp_path / "another", "127.0.0.1"), label_studio.home / "configs" / "db-ca.pem")
    said = label_studio.run_program(CONNECT, timeout=200)
    assert f"{url} can't be used" in said and "certificate verify failed" in said
    with pytest.raises(Failure, match="certificate verify failed"):
        database.ask(IS_TLS)


def test_a_database_with_tables_of_others_is_neither_begun_on_nor_emptied(
    label_studio: LabelStudio, server: Postgres
) -> None:
    made(server, "others", "CREATE TABLE customers (name TEXT)", "INSERT INTO customers VALUES ('ann')")
    made(server, "shop", OF_DJANGO, "INSERT INTO django_migrations VALUES (1, 'shop', '0001_initial')")
    began = "INSERT INTO django_migrations VALUES (1, 'contenttypes', '0001_initial')"
    made(server, "killed", OF_DJANGO, began)
    made(server, "void", "CREATE VIEW customers AS SELECT 1")
    others = on(label_studio, "others")
    label_studio.data.mkdir(parents=True)
    with closing(sqlite3.connect(label_studio.data / "label_studio.sqlite3")) as file:
        file.execute(OF_DJANGO)

    told = label_studio.run_program(START, timeout=400)
    url = label_studio.environment["DATABASE_URL"]
    assert f"others: the database {url} has 1 tables that are not Label Studio's, customers first" in told
    assert "/shop has 1 tables that are not Label Studio's, django_migrations first" in told
    assert "killed may be used" in told and "void may be used" in told
    moved = json.loads(label_studio.run("provisioner.move_database", timeout=200).stdout.splitlines()[-1])
    assert "customers first" in moved["error"] and "`make up DATABASE_URL=…`" in moved["error"]
    error = empty(label_studio)
    assert f"the database {url}" in error and "1 tables, customers first" in error
    assert others.ask(TABLES) == [["customers"]]
    assert others.ask("SELECT name FROM customers") == [["ann"]]
    assert not (label_studio.data / "database_name").exists()


def test_rights_that_are_missing_are_named_with_who_gives_them(
    label_studio: LabelStudio, server: Postgres
) -> None:
    """Before PostgreSQL 15 the owner of a database does not own its schema public."""
    made(server, "ours", "CREATE TABLE htx_user (id INT)")
    server.as_superuser(
        "ours",
        "ALTER SCHEMA public OWNER TO postgres",
        "GRANT ALL ON SCHEMA public TO labelloop",
        "ALTER ROLE labelloop NOCREATEDB",
    )
    ours = on(label_studio, "ours")
    error = empty(label_studio)
    assert 'ALTER SCHEMA public OWNER TO "labelloop"' in error and "/ours" in error
    assert ours.ask(TABLES) == [["htx_user"]]
    with pytest.raises(Failure) as raised:
        ours.load(Path("none"), "ours_20260314t092653z")
    assert raised.value.do.endswith('ALTER ROLE "labelloop" CREATEDB;')

    server.as_superuser("ours", "ALTER SCHEMA public OWNER TO labelloop", "ALTER ROLE labelloop CREATEDB")
    assert empty(label_studio) == "" and ours.ask(TABLES) == []
