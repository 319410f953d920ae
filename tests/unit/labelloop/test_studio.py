"""Tasks, however many and however sparse their ids, come once each, in time that grows with their number; a
list of projects has nothing counted.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from support.fake_studio import FakeStudio

from labelloop.studio import Studio
from labelloop.task_filters import LABELLED, UNLABELLED, changed_after

PAGE = 10


@pytest.fixture
def fake() -> Iterator[FakeStudio]:
    made = FakeStudio()
    made.add_project()
    made.add_project(2)
    with made.serve() as url:
        made.url = url
        yield made


@pytest.fixture
def studio(fake: FakeStudio) -> Studio:
    return Studio(fake.url, "token")


def labelled_ids(studio: Studio) -> list[int]:
    return [task["id"] for task in studio.iter_tasks(1, LABELLED, page_size=PAGE)]


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 7 * PAGE + 3])
@pytest.mark.parametrize("every", [1, 2, 7])
def test_every_task_that_meets_the_conditions_comes_once_by_id(
    fake: FakeStudio, studio: Studio, count: int, every: int
) -> None:
    wanted = []
    for number in range(count * every):
        task = fake.add_task(annotations=int(number % every == 0))
        wanted += [task] if number % every == 0 else []
    assert labelled_ids(studio) == wanted


def test_a_gap_of_other_projects_tasks_costs_a_few_requests(fake: FakeStudio, studio: Studio) -> None:
    wanted = [fake.add_task(annotations=1) for _ in range(2 * PAGE)]
    for _ in range(1000 * PAGE):
        fake.add_task(project=2)
    wanted += [fake.add_task(annotations=1) for _ in range(3 * PAGE)]
    assert labelled_ids(studio) == wanted
    assert len(fake.pages) < 30


def test_what_label_studio_has_to_count_grows_with_the_tasks_and_not_with_their_square(
    fake: FakeStudio, studio: Studio
) -> None:
    for _ in range(100 * PAGE):
        fake.add_task(annotations=1)
    assert len(labelled_ids(studio)) == 100 * PAGE
    # The first page and the newest task are found among all; every other page among no more than it holds.
    assert sum(found for _, found in fake.pages) <= 3 * 100 * PAGE
    assert {number for number, _ in fake.pages} == {1}


def test_tasks_that_cease_to_meet_the_conditions_leave_none_out(fake: FakeStudio, studio: Studio) -> None:
    ids = [fake.add_task() for _ in range(5 * PAGE)]
    seen = []
    for task in studio.iter_tasks(1, UNLABELLED, page_size=PAGE):
        seen.append(task["id"])
        fake.tasks[task["id"]]["total_annotations"] = 1
    assert seen == ids


def test_few_tasks_take_one_request(fake: FakeStudio, studio: Studio) -> None:
    for _ in range(PAGE):
        fake.add_task()
    assert len(list(studio.iter_tasks(1, page_size=PAGE))) == PAGE
    assert len(fake.pages) == 1


def test_asking_for_the_projects_has_nothing_counted(fake: FakeStudio, studio: Studio) -> None:
    fake.projects[1]["description"] = "mine"
    fake.add_task()
    first, second = studio.projects()
    assert (first["id"], first["title"], first["description"]) == (1, "project 1", "mine")
    assert second["label_config"] == fake.projects[2]["label_config"]
    assert "task_number" not in first


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9])
def test_pages_of_tasks_and_of_labels_leave_none_out(
    fake: FakeStudio, studio: Studio, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("labelloop.studio.LISTED_AT_ONCE", 4)
    monkeypatch.setattr("labelloop.studio.LABELLED_AT_ONCE", 2)
    made = [fake.add_task(annotations=number % 2) for number in range(count)]
    fake.add_task(project=2, annotations=1)
    assert [task["id"] for task in studio.all_tasks(1)] == made
    asked = len(fake.pages)
    assert asked == count // 4 + 1
    assert [task["id"] for task in studio.annotated_tasks(1)] == made[1::2]
    assert len(fake.pages) - asked == count // 2 // 2 + 1


def test_counting_all_labelled_and_unlabelled_tasks_lists_none(fake: FakeStudio, studio: Studio) -> None:
    for number in range(7):
        fake.add_task(annotations=number % 3)
    assert studio.counts(1) == (7, 4)
    assert [studio.count_tasks(1, *by) for by in ((), (LABELLED,), (UNLABELLED,))] == [7, 4, 3]
    assert not fake.pages
    assert studio.count_tasks(1, LABELLED, UNLABELLED) == 0 and len(fake.pages) == 1


def changed(fake: FakeStudio, **at: datetime) -> dict[str, int]:
    """Labelled tasks by name, changed at these moments."""
    tasks = {name: fake.add_task(annotations=1) for name in at}
    for name, moment in at.items():
        fake.tasks[tasks[name]]["updated_at"] = moment.isoformat()
    return tasks


def test_a_moment_in_the_future_tells_nothing_of_what_has_changed_since(
    fake: FakeStudio, studio: Studio
) -> None:
    """It was noted while the clock was ahead. Until then nothing would be found any more."""
    now = datetime.now(UTC)
    changed(fake, before=now - timedelta(days=9), lately=now)
    assert studio.count_tasks(1, changed_after(now - timedelta(days=1))) == 1
    assert studio.count_tasks(1, changed_after(now + timedelta(days=3000))) == 2


def test_the_newest_are_not_those_of_the_future(fake: FakeStudio, studio: Studio) -> None:
    now = datetime.now(UTC)
    tasks = changed(fake, before=now - timedelta(days=9), ahead=now + timedelta(days=3000), lately=now)
    assert [task["id"] for task in studio.newest_labelled(1, 2)] == [tasks["lately"], tasks["before"]]
