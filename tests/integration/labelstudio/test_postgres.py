"""Label Studio on a real PostgreSQL: it serves, is backed up and restored, and takes SQLite's labels over."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from integration.support.labelstudio import EMAIL, REPO, LabelStudio
from integration.support.postgres import Postgres
from integration.support.twice import TWICE
from support.ports import free_port

from lifecycle.backup.unpack import unpack, verify
from lifecycle.console import Failure
from lifecycle.database.client import Database
from lifecycle.home import Home
from lifecycle.runtime.host_stack import HostStack
from lifecycle.settings.settings import Settings

# Of every kind that people make, and values that the two databases write differently.
WORK = """
from labelloop.settings import get_settings
from provisioner import account, database, django_app
from provisioner.template import template_path

database.copy_template(get_settings().database_path, template_path())
django_app.setup()
account.ensure_account(get_settings())
from organizations.models import Organization
from projects.models import Project
from tasks.models import Annotation, AnnotationDraft, Prediction, Task
from users.models import User

organization = Organization.objects.get()
ann = User.objects.create_user(email="ann@example.org", password="correct horse 2", username="ann")
organization.add_user(ann)
project = Project.objects.create(
    title="t\\tö", organization=organization, created_by=User.objects.first(), label_config="<View></View>"
)
numbers = [1.0, -0.0, 0.1, 1e30, 10**17 + 1]
values = [*numbers, "\\t\\\\N", "a'b", "\u65e5\u672c", "\U0001f600", None, {"b": 1, "a": [True]}]
for number in range(12):
    task = Task.objects.create(project=project, data={"image": f"/data/{number}.jpg", "values": values})
    made = Annotation.objects.create(
        task=task, project=project, completed_by=ann, lead_time=number / 7, result=[{"value": number / 3}]
    )
    Prediction.objects.create(
        task=task, project=project, model_version="v0001", score=0.1 + number, result=[{"id": "ü"}]
    )
    AnnotationDraft.objects.create(task=task, user=ann, annotation=made, result=[])
Annotation.objects.order_by("-pk").first().delete()
"""
# Ends behind the last statement of the copy.
DIE_BEFORE_THE_COMMIT = """
import os, signal
from provisioner import move_database

copy = move_database._copy

def copy_and_die(source, target):
    copy(source, target)
    os.kill(os.getpid(), signal.SIGKILL)

move_database._copy = copy_and_die
move_database.main()
"""
START = """
from labelloop.settings import get_settings
from provisioner import django_app, postgres

django_app.setup()
try:
    postgres.migrate_if_behind(get_settings().postgres, get_settings().database_name_path)
except postgres.DatabaseError as error:
    print(error)
"""
DAMAGE = {
    """UPDATE task SET data = '{"a": "\\u0000"}' WHERE id = 1""": "PostgreSQL refuses",
    "UPDATE project SET title = 'a' || char(0) WHERE id = 1": "project.title holds a null byte",
    "UPDATE task SET is_labeled = 7 WHERE id = 1": "task.is_labeled holds 7, which is no boolean",
    "DELETE FROM project WHERE id = 1": "refers to one of project that isn't there",
    "CREATE TABLE of_somebody (id INTEGER)": "the table of_somebody",
    "ALTER TABLE task ADD COLUMN more TEXT": "the column task.more",
    "DELETE FROM django_migrations WHERE id = 5": "of another Label Studio",
}
TRY_EACH = """
import json, shutil, sqlite3, sys
from labelloop.settings import get_settings
from provisioner import move_database

file = get_settings().database_path
for damage in json.loads(DAMAGE):
    shutil.copy(f"{file}.whole", file)
    with sqlite3.connect(file) as database:
        database.execute(damage)
    database.close()
    move_database.main()
