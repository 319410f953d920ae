"""What a labeller does all day works as before; what is another person's, she leaves alone."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
import requests
from integration.labelstudio.test_provisioning import state
from integration.support.labelstudio import LabelStudio
from integration.support.people import Person, labeller, log_in
from PIL import Image

SOMEBODY_ELSES = "another person's"
BOX = {
    "type": "rectanglelabels",
    "from_name": "label",
    "to_name": "image",
    "original_width": 8,
    "original_height": 6,
    "value": {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["person"]},
}


@dataclass(frozen=True)
class Place:
    """ann and bea label the task of `project`; the boss is its administrator."""

    project: int
    task: int
    ann: Person
    bea: Person
    boss: Person

    def submits(self, person: Person, **fields: object) -> requests.Response:
        return person.post(f"/api/tasks/{self.task}/annotations/", result=[BOX], **fields)


@pytest.fixture(scope="module")
def place(provisioned: LabelStudio) -> Iterator[Place]:
    folder = provisioned.images / "place"
    folder.mkdir()
    Image.new("RGB", (8, 6)).save(folder / "one.png")
    studio, main = provisioned.studio, state(provisioned)["project"]
    config = studio.project(main)["label_config"]
    project = studio.request("POST", "/api/projects", json={"title": "doors", "label_config": config})["id"]
    data = {"image": "/data/local-files/?d=images/place/one.png"}
    task = studio.request("POST", "/api/tasks", json={"project": project, "data": data})["id"]
    ann, bea = (labeller(provisioned, f"{name}.place@example.org") for name in ("ann", "bea"))
    yield Place(project, task, ann, bea, log_in(provisioned))
    studio.request("DELETE", f"/api/projects/{project}")
    shutil.rmtree(folder)


def test_she_takes_the_next_task_draws_submits_corrects_and_skips(place: Place) -> None:
    ann = place.ann
    assert [p["id"] for p in ann.get("/api/projects").json()["results"] if p["title"] == "doors"]
    assert ann.get(f"/projects/{place.project}/data").status_code == 200
    tab = ann.post("/api/dm/views", project=place.project, data={"title": "Mine"})
    assert tab.status_code == 201
    following = ann.ask("POST", "/api/dm/actions", params={"id": "next_task", "project": place.project})
    assert following.status_code == 200 and following.json()["id"] == place.task
    assert ann.get(f"/api/projects/{place.project}/next").status_code == 200
    image = ann.get(following.json()["data"]["image"])
    assert image.status_code == 200 and image.headers["Content-Type"] == "image/png"

    draft = ann.post(f"/api/tasks/{place.task}/drafts", result=[BOX], lead_time=1.5)
    assert draft.status_code == 201
    assert ann.patch(f"/api/drafts/{draft.json()['id']}", result=[]).status_code == 200
    submitted = place.submits(ann, draft_id=draft.json()["id"], lead_time=2.0)
    assert submitted.status_code == 201 and submitted.json()["completed_by"] == ann.id
    path = f"/api/annotations/{submitted.json()['id']}"
    assert ann.patch(path, result=[], completed_by=ann.id).json()["result"] == []
    assert ann.delete(path).status_code == 204
    skipped = ann.ask(
        "POST", f"/api/tasks/{place.task}/annotations", params={"was_cancelled": "1"}, json={"result": []}
    )
    assert skipped.status_code == 201 and skipped.json()["was_cancelled"]
    assert ann.delete(f"/api/annotations/{skipped.json()['id']}").status_code == 204
    assert ann.delete(f"/api/dm/views/{tab.json()['id']}").status_code == 204


def test_her_own_account_and_tokens_are_hers(place: Place, provisioned: LabelStudio) -> None:
    ann = place.ann
    assert ann.patch(f"/api/users/{ann.id}", first_name="Ann").json()["first_name"] == "Ann"
    assert ann.get("/user/account").status_code == 200
    key = ann.get("/api/current-user/token").json()["token"]
    projects = provisioned.url + "/api/projects"
    legacy = requests.get(projects, headers={"Authorization": f"Token {key}"}, timeout=30)
    assert legacy.status_code == 200
    refused = requests.post(projects, headers={"Authorization": f"Token {key}"}, json={}, timeout=30)
    assert refused.status_code == 403 and "administrator" in refused.json()["detail"]
    assert ann.post("/api/current-user/reset-token").status_code == 201
    assert ann.patch("/api/current-user/hotkeys/", custom_hotkeys={}).status_code == 200


def test_a_personal_access_token_may_no_more_than_she(place: Place, provisioned: LabelStudio) -> None:
    made = place.ann.post("/api/token")
    assert made.status_code == 201, made.text
    access = requests.post(
        provisioned.url + "/api/token/refresh", json={"refresh": made.json()["token"]}, timeout=30
    ).json()["access"]
    headers = {"Authorization": f"Bearer {access}"}
    assert requests.get(provisioned.url + "/api/projects", headers=headers, timeout=30).status_code == 200
    for method, path in (("POST", "/api/projects"), ("DELETE", f"/api/tasks/{place.task}")):
        refused = requests.request(method, provisioned.url + path, headers=headers, json={}, timeout=30)
        assert refused.status_code == 403 and "administrator" in refused.json()["detail"]


def test_she_changes_nobody_elses_annotations_drafts_tabs_and_account(place: Place) -> None:
    beas = place.submits(place.bea).json()["id"]
    draft = place.bea.post(f"/api/tasks/{place.task}/drafts", result=[BOX]).json()["id"]
    tab = place.bea.post("/api/dm/views", project=place.project, data={"title": "Bea's"}).json()["id"]
    assert place.ann.get(f"/api/annotations/{beas}").json()["completed_by"] == place.bea.id
    tried = [
        place.ann.patch(f"/api/annotations/{beas}", result=[]),
        place.ann.ask("PUT", f"/api/annotations/{beas}", json={"result": []}),
        place.ann.delete(f"/api/annotations/{beas}"),
        place.ann.post(f"/api/annotations/{beas}/convert-to-draft"),
        place.ann.post(f"/api/tasks/{place.task}/annotations/{beas}/drafts", result=[]),
        place.ann.patch(f"/api/drafts/{draft}", result=[]),
        place.ann.delete(f"/api/drafts/{draft}"),
        place.ann.delete(f"/api/dm/views/{tab}"),
        place.ann.patch(f"/api/users/{place.bea.id}", first_name="x"),
        place.ann.post(f"/api/users/{place.bea.id}/avatar"),
    ]
    assert [(a.status_code, SOMEBODY_ELSES in a.text) for a in tried] == [(403, True)] * len(tried)
    assert place.boss.get(f"/api/annotations/{beas}").json()["result"]
    assert place.boss.patch(f"/api/annotations/{beas}", result=[]).status_code == 200, "an administrator may"
    assert place.boss.delete(f"/api/annotations/{beas}").status_code == 204


def test_she_labels_in_no_other_name(place: Place) -> None:
    own = place.submits(place.ann).json()["id"]
    drafts = f"/api/tasks/{place.task}/drafts"
    tried = [
        place.submits(place.ann, completed_by=place.bea.id),
        place.ann.patch(f"/api/annotations/{own}", completed_by=place.bea.id),
        place.ann.ask("PATCH", f"/api/annotations/{own}", data={"completed_by": str(place.bea.id)}),
        place.ann.ask("PATCH", f"/api/annotations/{own}", files={"completed_by": (None, str(place.bea.id))}),
        place.ann.post(drafts, result=[], user=place.bea.id),
    ]
    assert [(a.status_code, "another person" in a.text) for a in tried] == [(403, True)] * len(tried)
    assert place.boss.get(f"/api/annotations/{own}").json()["completed_by"] == place.ann.id
    assert place.ann.delete(f"/api/annotations/{own}").status_code == 204


@pytest.mark.parametrize("seconds", ["1e999", "-1e999", '"inf"', '"nan"'])
def test_she_writes_no_number_that_ends_all_lists_of_labels(
    place: Place, provisioned: LabelStudio, seconds: str
) -> None:
    """Label Studio would store it, and answer 500 to whoever asks for the project's labels: every round."""
    own = place.submits(place.ann).json()["id"]
    doors = [
        ("POST", f"/api/tasks/{place.task}/annotations/"),
        ("PATCH", f"/api/annotations/{own}/"),
        ("POST", f"/api/tasks/{place.task}/drafts"),
        ("POST", f"/api/tasks/{place.task}/annotations/{own}/drafts"),
    ]
    bodies = [f'{{"result": [], "lead_time": {seconds}}}']
    if not seconds.startswith('"'):
        bodies.append(f'{{"result": [{{"value": {{"x": {seconds}}}}}]}}')
    headers = {"Content-Type": "application/json"}
    for method, path in doors:
        for body in bodies:
            refused = place.ann.ask(method, path, data=body, headers=headers)
            assert refused.status_code == 400, (method, path, body, refused.text)
    form = place.ann.ask("PATCH", f"/api/annotations/{own}/", data={"lead_time": "inf"})
    assert form.status_code == 400
    (task,) = provisioned.studio.iter_tasks(place.project, fields="all")
    assert [row["id"] for row in task["annotations"]] == [own]
    assert place.ann.delete(f"/api/annotations/{own}").status_code == 204


