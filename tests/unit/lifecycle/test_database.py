"""PostgreSQL for Label Studio: settings, what is checked before a start, archives. The server itself is in
tests/integration/labelstudio/test_postgres.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from requests import certs
from support import kept

from lifecycle.backup.swap import Swap
from lifecycle.backup.unpack import _manifest, check_engine, verify
from lifecycle.console import Failure
from lifecycle.database import client, programs, server
from lifecycle.home import Home
from lifecycle.runtime.host_stack import HostStack
from lifecycle.settings import env_file, known, settings
from lifecycle.settings.settings import Settings
from lifecycle.verbs import reset, rotate, up

URL = "postgresql://labels@db.example.com/labels"
# Any will do.
CERTIFICATES = Path(certs.where())


def completed(home: Home, given: dict[str, str], *, host_runtime: bool = True) -> dict[str, str]:
    settings.check(home, given)
    settings.keep(home, given)
    settings.complete(home, host_runtime=host_runtime, accelerator="cpu")
    return env_file.read(home.env_file)


def test_sqlite_is_the_default_and_nothing_of_it_changes(home: Home) -> None:
    written = completed(home, {})
    assert written["COMPOSE_FILE"] == "docker-compose.yml" and written[known.LAST_DATABASE] == "sqlite"
    assert "DATABASE_PORT" not in written
    assert HostStack(home, settings.load(home))._environment()["DATABASE_URL"] == ""


def test_the_stacks_own_postgresql_has_a_port_a_password_and_a_compose_file(home: Home) -> None:
    written = completed(home, {"DATABASE": "postgres"})
    assert written["COMPOSE_FILE"] == "docker-compose.yml:compose/postgres.yml"
    environment = HostStack(home, settings.load(home))._environment()
    port = written["DATABASE_PORT"]
    assert environment["DATABASE_URL"] == f"postgresql://labelloop@127.0.0.1:{port}/labelloop?sslmode=disable"
    assert written["DATABASE_PASSWORD"] not in environment.values(), "it is in a file alone"


def test_a_postgresql_that_exists_is_named_by_a_url_and_its_certificates(home: Home) -> None:
    (home.root / "configs" / "db-ca.pem").write_bytes(CERTIFICATES.read_bytes())
    written = completed(home, {"DATABASE_URL": URL, "DATABASE_CA": "configs/db-ca.pem"})
    assert written["COMPOSE_FILE"] == "docker-compose.yml:compose/database-url.yml"
    assert settings.load(home).database_url() == URL and "DATABASE_PORT" not in written


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE", "mysql"),
        ("DATABASE_URL", "postgresql://a:secret@b/c"),
        ("DATABASE_CA", "configs/none.pem"),
    ],
)
def test_an_impossible_database_is_refused(home: Home, name: str, value: str) -> None:
    with pytest.raises(Failure, match=name):
        settings.check(home, {name: value})


@pytest.mark.parametrize(
    ("last", "wanted", "words"),
    [
        ("sqlite", {"DATABASE": "postgres"}, "`make move-database` takes them over"),
        ("sqlite", {"DATABASE_URL": URL}, "`make move-database` takes them over"),
        ("postgres", {}, "The way back is a backup"),
    ],
)
def test_labels_do_not_change_their_engine_by_a_setting(
    home: Home, last: str, wanted: dict[str, str], words: str
) -> None:
    asked = Settings({known.LAST_DATABASE: last, **wanted})
    up.check_engine(home, asked)
    kept.fill(home)
    with pytest.raises(Failure, match=words):
        up.check_engine(home, asked)


def test_a_stack_from_before_there_was_a_choice_is_on_sqlite(home: Home) -> None:
    kept.fill(home)
    up.check_engine(home, Settings({}))
    with pytest.raises(Failure, match="move-database"):
        up.check_engine(home, Settings({"DATABASE": "postgres"}))


def test_the_password_of_a_server_elsewhere_is_not_rotated(home: Home) -> None:
    completed(home, {})
    before = env_file.read(home.env_file)
    assert "DATABASE_PASSWORD" not in rotate.replace_secrets(home, admin=False, database=False)
    assert env_file.read(home.env_file)["DATABASE_PASSWORD"] == before["DATABASE_PASSWORD"]
    assert "DATABASE_PASSWORD" in rotate.replace_secrets(home, admin=False)


@pytest.mark.parametrize(("url", "password"), [(URL, "todays"), ("", "of the backup")])
def test_a_backups_password_replaces_none_of_a_server_elsewhere(home: Home, url: str, password: str) -> None:
    """The stack's own PostgreSQL takes the one of the backup at its next start."""
    kept.fill(home)
    ours = {"DATABASE_URL": url, "DATABASE_PASSWORD": "todays", "API_TOKEN": "first"}
    env_file.update(home.env_file, ours, header="", mode=0o600)
    staged, aside = home.backups / "staged", home.backups / "replaced-1"
    staged.mkdir(parents=True)
    (staged / ".env").write_text("DATABASE_PASSWORD=of the backup\nAPI_TOKEN=second\n")
    Swap.plan(home, staged, aside).do(home)
    written = env_file.read(home.env_file)
    assert (written["DATABASE_PASSWORD"], written["API_TOKEN"]) == (password, "second")


