"""From Label Studio to the dashboard: the address that leads there, the model's title on Label Studio's page,
and what Start Training answers; and by a link back, the label stream in the project's order.
"""

from collections.abc import Iterator

import pytest
import requests
from integration.labelstudio.test_provisioning import state
from integration.support.fake_backend import FakeBackend
from integration.support.labelstudio import LabelStudio
from integration.support.people import Person, labeller, log_in

from labelloop.addresses import DASHBOARD_PATH
from labelloop.connection import TITLE
from labelloop.layout import LABELSTUDIO_PORT, default_dashboard_port
from labelloop.task_filters import UNLABELLED

AT = f"http://127.0.0.1:{default_dashboard_port(LABELSTUDIO_PORT)}"


@pytest.fixture(scope="module")
def boss(provisioned: LabelStudio) -> Person:
    return log_in(provisioned)


@pytest.fixture(scope="module")
def ann(provisioned: LabelStudio) -> Person:
    return labeller(provisioned, "ann.links@example.org")


@pytest.fixture
def asked(backend: FakeBackend) -> Iterator[FakeBackend]:
    """The backend, which goes back to its usual answer to Start Training."""
    before = backend.webhook
    yield backend
    backend.webhook = before


@pytest.mark.parametrize(
    ("query", "to"),
    [
        ("", AT),
        ("?project=7", f"{AT}/?project=7"),
        ("?project=//evil.example", AT),
        ("?project=%D9%A1", AT),
        ("?next=https://evil.example&to=//evil.example", AT),
    ],
)
def test_the_address_leads_to_the_dashboard_and_nowhere_else(ann: Person, query: str, to: str) -> None:
    answer = ann.get(DASHBOARD_PATH + query)
    assert (answer.status_code, answer.headers["Location"]) == (302, to)
    assert "no-store" in answer.headers["Cache-Control"]