def test_a_task_that_somebody_opened_while_the_clock_was_ahead_is_not_hers_for_years(
    place: Place, provisioned: LabelStudio
) -> None:
    following = f"/api/projects/{place.project}/next"
    assert place.ann.get(following).json()["id"] == place.task
    assert place.bea.get(following).status_code == 404, "it is hers, as ever"
    with closing(sqlite3.connect(provisioned.data / "label_studio.sqlite3", timeout=30)) as database:
        until = "UPDATE tasks_tasklock SET expire_at = '2041-01-01 00:00:00' WHERE task_id = ?"
        assert database.execute(until, (place.task,)).rowcount == 1
        database.commit()
    assert place.bea.get(following).json()["id"] == place.task


def test_of_the_data_managers_actions_she_has_the_next_task_alone(
    place: Place, provisioned: LabelStudio
) -> None:
    program = (
        "from provisioner import django_app\n"
        "django_app.setup()\n"
        "import core.urls\n"
        "from django.conf import settings\n"
        "print('ACTIONS', *settings.DATA_MANAGER_ACTIONS)\n"
    )
    actions = provisioned.run_program(program, timeout=120).split("ACTIONS")[1].split()
    assert {"delete_tasks", "retrieve_tasks_predictions", "next_task"} <= set(actions)
    offered = place.ann.get("/api/dm/actions", project=place.project).json()
    assert offered == [] and place.boss.get("/api/dm/actions", project=place.project).json()
    for action in actions:
        chosen = {"id": action, "project": place.project}
        answer = place.ann.ask("POST", "/api/dm/actions", params=chosen, json={})
        assert (answer.status_code == 403) == (action != "next_task"), f"{action}: {answer.text}"


def test_the_pages_are_told_what_she_may(place: Place) -> None:
    """The names are Label Studio's: one that a later version drops is missing here."""
    hers = set(place.ann.get("/api/current-user/whoami").json()["permissions"])
    bosss = set(place.boss.get("/api/current-user/whoami").json()["permissions"])
    assert hers == {
        *(f"annotations.{what}" for what in ("change", "create", "delete", "view")),
        *(f"views.{what}" for what in ("change", "create", "delete", "view")),
        *(f"{what}.view" for what in ("labels", "organizations", "projects", "tasks")),
        *("avatar.any", "users.token.any"),
    }
    assert {"projects.change", "storages.change", "organizations.invite"} <= bosss - hers