"""


def served_on(label_studio: LabelStudio, environment: dict[str, str]) -> LabelStudio:
    label_studio.environment |= environment
    return label_studio.start()


def backup_service(label_studio: LabelStudio, *arguments: str) -> dict[str, Any]:
    """The answer of the backup service, run for this home as on the host."""
    environment = {
        **os.environ,
        **label_studio.environment,
        "PYTHONPATH": os.pathsep.join(str(REPO / folder) for folder in ("compose", "images/base")),
    }
    command = [sys.executable, "-m", "lifecycle.backup_service", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def kept(label_studio: LabelStudio) -> dict[int, list[int]]:
    """Task → its annotations."""
    rows = label_studio.studio.iter_tasks(1, fields="all", page_size=100)
    return {task["id"]: sorted(row["id"] for row in task["annotations"]) for task in rows}


def test_it_serves_is_backed_up_while_people_submit_and_restored_beside_itself(
    fresh: Callable[[], LabelStudio], postgres: Postgres
) -> None:
    label_studio = served_on(fresh(), postgres.copy_of_the_first("served"))
    assert not (label_studio.data / "label_studio.sqlite3").exists()
    assert label_studio.provision().returncode == 0
    assert label_studio.run("provisioner.health").stdout.strip() == "healthy"
    studio = label_studio.studio
    studio.request("POST", "/api/projects/1/import", json=[{"image": f"/data/{n}.jpg"} for n in range(40)])
    tasks = [task["id"] for task in studio.iter_tasks(1)]

    def submit(task: int) -> int:
        made = label_studio.studio.request("POST", f"/api/tasks/{task}/annotations", json={"result": []})
        return int(made["id"])

    with ThreadPoolExecutor(4) as pool:
        before = set(pool.map(submit, tasks[:20]))
        during = pool.map(submit, tasks[20:])
        answer = backup_service(label_studio, "once")
        assert "error" not in answer, answer
        submitted = before | set(during)

    archive = Home(label_studio.home).backups / answer["archive"]
    manifest = verify(archive)
    assert (manifest.format, manifest.database) == (2, "postgres")
    assert "volumes/labelstudio/label_studio.sqlite3" not in manifest.files
    assert 20 <= manifest.counts["annotations"] <= 40 and manifest.counts["tasks"] == 40

    # As `make restore` does: a database beside the one in service, whose name comes with the folder.
    unpack(archive, manifest, label_studio.home / "staged")
    loaded = backup_service(label_studio, "load", "staged/volumes/labelstudio/label_studio.pgdump")
    assert {row for rows in kept(label_studio).values() for row in rows} == submitted, "goes on as it was"
    label_studio.stop()
    (label_studio.data / "database_name").write_text(loaded["loaded"])
    label_studio.environment["API_TOKEN"] = "f" * 40
    label_studio.start()
    found = {row for rows in kept(label_studio).values() for row in rows}
    assert before <= found and len(found) == manifest.counts["annotations"]
    assert submit(tasks[0]) > max(found), "numbers go on where they were"

    # As `make reset` does.
    label_studio.stop()
    assert backup_service(label_studio, "empty") == {}
    names = {name for [name] in postgres.database.ask("SELECT datname FROM pg_database")}
    assert "served" in names and loaded["loaded"] not in names
    emptied = Database(postgres.database.access.named("served"))
    assert emptied.ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [["0"]]


def test_an_empty_database_in_the_place_of_one_with_labels_is_not_begun_anew(
    fresh: Callable[[], LabelStudio], postgres: Postgres
) -> None:
    label_studio = fresh()
    Database(postgres.database.access.named("template1")).ask("CREATE DATABASE empty")
    label_studio.environment |= postgres.named("empty")
    label_studio.data.mkdir(parents=True)
    (label_studio.data / "database_name").write_text("empty")
    said = label_studio.run_program(START)
    assert "is empty, but" in said and "`make restore FILE=…`" in said


# One migrates, as Label Studio's migrations do, while another one waits for its turn to start.
IN_TURN = """
import threading
import time

from labelloop.settings import get_settings
from provisioner import postgres

access = get_settings().postgres
held = []

def start():
    with postgres.alone(access):
        held.append(True)

