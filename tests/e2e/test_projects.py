"""Projects that somebody makes in Label Studio, and the demo's, beside the provisioned one; all deleted."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support import shapes
from support.dashboard import words
from support.dashboard_pages import MENU
from support.stack import Stack, wait_for

from labelloop.studio import StudioError

LABELLED = 4
WITHIN_S = 300
# Another project's labels: crates alone, under another name and control.
LABEL_CONFIG = """<View>
  <Image name="photo" value="$image"/>
  <RectangleLabels name="thing" toName="photo"><Label value="parcel"/></RectangleLabels>
</View>
"""
TEXT_CONFIG = (
    '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="a"/></Choices></View>'
)


@pytest.fixture(scope="module")
def second(stack: Stack) -> Iterator[int]:
    """A project as the browser makes it: title, labels, files dragged into Import."""
    studio = stack.studio()
    made = studio.request("POST", "/api/projects", json={"title": "parcels", "label_config": LABEL_CONFIG})
    files = {}
    for seed in range(100, 110):
        content = io.BytesIO()
        shapes.picture(seed).image.save(content, "PNG")
        files[f"{seed}"] = (f"parcel-{seed}.png", content.getvalue(), "image/png")
    studio.request("POST", f"/api/projects/{made['id']}/import", files=files, timeout=(3.0, 120.0))
    assert studio.count_tasks(made["id"]) == len(files)
    yield int(made["id"])
    _delete(stack, int(made["id"]))


@pytest.fixture(scope="module")
def text(stack: Stack) -> Iterator[int]:
    fields = {"title": "words", "label_config": TEXT_CONFIG}
    made = stack.studio().request("POST", "/api/projects", json=fields)
    yield int(made["id"])
    _delete(stack, int(made["id"]))


def _delete(stack: Stack, project: int) -> None:
    try:
        stack.studio().request("DELETE", f"/api/projects/{project}", timeout=(3.0, 120.0))
    except StudioError as error:
        assert error.status == 404, error


def _rounds(stack: Stack, project: int) -> list[list[Any]]:
    sql = f"SELECT state, requested_by, verdict FROM rounds WHERE project = {project} ORDER BY id"
    return stack.query("trainer", "rounds/rounds.sqlite3", sql)


def _label(stack: Stack, project: int, count: int) -> None:
    """Submits the crates of the first pictures as parcels."""
    studio = stack.studio()
    for task in list(studio.iter_tasks(project))[:count]:
        url = str(next(value for value in task["data"].values() if "parcel-" in str(value)))
        found = re.search(r"parcel-(\d+)", url)
        assert found
        results = [
            {
                **row,
                "from_name": "thing",
                "to_name": "photo",
                "value": {**row["value"], "rectanglelabels": ["parcel"]},  # type: ignore[dict-item]
            }
            for row in shapes.picture(int(found[1])).annotation()
        ]
        studio.request("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": results})


def test_a_project_made_by_hand_gets_backend_and_starting_model(stack: Stack, second: int, text: int) -> None:
    studio = stack.studio()
    wait_for("the connection", lambda: [b["state"] for b in studio.backends(second)] == ["CO"], WITHIN_S, 2)
    wait_for("pre-labels", lambda: all(rows for rows in stack.predictions(second).values()), WITHIN_S, 2)
    assert not studio.backends(text), "a project without boxes is left alone"


def test_status_lists_both_and_says_what_is_left_alone(stack: Stack, second: int, text: int) -> None:
    said = stack.run("status", check=False)
    assert "Project 1:" in said and f"Project {second}: parcels" in said
    assert f"Left alone: {text} (words): the label config, line 1: no <RectangleLabels>" in said


def test_a_command_for_one_project_says_which_there_are(stack: Stack, second: int) -> None:
    said = stack.run("models", check=False)
    assert "choose a project with PROJECT=<id>" in said and f"{second} (parcels)" in said
    assert "v0000" in stack.run("models", PROJECT=second)


def test_start_training_opens_a_round_of_that_project(stack: Stack, second: int) -> None:
    before = _rounds(stack, 1)
    _label(stack, second, LABELLED)
    [backend] = stack.studio().backends(second)
    stack.studio().request("POST", f"/api/ml/{backend['id']}/train", json={})
    wait_for("a round", lambda: _rounds(stack, second), WITHIN_S)
    assert _rounds(stack, 1) == before
    wait_for("its end", lambda: _rounds(stack, second)[-1][0] in ("promoted", "kept", "failed"), 900, 3)
    assert _rounds(stack, second)[-1][0] == "promoted", _rounds(stack, second)
    card = json.loads((stack.home / f"volumes/models/{second}/v0001/card.json").read_text())
    assert card["classes"] == ["parcel"]


def test_a_renamed_label_is_the_champions_at_once(stack: Stack, second: int) -> None:
    """Ten images, four of them labelled: the champion's boxes on the other six come under the new name."""
    said = stack.run("labels", RENAME="parcel=box", PROJECT=second, DRY=1)
    assert f"{LABELLED} annotations" in said and "nothing is changed" in said
    said = stack.run("labels", RENAME="parcel=box", PROJECT=second)
    assert "archive" in said and "1 versions, 1 rounds" in said
    studio = stack.studio()

    def names(kind: str, **wanted: object) -> set[str]:
        return {
            label
            for task in studio.iter_tasks(second, fields="all")
            for row in task[kind]
            if wanted.items() <= row.items()
            for result in row["result"]
            for label in result["value"]["rectanglelabels"]
        }

    assert names("annotations") == {"box"}
    models = stack.home / f"volumes/models/{second}"
    assert json.loads((models / "v0001/card.json").read_text())["classes"] == ["box"]
    assert (models / "champion").read_text() == "v0001\n"
    recorded = stack.home / f"volumes/rounds/predicted-labels-{second}.json"
    wait_for(
        "new predictions", lambda: json.loads(recorded.read_text()).get("v0001") != "renamed", WITHIN_S, 2
    )
    found = wait_for("boxes", lambda: names("predictions", model_version="v0001"), WITHIN_S, 2)
    assert found == {"box"}


