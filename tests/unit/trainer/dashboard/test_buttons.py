"""Which buttons the first page offers, and what it says of a round that cannot work."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.dashboard import press, words
from support.fake_studio import FakeStudio, add_labelled
from support.versions import add_version

from labelloop.registry import ProjectModels
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.left_out import Kind, LeftOut
from trainer.dataset.survey import Survey
from trainer.rounds import heartbeat
from trainer.rounds.table import State


def shown(client: TestClient) -> set[str]:
    """The buttons that lead somewhere, as the moving part of the page has them."""
    return set(re.findall(r'href="/do/(\w+)', client.get("/live?project=1").text))


def test_buttons_are_there_when_they_can_do_something(
    client: TestClient,
    app: FastAPI,
    loop: WatchedLoop,
    models: ProjectModels,
    fake_studio: FakeStudio,
    tmp_path: Path,
) -> None:
    assert shown(client) == set(), "no label, no round, one version, no image"
    fake_studio.add_task()
    loop.forget_status()
    assert shown(client) == {"predict"}
    press(client, "predict")
    app.state.parts.pre_labelling.wait(10)
    assert shown(client) == set()
    models.promote(add_version(models, tmp_path / "next"))
    add_labelled(fake_studio, 25)
    loop.forget_status()
    assert shown(client) == {"retrain", "rollback", "predict"}, "the new version's boxes are lacking"
    loop.rounds.request(1, "a test")
    assert shown(client) == {"cancel", "rollback", "predict"}
    loop.rounds.move(1, State.SNAPSHOTTING)
    loop.rounds.cancel(1)
    assert shown(client) == {"rollback", "predict"}, "it was asked to stop"
    fake_studio.down = True
    loop.forget_status()
    assert shown(client) == set()
    assert "Label Studio does not answer; nothing can be done here" in words(client.get("/live").text)


REFUSALS = {
    "Label 5 more images first. None is labelled yet; skipped ones do not count.": (0, True, ("ball",)),
    "Label 2 more images first. 3 are labelled; skipped ones do not count. v0000 knows": (
        3,
        True,
        ("ball",),
    ),
    "Label 1 more image first, with a box. None is labelled yet": (0, True, ("tree",)),
    "Draw boxes first: none of the 4 labelled images has one, so there is nothing to learn.": (
        4,
        False,
        ("tree",),
    ),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_a_round_that_cannot_work_is_refused_with_what_to_do_first(
    why: str, client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio
) -> None:
    labelled, boxes, labels = REFUSALS[why]
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    fake_studio.projects[1]["label_config"] = (
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="label" toName="image">{tags}</RectangleLabels></View>'
    )
    for task in add_labelled(fake_studio, labelled):
        if not boxes:
            fake_studio.tasks[task]["annotations"] = [{"id": task, "was_cancelled": False, "result": []}]
    page = client.get("/").text
    assert why in words(page) and re.search('aria-disabled="true"[^>]*>Start a round<', page)
    asked = client.get("/do/retrain?project=1").text
    assert why in words(asked) and 'action="/do/retrain' not in asked
    assert why in press(client, "retrain")
    assert loop.rounds.history(1) == []


def test_without_a_worker_a_sentence_says_so(client: TestClient, loop: WatchedLoop) -> None:
    """Both beside the button and where it leads, as one that begins like the others."""
    (loop.settings.rounds_dir / "worker.json").unlink()
    for page in ("/", "/do/retrain?project=1"):
        assert "The trainer does not run: the worker has not started yet; see" in words(client.get(page).text)


def test_images_that_cannot_be_used_do_not_count_unless_enough_are_held_out(
    client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio
) -> None:
    add_labelled(fake_studio, 5)
    away = tuple(LeftOut(task, f"{task}.jpg", Kind.AWAY, "it is gone") for task in (1, 2, 3))
    survey = Survey(1, datetime.now(UTC), fake_studio.projects[1]["label_config"], away)
    survey.write(loop.settings.rounds_dir)
    loop.forget_status()
    told = "Label 3 more images first. 5 are labelled, of which 3 cannot be used (page Data)."
    assert told in words(client.get("/").text)
    replace(survey, train=17, holdout=5, boxes=40).write(loop.settings.rounds_dir)
    loop.forget_status()
    assert shown(client) == {"retrain"}


def test_another_projects_trouble_is_told_on_its_page_alone(
    client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio
) -> None:
    fake_studio.add_project(2)
    told = {"starting models": "the starting model could not be written: no weights", "pre-labels": "500"}
    heartbeat.beat(loop.settings.rounds_dir, {"1": "v0000", "2": None}, {}, {"2": told})
    loop.rounds.request(2, "a test")
    loop.rounds.move(1, State.FAILED, error="the second project's failure")
    loop.forget_status()
    mine, theirs = words(client.get("/?project=1").text), words(client.get("/?project=2").text)
    for trouble in ("no weights", "pre-labels: 500", "the second project's failure"):
        assert trouble not in mine and trouble in unescape(theirs)
    assert "trainer well" in mine and "trainer well" in theirs
    heartbeat.beat(loop.settings.rounds_dir, {"1": "v0000"}, {"rounds": "the table is damaged"}, {})
    loop.forget_status()
    for project in (1, 2):
        page = words(client.get(f"/?project={project}").text)
        assert "trainer not well: rounds cannot be tended: the table is damaged" in page