waits = threading.Thread(target=start, daemon=True)
with postgres.alone(access), postgres.connect(access) as other:
    other.autocommit = True
    waits.start()
    while not other.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid != pg_backend_pid() AND query LIKE '%advisory%'"
    ).fetchone()[0] > 1:
        time.sleep(0.1)
    other.execute("SET statement_timeout = '20s'")
    other.execute("CREATE TABLE in_turn (number INTEGER)")
    other.execute("CREATE INDEX CONCURRENTLY in_turn_number ON in_turn (number)")
    before = list(held)
waits.join(20)
print("TURNS", before, held)
"""


def test_who_waits_to_start_does_not_hold_up_a_migration(
    fresh: Callable[[], LabelStudio], postgres: Postgres
) -> None:
    label_studio = fresh()
    label_studio.environment |= postgres.copy_of_the_first("in_turn")
    assert "TURNS [] [True]" in label_studio.run_program(IN_TURN, timeout=100)


def test_two_that_write_at_once_make_nothing_twice(
    fresh: Callable[[], LabelStudio], postgres: Postgres
) -> None:
    label_studio = fresh()
    label_studio.environment |= postgres.copy_of_the_first("twice")
    told = json.loads(label_studio.run_program(TWICE, timeout=200).split("TWICE")[1])
    assert told["inner"] == [1, 2, 3] and told["predictions"] == 3
    assert told["created"] == [0, 3] and told["counts"] == [1, 1, 1]
    assert told["said"] == ["submitted"], "who submits does not wait for labels that are taken in"
    assert told["late"] == ["refused", 0], "what is submitted for a task that goes is refused, not lost"
    # Two that write the same rows in two orders wait for each other, until PostgreSQL ends one.
    assert told["noted"] == [f"images/twice/{number}.jpg" for number in range(3)]
    # PostgreSQL would refuse one of two requests that make the same table.
    assert told["ours"] == [
        f"labelloop_{name}"
        for name in ("applied", "attempts", "chosen", "ended_sessions", "imported", "read")
    ]


# How PostgreSQL finds the tasks that no storage knows, where they are more than its memory for a sum holds.
LINKLESS = """
from provisioner import django_app

django_app.setup()
from django.db import connection
from django.test.utils import CaptureQueriesContext
from provisioner import double_tasks

with CaptureQueriesContext(connection) as asked:
    list(double_tasks._unlinked(1))
[statement] = [row["sql"] for row in asked if '"task"."data"' in row["sql"]]
with connection.cursor() as cursor:
    cursor.execute("EXPLAIN " + statement[statement.index("SELECT"):].replace("%", "%%"))
    print("PLAN", *(row[0] for row in cursor.fetchall()))
"""


def test_tasks_without_a_link_are_found_by_one_join(
    fresh: Callable[[], LabelStudio], postgres: Postgres
) -> None:
    label_studio = fresh()
    label_studio.environment |= postgres.copy_of_the_first("linkless")
    plan = label_studio.run_program(LINKLESS)
    assert "Anti Join" in plan and "SubPlan" not in plan


@pytest.fixture
def on_sqlite(fresh: Callable[[], LabelStudio]) -> LabelStudio:
    """Not started, with labels in SQLite's file."""
    label_studio = fresh()
    label_studio.data.mkdir(parents=True)
    label_studio.run_program(WORK)
    return label_studio