def test_it_goes_by_the_name_under_which_the_browser_came(ann: Person) -> None:
    hers = {"Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in ann.session.cookies)}
    answer = ann.ask("GET", DASHBOARD_PATH, headers=hers | {"Host": "desk.lan:8080"})
    assert answer.headers["Location"] == AT.replace("127.0.0.1", "desk.lan")
    answer = ann.ask("GET", DASHBOARD_PATH, headers=hers | {"Host": "labels.example"})
    assert answer.status_code == 503, "behind the proxy, whose other name nobody told"
    assert "PUBLIC_DASHBOARD_URL" in answer.text


def test_a_stranger_logs_in_first(provisioned: LabelStudio) -> None:
    answer = requests.get(provisioned.url + DASHBOARD_PATH, timeout=30, allow_redirects=False)
    assert answer.status_code == 302 and answer.headers["Location"].startswith("/user/login/")


def test_the_models_title_says_where_the_dashboard_is_on_the_page_alone(
    provisioned: LabelStudio, boss: Person
) -> None:
    project = state(provisioned)["project"]
    (shown,) = boss.get("/api/ml/", project=project).json()
    assert shown["title"] == f"{TITLE}: rounds and scores at {AT}/?project={project}"
    (told,) = provisioned.studio.backends(project)
    assert told["title"] == TITLE
    assert boss.get(f"/api/projects/{project}").json()["ml_backends"] == [
        {"id": told["id"], "url": told["url"], "title": TITLE, "interactive": True}
    ]


def test_the_pages_form_does_not_store_what_it_shows(provisioned: LabelStudio, boss: Person) -> None:
    """Nor does it change the model_version that is the title."""
    project, studio = state(provisioned)["project"], provisioned.studio
    before = studio.project(project)["model_version"]
    studio.update_project(project, model_version=TITLE)
    (shown,) = boss.get("/api/ml/", project=project).json()
    form = {name: shown[name] for name in ("title", "url", "auth_method", "basic_auth_user", "project")}
    saved = boss.patch(f"/api/ml/{shown['id']}", **form, basic_auth_pass="")
    assert saved.status_code == 200, saved.text
    (told,) = studio.backends(project)
    assert told["title"] == TITLE and studio.project(project)["model_version"] == TITLE
    studio.update_project(project, model_version=before, model_version_chosen=False)


@pytest.mark.parametrize(
    ("webhook", "status", "said"),
    [
        ((201, {"round": 3, "joined": False}), 200, "queued; it begins within seconds"),
        ((201, {"round": 3, "joined": True}), 200, "one is open already"),
        ((409, {"error": "nothing is labelled yet"}), 409, "No round: nothing is labelled yet"),
        ((503, {"error": "the trainer does not answer"}), 503, "No round: the trainer does not answer"),
        (None, 503, "No round: the ML backend does not answer"),
    ],
)
def test_start_training_says_what_came_of_it_and_where_to_follow_it(
    provisioned: LabelStudio,
    boss: Person,
    asked: FakeBackend,
    webhook: tuple[int, dict[str, object]] | None,
    status: int,
    said: str,
) -> None:
    """`response` is what Label Studio's page shows; of a refusal it shows `detail`."""
    asked.webhook = webhook
    backend, project = state(provisioned)["backend"], state(provisioned)["project"]
    answer = boss.post(f"/api/ml/{backend}/train")
    told = answer.json()
    assert answer.status_code == status
    assert (told["response"]["round"] if status == 200 else told["detail"]).startswith(said)
    assert (told["response"] if status == 200 else told)["dashboard"] == f"{AT}/?project={project}"
    (connection,) = provisioned.studio.backends(project)
    assert connection["state"] == "CO"


def test_start_training_is_for_administrators(
    provisioned: LabelStudio, ann: Person, backend: FakeBackend
) -> None:
    before = len(backend.requests)
    assert ann.post(f"/api/ml/{state(provisioned)['backend']}/train").status_code == 403
    assert len(backend.requests) == before


@pytest.fixture
def three(provisioned: LabelStudio) -> Iterator[tuple[int, list[int]]]:
    """A project with three tasks, of which the model is surest of the first and least sure of the last."""
    studio = provisioned.studio
    config = studio.project(state(provisioned)["project"])["label_config"]
    fields = {"title": "by a link", "label_config": config, "sampling": "Uncertainty sampling"}
    project = int(studio.request("POST", "/api/projects", json=fields)["id"])
    data = [{"image": f"/data/local-files/?d=images/{number}.png"} for number in range(3)]
    studio.request("POST", f"/api/projects/{project}/import", json=data)
    tasks = sorted(int(task["id"]) for task in studio.iter_tasks(project))
    rows = [
        {"task": task, "result": [], "score": score, "model_version": "v0001"}
        for task, score in zip(tasks, (0.9, 0.5, 0.1), strict=True)
    ]
    studio.import_predictions(project, rows)
    studio.show_predictions(project, "v0001")
    yield project, tasks
    studio.request("DELETE", f"/api/projects/{project}")


EMPTY = {
    "filters": {"conjunction": "and", "items": []},
    "ordering": [],
    "selectedItems": {"all": False, "included": []},
}
"""What Label Studio's page sends for a tab with neither filters nor order, where nothing is selected."""


def test_who_comes_to_the_stream_by_a_link_gets_the_projects_order(
    three: tuple[int, list[int]], ann: Person
) -> None:
    project, tasks = three
    answer = ann.post(f"/api/dm/actions?id=next_task&project={project}", **EMPTY, project=str(project))
    assert answer.json()["id"] == tasks[2], answer.json().get("queue")


@pytest.mark.parametrize("own", ["ordering", "selectedItems", "filters"])
def test_an_order_a_selection_or_a_filter_of_ones_own_counts_as_before(
    three: tuple[int, list[int]], boss: Person, own: str
) -> None:
    project, tasks = three
    given = {
        "ordering": ["-tasks:id"],
        "selectedItems": {"all": False, "included": [tasks[1]]},
        "filters": {"conjunction": "and", "items": [UNLABELLED]},
    }
    body = {**EMPTY, own: given[own], "project": str(project)}
    answer = boss.post(f"/api/dm/actions?id=next_task&project={project}", **body)
    assert answer.json()["queue"] == "Data manager queue"
