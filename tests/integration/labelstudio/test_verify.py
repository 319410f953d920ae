"""What is verified on the dashboard, in a real Label Studio: whose it is, and what it leaves alone."""

import itertools
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from integration.labelstudio.test_dashboard_people import remove
from integration.support.labelstudio import EMAIL, PASSWORD, LabelStudio
from integration.support.people import PASSWORD_OF_ALL, Person, labeller
from pydantic import SecretStr
from support import made_scores, shapes
from support.dashboard import log_in
from support.verify_data import SURE, answer, crops, region, undo
from support.versions import add_version

from labelloop.studio import Row, Studio
from labelloop.task_filters import LABELLED, UNLABELLED, changed_after
from labelloop.verified import BESIDE
from trainer.dashboard.app import create_app
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.snapshot import collect
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend

_numbers = itertools.count()
BOXES = 4


@pytest.fixture
def settings(provisioned: LabelStudio, tmp_path: Path) -> TrainerSettings:
    token = SecretStr(provisioned.environment["API_TOKEN"])
    return TrainerSettings(labelloop_home=tmp_path, labelstudio_url=provisioned.url, api_token=token)


@pytest.fixture
def project(provisioned: LabelStudio, settings: TrainerSettings) -> int:
    """A project with the boxes of v0001 on four images."""
    studio = provisioned.studio
    config = {"title": f"verify {next(_numbers)}", "label_config": shapes.LABEL_CONFIG}
    made = int(studio.request("POST", "/api/projects", json=config)["id"])
    folder = settings.images_dir / "verify"
    folder.mkdir(parents=True)
    rows = []
    for number in range(BOXES):
        shapes.picture(number, (320, 240)).image.save(folder / f"{number}.png")
        rows.append({"data": {"image": f"/data/local-files/?d=images/verify/{number}.png"}})
    studio.request("POST", f"/api/projects/{made}/import", json=rows)
    ids = [int(task["id"]) for task in studio.iter_tasks(made)]
    proposed = [{"task": task, "score": 0.6, "model_version": "v0001", "result": boxes(task)} for task in ids]
    assert studio.import_predictions(made, proposed) == BOXES
    return made


def boxes(task: int) -> list[Row]:
    first, second = region(f"a{task}", "ball", SURE), region(f"b{task}", "ball", SURE, x=50.0)
    return [first | {BESIDE: 0.01}, second]


@pytest.fixture
def app(provisioned: LabelStudio, settings: TrainerSettings, project: int, tmp_path: Path) -> FastAPI:
    """A dashboard whose model in service is sure of balls."""
    loop = WatchedLoop(settings, provisioned.studio, Backend("http://127.0.0.1:1", "backend"), 600.0)
    models = loop.models(project)
    models.promote(add_version(models, tmp_path / "made"))
    snapshot = made_scores.snapshot_of(range(101, 121), range(201, 213))
    made_scores.History(models, loop.rounds, project).round(snapshot, {"ball": 12}, {})
    return create_app(loop, "a secret")


@pytest.fixture
def ann(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, follow_redirects=False, base_url="http://dashboard.example") as client:
        assert log_in(client, PASSWORD, email=EMAIL) == 303
        yield client


@pytest.fixture
def bea(app: FastAPI, provisioned: LabelStudio) -> Iterator[tuple[TestClient, Person]]:
    person = labeller(provisioned, f"bea.verifies.{next(_numbers)}@example.org")
    with TestClient(app, follow_redirects=False, base_url="http://dashboard.example") as client:
        assert log_in(client, PASSWORD_OF_ALL, email=person.email) == 303
        yield client, person


def annotated(studio: Studio, project: int) -> dict[int, list[Row]]:
    rows = studio.iter_tasks(project, fields="all", page_size=100)
    return {int(row["id"]): row["annotations"] for row in rows}