def move(label_studio: LabelStudio) -> dict[str, Any]:
    done = label_studio.run("provisioner.move_database", timeout=200)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_sqlites_labels_are_taken_over_whole_whatever_kills_the_move(
    on_sqlite: LabelStudio, postgres: Postgres
) -> None:
    file = on_sqlite.data / "label_studio.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_")
        ]
        counts = {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}
        [[last]] = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'task_completion'")
    assert [counts[name] for name in ("task", "task_completion", "prediction", "htx_user")] == [12, 11, 12, 2]
    on_sqlite.environment |= postgres.copy_of_the_first("moved")
    moved = Database(postgres.database.access.named("moved"))

    with pytest.raises(AssertionError):
        on_sqlite.run_program(DIE_BEFORE_THE_COMMIT, timeout=200)
    assert moved.ask("SELECT count(*) FROM htx_user") == [["0"]], "nothing of it is there"

    # Killed behind the commit, before .env is changed: the next attempt copies what is in the file then.
    assert move(on_sqlite)["annotations"] == 11
    with closing(sqlite3.connect(file)) as changed:
        changed.execute("UPDATE task_completion SET lead_time = 99 WHERE id = 1")
        changed.commit()
    assert move(on_sqlite) == {"tables": len(tables), "rows": sum(counts.values()), "annotations": 11}
    assert {name: int(moved.ask(f'SELECT count(*) FROM "{name}"')[0][0]) for name in tables} == counts
    assert moved.ask("SELECT lead_time FROM task_completion WHERE id = 1") == [["99"]]

    on_sqlite.start()
    assert on_sqlite.studio.request("GET", "/api/current-user/whoami")["email"] == EMAIL, "by the same token"
    task = on_sqlite.studio.task(min(kept(on_sqlite)))
    assert task["data"]["values"][:5] == [1, 0, 0.1, 10**30, 10**17 + 1]
    assert task["data"]["values"][5:] == ["\t\\N", "a'b", "日本", "\U0001f600", None, {"b": 1, "a": [True]}]
    made = on_sqlite.studio.request("POST", f"/api/tasks/{task['id']}/annotations", json={"result": []})
    assert made["id"] == last + 1, "the number of the deleted one is not given again"

    # It is somebody's from its first start on: no file is put over it.
    on_sqlite.stop()
    assert "has users of a Label Studio already" in move(on_sqlite)["error"]


def test_what_cannot_be_taken_over_is_refused_by_name(on_sqlite: LabelStudio, postgres: Postgres) -> None:
    on_sqlite.environment |= postgres.copy_of_the_first("refused")
    file = on_sqlite.data / "label_studio.sqlite3"
    file.with_name(f"{file.name}.whole").write_bytes(file.read_bytes())
    told = on_sqlite.run_program(f"DAMAGE = {json.dumps(json.dumps(list(DAMAGE)))}{TRY_EACH}", timeout=200)
    errors = [json.loads(line)["error"] for line in told.splitlines() if line.startswith("{")]
    assert len(errors) == len(DAMAGE)
    for error, words in zip(errors, DAMAGE.values(), strict=True):
        assert words in error
    refused = Database(postgres.database.access.named("refused"))
    assert refused.ask("SELECT count(*) FROM htx_user") == [["0"]]


@pytest.fixture
def checkout() -> Iterator[Home]:
    """Where the server's user reaches it, with the work tree's code."""
    home = Home(Path(tempfile.mkdtemp(prefix="labelloop-checkout-")))
    home.root.chmod(0o755)
    home.secrets.mkdir(parents=True)
    (home.secrets / "DATABASE_PASSWORD").write_text("secret")
    for name in ("compose", "images"):
        (home.root / name).symlink_to(REPO / name)
    yield home
    shutil.rmtree(home.root, ignore_errors=True)


def test_the_host_runs_it_alone_for_what_needs_it_while_the_stack_is_stopped(checkout: Home) -> None:
    stack = HostStack(checkout, Settings({"DATABASE": "postgres", "DATABASE_PORT": str(free_port())}))
    for _ in range(2):
        with stack.database() as environment:
            database = Database.of(checkout, environment)
            assert database is not None and database.ask("SELECT current_user") == [["labelloop"]]
        with pytest.raises(Failure, match="PostgreSQL at"):
            database.ask("SELECT 1")
        # The next start takes the secret as it is then.
        (checkout.secrets / "DATABASE_PASSWORD").write_text("another")
    (checkout.volumes / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(Failure, match=r"found none on this host, needed PostgreSQL 9"), stack.database():
        pass