def test_the_dashboard_switches_and_keeps_the_project_in_the_address(stack: Stack, second: int) -> None:
    env = stack.env()
    url = f"http://127.0.0.1:{env['DASHBOARD_PORT']}"
    with requests.Session() as session:
        token = re.search(r'name="csrf" value="([^"]+)"', session.get(f"{url}/login", timeout=30).text)
        assert token
        form = {"csrf": token[1], "email": env["ADMIN_EMAIL"], "password": env["ADMIN_PASSWORD"], "next": "/"}
        assert session.post(f"{url}/login", data=form, timeout=30).ok
        for page in MENU:
            html = session.get(f"{url}{page}?project={second}", timeout=60).text
            assert re.search(rf'<option value="{second}"\s+selected>', html), page
            assert re.search(r'<option value="1"\s*>', html), page
            assert f'href="/rounds?project={second}"' in html, page
        assert "v0001" in words(session.get(f"{url}/rounds?project={second}", timeout=60).text)


def test_deleting_a_project_ends_its_round_and_keeps_its_versions(stack: Stack, second: int) -> None:
    refused = stack.run("retrain", PROJECT=second, check=False)
    assert "Label 1 more image first." in refused and "v0001 knows these labels" in refused
    assert len(_rounds(stack, second)) == 1
    sql = "INSERT INTO rounds (project, state, requested_by, requested_at) "
    sql += f"VALUES ({second}, 'requested', 'a test', '2026-11-29T00:00:00+00:00')"
    stack.query("trainer", "rounds/rounds.sqlite3", sql)
    _delete(stack, second)
    wait_for("its end", lambda: _rounds(stack, second)[-1][0] == "cancelled", WITHIN_S, 2)
    assert "its project was deleted" in str(_rounds(stack, second)[-1][2])
    assert (stack.home / f"volumes/models/{second}/v0001/card.json").exists()
    said = stack.run("status")
    assert f"Project {second}:" not in said


def test_the_demo_ends_with_a_promoted_model_and_can_be_removed(stack: Stack) -> None:
    before = [project["id"] for project in stack.studio().projects()]
    said = stack.run("demo", IMAGES=10)
    found = re.search(r"/projects/(\d+)/data", said)
    assert found and "promoted v0001" in said and "2 pictures with the model's boxes" in said, said
    again = stack.run("demo", IMAGES=10)
    assert "It was there already" in again and "v0001 is in service already" in again
    stack.run("demo", REMOVE=1)
    assert [project["id"] for project in stack.studio().projects()] == before
    assert not (stack.home / f"volumes/models/{found[1]}").exists()
