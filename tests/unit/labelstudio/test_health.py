import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.served import Handler, served

from provisioner.health import Unhealthy, check


class SaysUp(Handler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "UP"}')


@pytest.fixture
def url() -> Iterator[str]:
    with served(SaysUp) as address:
        yield address


def database(path: Path, *migrations: str, projects: int = 0) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE django_migrations (app, name)")
        connection.execute("CREATE TABLE project (id)")
        connection.executemany("INSERT INTO django_migrations VALUES ('core', ?)", [(m,) for m in migrations])
        connection.executemany("INSERT INTO project VALUES (?)", [(i + 1,) for i in range(projects)])
        connection.commit()
    return path


def provisioned(folder: Path, **state: object) -> None:
    (folder / "provisioned.json").write_text(json.dumps(state))


def test_served_migrated_and_provisioned_is_healthy(tmp_path: Path, url: str) -> None:
    template = database(tmp_path / "template", "0001", "0002")
    database(tmp_path / "label_studio.sqlite3", "0001", "0002", "0003", projects=1)
    provisioned(tmp_path, project=1)
    check(url, tmp_path, template)


def test_a_database_that_lacks_migrations_is_not(tmp_path: Path, url: str) -> None:
    template = database(tmp_path / "template", "0001", "0002")
    database(tmp_path / "label_studio.sqlite3", "0001", projects=1)
    provisioned(tmp_path, project=1)
    with pytest.raises(Unhealthy, match=r"lacks 1 migrations, core\.0002 first"):
        check(url, tmp_path, template)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({}, "the provisioner is at work"),
        ({"project": 7}, "at work"),
        ({"problem": "no labels"}, "no labels"),
    ],
)
def test_without_its_project_it_is_not(tmp_path: Path, url: str, state: dict[str, object], why: str) -> None:
    database(tmp_path / "label_studio.sqlite3", projects=1)
    provisioned(tmp_path, **state)
    with pytest.raises(Unhealthy, match=why):
        check(url, tmp_path, tmp_path / "no template")


def test_silence_is_not(tmp_path: Path) -> None:
    with pytest.raises(Unhealthy, match="/health"):
        check("http://127.0.0.1:9", tmp_path, tmp_path / "template")
