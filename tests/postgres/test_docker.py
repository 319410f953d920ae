"""A stack on PostgreSQL under Docker, begun there, and moved there from SQLite; nothing is trained.

A job of its own, since it takes minutes and an engine: `make test TESTS=tests/postgres`. What does not need
containers is in tests/integration/labelstudio/test_postgres.py.
"""

import pytest
from support import shapes, shapes_stack
from support.stack import Stack, wait_for

QUIET = {"RETRAIN_EVERY": 0}
pytestmark = pytest.mark.timeout(3600)


def labelled(stack: Stack) -> dict[int, list[int]]:
    """Task → its annotations."""
    rows = stack.studio().iter_tasks(1, fields="all", page_size=100)
    return {task["id"]: sorted(row["id"] for row in task["annotations"]) for task in rows}


def label(stack: Stack, count: int) -> None:
    for task in [task for task, made in sorted(labelled(stack).items()) if not made][:count]:
        stack.studio().request("POST", f"/api/tasks/{task}/annotations", json={"result": []})


def with_labels(stack: Stack, **settings: object) -> dict[int, list[int]]:
    """Up, with four tasks of which two are labelled. Returns: `labelled`."""
    shapes.save(stack.images / "shapes", 4)
    shapes_stack.up(stack, **QUIET, **settings)
    wait_for("the pictures' tasks", lambda: len(labelled(stack)) == 4, 120)
    label(stack, 2)
    return labelled(stack)


def test_it_is_begun_backed_up_restored_given_new_secrets_upgraded_and_emptied(stack: Stack) -> None:
    first = with_labels(stack, DATABASE="postgres")
    assert not (stack.home / "volumes/labelstudio/label_studio.sqlite3").exists()
    data = stack.home / "volumes/postgres/data"
    assert str(data.stat().st_uid) == stack.env()["PUID"]

    stack.run("backup")
    [archive] = stack.archives()
    label(stack, 1)
    later = labelled(stack)
    assert later != first
    stack.run("restore", FILE=archive)
    assert labelled(stack) == first

    password = stack.env()["DATABASE_PASSWORD"]
    stack.run("rotate-secrets")
    assert stack.env()["DATABASE_PASSWORD"] != password
    assert labelled(stack) == first, "Label Studio is let in by the new one"
    assert "postgres" not in stack.run("doctor", check=False), "which names what is wrong alone"

    stack.run("down")
    stack.run("up")
    assert labelled(stack) == first

    # As after a pull: a version that starts, and one that does not.
    code = stack.home / "images/labelstudio/provisioner/start.py"
    whole = code.read_text()
    code.write_text(f"{whole}\n# changed\n")
    assert "the former state is in the backup" in stack.run("upgrade")
    assert labelled(stack) == first
    code.write_text(f"{whole}\nraise RuntimeError('broken version')\n")
    said = stack.run("upgrade", check=False)
    assert "broken version" in said and "The former images run on the former state" in said
    assert labelled(stack) == first
    code.write_text(whole)
    stack.run("up")
    assert labelled(stack) == first

    stack.run("reset", YES=1, BACKUP=0)
    stack.run("up")
    wait_for("the pictures' tasks again", lambda: len(labelled(stack)) == 4, 120)
    assert not any(labelled(stack).values())


def test_sqlites_labels_move_to_it(stack: Stack) -> None:
    first = with_labels(stack)
    stack.run("move-database")
    assert stack.env()["LAST_DATABASE"] == "postgres"
    assert labelled(stack) == first
    label(stack, 1)
    assert sum(map(len, labelled(stack).values())) == 3