def test_a_reset_deletes_nothing_when_the_database_cannot_be_emptied(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_postgres(home)
    stack = kept.PretendedStack(home)
    monkeypatch.setattr(reset, "running_stack", lambda home, settings: stack)
    monkeypatch.setattr(reset, "stop", lambda home: True)
    monkeypatch.setattr(stack, "backup_service", lambda arguments, stdin=b"": '{"error": "away"}')
    before = kept.state(home)
    with pytest.raises(Failure, match="away\nNothing is deleted"):
        reset.reset(home, {"YES": "1", "BACKUP": "0"})
    assert kept.state(home) == before and stack.calls == ["start"]
    stack.wrong = [Failure("labelstudio is unhealthy")]
    with pytest.raises(Failure, match="away\nNothing is deleted, but .* again: labelstudio is unhealthy"):
        reset.reset(home, {"YES": "1", "BACKUP": "0"})
    assert kept.state(home) == before


def on_postgres(home: Home, **more: str) -> None:
    """A stack with labels, whose last `make up` was on PostgreSQL."""
    kept.fill(home)
    asked = {"DATABASE": "postgres", known.LAST_DATABASE: "postgres", **more}
    env_file.update(home.env_file, asked, header="", mode=0o600)


@pytest.fixture
def emptied(home: Home, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a reset has the backup service do, of a stack that only pretends."""
    asked: list[str] = []
    stack = kept.PretendedStack(home)
    monkeypatch.setattr(reset, "running_stack", lambda home, settings: stack)
    monkeypatch.setattr(reset, "stop", lambda home: True)

    def service(arguments: list[str], stdin: bytes = b"") -> str:
        asked.extend(arguments)
        return "{}"

    monkeypatch.setattr(stack, "backup_service", service)
    return asked


def test_a_reset_empties_no_database_but_the_stacks_own(home: Home, emptied: list[str]) -> None:
    """One that .env asks for, before `make move-database` or the first `make up`, may be somebody's."""
    on_postgres(home, DATABASE_URL=URL, **{known.LAST_DATABASE: "sqlite"})
    reset.reset(home, {"YES": "1", "BACKUP": "0"})
    assert "empty" not in emptied and not home.has_labels
    on_postgres(home, DATABASE_URL=URL)
    reset.reset(home, {"YES": "1", "BACKUP": "0"})
    assert "empty" in emptied


def test_a_reset_empties_no_database_of_a_state_that_a_restore_put_aside(
    home: Home, emptied: list[str]
) -> None:
    on_postgres(home, DATABASE_URL=URL)
    (home.volumes / "labelstudio" / "database_name").write_text("labels_20260314t092653z\n")
    aside = home.backups / "replaced-20260314T092653Z"
    named = aside / "volumes" / "labelstudio" / "database_name"
    named.parent.mkdir(parents=True)
    named.write_text("labels\n")
    before = kept.state(home)
    with pytest.raises(Failure, match=f"found the labels of volumes/backups/{aside.name} in it"):
        reset.reset(home, {"YES": "1", "BACKUP": "0"})
    assert kept.state(home) == before and not emptied
    # That of an earlier restore is another one.
    named.write_text("labels_20260101t000000z\n")
    reset.reset(home, {"YES": "1", "BACKUP": "0"})
    assert "empty" in emptied and named.is_file()


def test_a_missing_server_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match="apt-get install postgresql"):
        programs.server_folder(where=tmp_path)
    for release in ("12", "15"):
        (tmp_path / release / "bin").mkdir(parents=True)
        (tmp_path / release / "bin" / "postgres").touch()
    assert programs.server_folder(where=tmp_path) == tmp_path / "15" / "bin"
    assert programs.server_folder(12, tmp_path) == tmp_path / "12" / "bin", "data is read by its own release"
    with pytest.raises(Failure, match="found none on this host, needed PostgreSQL 14"):
        programs.server_folder(14, tmp_path)


def test_a_folder_that_the_servers_user_cannot_reach_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    below = closed / "volumes" / "postgres"
    below.mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(Failure, match="closed to user 54321, as whom PostgreSQL runs"):
        server.check_reach(below, 54321, 54321)
    monkeypatch.setattr(server, "_may_enter", lambda folder, uid, gid: folder != closed)
    with pytest.raises(Failure, match=f"found {closed} closed"):
        server.check_reach(below, 54321, 54321)


def test_a_server_that_is_not_there_is_told_by_its_place_and_without_the_password(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psql gets the password by a file alone. A program in its place, as this machine may have none."""
    psql = tmp_path / "psql"
    psql.write_text(
        """#!/bin/sh
case "$* $(env)" in *secret*) echo 'shown to everybody' >&2; exit 2;; esac
grep -q '^[*]:[*]:[*]:[*]:secret$' "$PGPASSFILE" || { echo 'no password' >&2; exit 2; }
[ "$(stat -c %a "$PGPASSFILE")" = 600 ] || { echo 'a file for everybody' >&2; exit 2; }
echo "connection to server at $PGHOST, port $PGPORT failed" >&2
exit 2
"""
    )
    psql.chmod(0o755)
    monkeypatch.setattr(programs, "client", lambda name: str(tmp_path / name))
    database = client.Database.of(
        home, {"DATABASE_URL": "postgresql://a@127.0.0.1:9/b", "DATABASE_PASSWORD": "secret"}
    )
    assert database is not None
    with pytest.raises(Failure, match=r"PostgreSQL at postgresql://a@127\.0\.0\.1:9/b") as refused:
        database.ask("SELECT 1")
    assert "connection to server at 127.0.0.1, port 9 failed" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_an_archive_says_which_database_it_holds_and_goes_into_no_other_stack(home: Home) -> None:
    kept.fill(home)
    environment = {**os.environ, "LABELLOOP_HOME": str(home.root), "PYTHONPATH": str(kept.REPO / "compose")}
    command = [sys.executable, "-m", "lifecycle.backup_service", "once"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    archive = home.backups / json.loads(told.stdout)["archive"]
    manifest = verify(archive)
    assert (manifest.format, manifest.database) == (1, "sqlite"), "which earlier releases read, too"
    check_engine(manifest, "sqlite")
    with pytest.raises(Failure, match="`make up DATABASE=sqlite DATABASE_URL=`.*`make move-database`"):
        check_engine(manifest, "postgres")

    folder = "volumes/labelstudio/label_studio"
    dump = {f"{folder}.pgdump": b"PGDMP", f"{folder}.sqlite3": None}
    facts = {"format": 2, "database": "postgres"}
    other = kept.rewrite(archive, home.root / "pg.tar.gz", dump, facts=facts)
    check_engine(verify(other), "postgres")
    with pytest.raises(Failure, match="`make up DATABASE=postgres`"):
        check_engine(verify(other), "sqlite")


def test_an_archive_from_before_there_was_a_choice_is_of_sqlite(home: Home) -> None:
    kept.fill(home)
    content = {"format": 1, "created_at": "", "scheduled": False, "images": False, "secrets": False}
    content |= {"version": {}, "projects": [], "counts": {}, "files": {}}
    assert _manifest(home.root / "x.tar.gz", json.dumps(content).encode()).database == "sqlite"
