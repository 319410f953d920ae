"""Label Studio understands the ranges of ids by which the client asks for many tasks, and the fields that it
asks of projects.
"""

import time
from datetime import UTC, datetime

import pytest
from integration.support.labelstudio import LabelStudio

from labelloop.studio import LISTED, Studio
from labelloop.task_filters import LABELLED, UNLABELLED, changed_after, where

PAGE = 5


@pytest.fixture(scope="module")
def studio(provisioned: LabelStudio) -> Studio:
    return provisioned.studio


@pytest.fixture(scope="module")
def projects(studio: Studio) -> tuple[int, int]:
    """Two projects whose tasks' ids alternate in blocks; every third task is labelled."""
    xml = studio.project(1)["label_config"]
    made = [
        studio.request("POST", "/api/projects", json={"title": f"paging {number}", "label_config": xml})["id"]
        for number in range(2)
    ]
    for block in range(6):
        rows = [
            {"data": {"image": f"/{block}/{number}.jpg"}, "annotations": [{"result": []}] * (number % 3 == 0)}
            for number in range(2 * PAGE)
        ]
        studio.request("POST", f"/api/projects/{made[block % 2]}/import", json=rows)
    return made[0], made[1]


def test_every_task_comes_once_by_id(studio: Studio, projects: tuple[int, int]) -> None:
    for project in projects:
        whole = [task["id"] for task in studio.iter_tasks(project)]
        assert len(whole) == 6 * PAGE
        assert whole == sorted(set(whole))
        assert [task["id"] for task in studio.iter_tasks(project, page_size=PAGE)] == whole


def test_conditions_hold_on_every_page(studio: Studio, projects: tuple[int, int]) -> None:
    for project in projects:
        tasks = list(studio.iter_tasks(project, LABELLED, fields="all", page_size=PAGE))
        assert len(tasks) == studio.count_tasks(project, LABELLED) == 12
        assert all(len(task["annotations"]) == 1 for task in tasks)
        assert len(list(studio.iter_tasks(project, UNLABELLED, page_size=PAGE))) == 6 * PAGE - 12


def test_labelled_tasks_bring_predictions_when_asked(studio: Studio, projects: tuple[int, int]) -> None:
    plain, whole = (list(studio.annotated_tasks(projects[0], predictions=wanted)) for wanted in (False, True))
    for bare, full in zip(plain, whole, strict=True):
        assert bare["annotations"] and len(bare["annotations"]) == len(full["annotations"])
        for ours, theirs in zip(bare["annotations"], full["annotations"], strict=True):
            assert ours == {name: theirs[name] for name in ours}
    assert not any("predictions" in task for task in plain)
    assert all("predictions" in task for task in whole)


def test_a_list_of_projects_brings_what_is_asked_for_and_no_counts(
    studio: Studio, projects: tuple[int, int]
) -> None:
    found = {row["id"]: row for row in studio.projects()}
    assert found.keys() >= {1, *projects}
    for number in projects:
        whole = studio.whole_project(number)
        assert found[number] == {name: whole[name] for name in LISTED} == studio.project(number)


def test_labels_are_found_by_when_their_task_was_changed(studio: Studio, projects: tuple[int, int]) -> None:
    """The look for labels that cannot be used asks for the tasks that were changed since the last one."""
    [task, *_] = studio.iter_tasks(projects[1], UNLABELLED, page_size=PAGE)
    time.sleep(0.01)
    since = changed_after(datetime.now(UTC))
    assert list(studio.iter_tasks(projects[1], LABELLED, since)) == []
    studio.request("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": []})
    assert [row["id"] for row in studio.iter_tasks(projects[1], LABELLED, since)] == [task["id"]]
    since = changed_after(datetime.now(UTC))
    found = next(studio.iter_tasks(projects[1], where("id", "in_list", [task["id"]], "List"), fields="all"))
    [annotation] = found["annotations"]
    studio.request("PATCH", f"/api/annotations/{annotation['id']}/", json={"result": []})
    assert [row["id"] for row in studio.iter_tasks(projects[1], LABELLED, since)] == [task["id"]]