def test_it_is_hers_with_the_boxes_seconds_and_origin_and_is_taken_back_whole(
    provisioned: LabelStudio, project: int, settings: TrainerSettings, bea: tuple[TestClient, Person]
) -> None:
    client, person = bea
    studio = provisioned.studio
    before, began = studio.whole_project(project), datetime.now(UTC)
    told = crops(client, project=project)
    assert len(told["crops"]) == 2 * BOXES
    said = answer(client, told, seconds="0.008", project=project)
    assert "8 right, 0 wrong. 4 images submitted." in said
    written = annotated(studio, project)
    (first, [annotation]), *_ = written.items()
    [prediction] = studio.request("GET", "/api/predictions", params={"task": first})
    assert prediction["result"][0][BESIDE] == 0.01
    by = annotation["completed_by"]
    assert (by["id"] if isinstance(by, dict) else by) == person.id
    assert annotation["parent_prediction"] == prediction["id"] and annotation["lead_time"] > 0
    assert [row["meta"]["verified"]["by"] for row in annotation["result"]] == [person.email] * 2
    assert annotation["result"][0]["value"] == prediction["result"][0]["value"]
    assert (studio.count_tasks(project, LABELLED), studio.count_tasks(project, UNLABELLED)) == (BOXES, 0)
    assert studio.count_tasks(project, LABELLED, changed_after(began)) == BOXES  # which ledger and looks ask
    after = studio.whole_project(project)
    assert after["num_tasks_with_annotations"] == BOXES and after["total_annotations_number"] == BOXES
    snapshot = collect(studio, project, settings, lambda fraction, words: None)
    assert (len(snapshot.train), len(snapshot.holdout), snapshot.boxes) == (BOXES, 0, 2 * BOXES)

    assert "8 crops" in undo(client, project=project)
    assert set(map(len, annotated(studio, project).values())) == {0}
    assert studio.count_tasks(project, UNLABELLED) == BOXES
    again = studio.whole_project(project)
    for count in ("num_tasks_with_annotations", "total_annotations_number", "finished_task_number"):
        assert again[count] == before[count], count


def test_what_is_wrong_becomes_her_draft_and_nothing_stands_beside_what_others_made(
    provisioned: LabelStudio, project: int, ann: TestClient, bea: tuple[TestClient, Person]
) -> None:
    client, person = bea
    studio = provisioned.studio
    told = crops(client, project=project)
    assert crops(ann, project=project)["crops"] == []  # Bea has them all before her
    wrong, drawn, skipped, drafted = sorted({row["task"] for row in told["crops"]})
    studio.request("POST", f"/api/tasks/{drawn}/annotations", json={"result": [], "lead_time": 2.0})
    studio.request("POST", f"/api/tasks/{skipped}/annotations", json={"result": [], "was_cancelled": True})
    studio.request("POST", f"/api/tasks/{drafted}/drafts", json={"result": []})
    place = next(row["number"] for row in told["crops"] if row["region"] == f"b{wrong}")
    said = answer(client, told, place, project=project)
    assert "1 image left to Label Studio as a draft of yours" in said
    assert "3 images labelled by somebody else meanwhile, which counts" in said
    counts = {task: len(rows) for task, rows in annotated(studio, project).items()}
    assert counts == {wrong: 0, drawn: 1, skipped: 1, drafted: 0}
    hers = person.get(f"/api/tasks/{wrong}/").json()["drafts"]
    assert [row["id"] for row in hers[0]["result"]] == [f"a{wrong}"]
    assert f"seen right by {person.email}" in hers[0]["result"][0]["meta"]["text"][0]
    assert "Taken back: 2 crops" in undo(client, project=project)
    assert person.get(f"/api/tasks/{wrong}/").json()["drafts"] == []


def test_an_image_of_which_a_labeller_has_a_draft_is_before_nobody(
    project: int, ann: TestClient, bea: tuple[TestClient, Person]
) -> None:
    """Label Studio tells the administrator whose token asks nothing of a labeller's drafts."""
    client, person = bea
    found = sorted({row["task"] for row in crops(client, project=project)["crops"]})
    person.post(f"/api/tasks/{found[0]}/drafts", result=[]).raise_for_status()
    assert {row["task"] for row in crops(client, project=project)["crops"]} == set(found[1:])
    assert crops(ann, project=project)["crops"] == []


def test_what_is_begun_before_the_images_are_looked_through_is_not_found(
    project: int, ann: TestClient, bea: tuple[TestClient, Person]
) -> None:
    _, person = bea
    tasks = sorted(row["id"] for row in person.get(f"/api/tasks?project={project}").json()["tasks"])
    person.post(f"/api/tasks/{tasks[0]}/drafts", result=[]).raise_for_status()
    assert {row["task"] for row in crops(ann, project=project)["crops"]} == set(tasks[1:])


def test_what_an_administrator_is_correcting_is_not_taken_back(
    provisioned: LabelStudio, project: int, bea: tuple[TestClient, Person]
) -> None:
    """Label Studio keeps a correction as a draft of the annotation, with which it would go."""
    client, _ = bea
    studio = provisioned.studio
    answer(client, crops(client, project=project), project=project)
    corrected, [annotation] = next(iter(annotated(studio, project).items()))
    path = f"/api/tasks/{corrected}/annotations/{annotation['id']}/drafts"
    studio.request("POST", path, json={"result": boxes(corrected)[:1]})
    assert "1 changed in Label Studio since" in undo(client, project=project)
    left = {task: len(rows) for task, rows in annotated(studio, project).items()}
    assert left == {task: int(task == corrected) for task in left}


def test_a_request_that_is_sent_again_and_again_makes_one_annotation_of_each_image(
    provisioned: LabelStudio, project: int
) -> None:
    studio = provisioned.studio
    items = [
        {"task": task, "unique_id": f"00000000-0000-4000-8000-{task:012d}", "person": 1, "finished": True}
        | {"result": boxes(task), "lead_time": 1.0}
        for task in annotated(studio, project)
    ]

    def hand_in(_: int) -> list[str]:
        path = f"/labelloop/projects/{project}/verified"
        return [
            done["did"] for done in provisioned.studio.request("POST", path, json={"items": items})["items"]
        ]

    with ThreadPoolExecutor(4) as pool:  # at once
        assert set(map(tuple, pool.map(hand_in, range(4), timeout=60))) == {("submitted",) * BOXES}
    with closing(sqlite3.connect(provisioned.data / "label_studio.sqlite3")) as database:
        query = "SELECT count(*), count(DISTINCT task_id) FROM task_completion WHERE project_id = ?"
        assert database.execute(query, (project,)).fetchone() == (BOXES, BOXES)


def test_nothing_is_handed_in_for_whom_an_administrator_has_removed(
    provisioned: LabelStudio, project: int, bea: tuple[TestClient, Person]
) -> None:
    """What she verified may have waited here, for want of Label Studio, until after that."""
    _, person = bea
    number = person.id
    remove(provisioned, person)
    items = [
        {"task": task, "unique_id": f"00000000-0000-4000-9000-{task:012d}", "person": number}
        | {"result": boxes(task), "finished": finished}
        for task, finished in zip(annotated(provisioned.studio, project), (True, False), strict=False)
    ]
    path = f"/labelloop/projects/{project}/verified"
    done = provisioned.studio.request("POST", path, json={"items": items})["items"]
    assert [row["did"] for row in done] == ["nobody", "nobody"]
    assert set(map(len, annotated(provisioned.studio, project).values())) == {0}


def test_what_is_taken_back_is_the_projects_own(provisioned: LabelStudio, project: int) -> None:
    studio = provisioned.studio
    config = {"title": f"verify {next(_numbers)}", "label_config": shapes.LABEL_CONFIG}
    other = int(studio.request("POST", "/api/projects", json=config)["id"])
    task = next(iter(annotated(studio, project)))
    item = {"task": task, "unique_id": f"00000000-0000-4000-a000-{task:012d}", "person": 1, "finished": True}
    items = {"items": [item | {"result": boxes(task)}]}
    path = "/labelloop/projects/{}/verified{}"
    studio.request("POST", path.format(project, ""), json=items)
    [answered] = studio.request("POST", path.format(other, "/undo"), json=items)["items"]
    assert answered["did"] == "gone" and len(annotated(studio, project)[task]) == 1


def test_labellers_hand_in_nothing_by_themselves(
    provisioned: LabelStudio, project: int, bea: tuple[TestClient, Person]
) -> None:
    for path in ("verified", "verified/undo"):
        answered = bea[1].post(f"/labelloop/projects/{project}/{path}", items=[])
        assert answered.status_code == 403
