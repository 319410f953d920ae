"""The real Label Studio tells whether the version that a project shows was chosen by a person."""

from pathlib import Path
from typing import Any

import pytest
from integration.support.fake_backend import FakeBackend
from integration.support.labelstudio import LabelStudio

from labelloop.connection import TITLE
from labelloop.instructions import ADOPTED
from labelloop.registry import Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.projects import MLBackend, all_projects, fetch
from trainer.rounds.table import Rounds
from trainer.worker.descriptions import Descriptions

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="widget"/></RectangleLabels></View>'
)
BOX = {
    "type": "rectanglelabels",
    "from_name": "label",
    "to_name": "image",
    "value": {"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": ["widget"]},
}


def theirs(version: str) -> dict[str, Any]:
    return {
        "data": {"image": "/1.jpg"},
        "predictions": [{"model_version": version, "result": [BOX], "score": 0.9}],
    }


@pytest.fixture
def studio(provisioned: LabelStudio) -> Studio:
    return provisioned.studio


@pytest.fixture
def project(studio: Studio) -> int:
    """A project with imported predictions of yolo-old, then yolo-new."""
    made = studio.request("POST", "/api/projects", json={"title": "choices", "label_config": CONFIG})["id"]
    studio.request("POST", f"/api/projects/{made}/import", json=[theirs("yolo-old")])
    studio.request("POST", f"/api/projects/{made}/import", json=[theirs("yolo-new")])
    return int(made)


def test_what_label_studio_sets_itself_is_no_choice(studio: Studio, project: int) -> None:
    found = fetch(studio, project)
    assert (found.model_version, found.version_chosen) == ("yolo-old", False)


def test_what_a_person_sets_is_one_until_it_is_left(studio: Studio, project: int) -> None:
    studio.update_project(project, model_version="yolo-new")
    assert fetch(studio, project).version_chosen
    assert project in [p.id for p in all_projects(studio) if p.version_chosen]
    assert 1 not in [p.id for p in all_projects(studio) if p.version_chosen]
    studio.update_project(project, model_version="")
    assert not fetch(studio, project).version_chosen


def test_whoever_confirms_imported_predictions_chooses_them(studio: Studio, project: int) -> None:
    studio.update_project(project, model_version="yolo-old")
    assert fetch(studio, project).version_chosen


def test_what_the_trainer_sets_is_no_choice_nor_is_it_to_leave_it_as_it_is(
    studio: Studio, project: int
) -> None:
    task = next(studio.iter_tasks(project))["id"]
    studio.import_predictions(project, [{"task": task, "result": [], "score": 0.5, "model_version": "v0001"}])
    studio.show_predictions(project, "v0001")
    studio.update_project(project, expert_instruction="Mind the gap.", model_version="v0001")
    found = fetch(studio, project)
    assert (found.model_version, found.version_chosen) == ("v0001", False)


def test_ml_backends_are_told_without_asking_them(
    studio: Studio, project: int, provisioned: LabelStudio, backend: FakeBackend
) -> None:
    assert fetch(studio, project).backends == ()
    backend.requests.clear()
    ours = MLBackend(provisioned.environment["MLBACKEND_URL"], TITLE)
    assert [p.backends for p in all_projects(studio) if p.id == 1] == [(ours,)]
    assert fetch(studio, 1).backends == (ours,) and backend.requests == []


def test_a_description_of_ours_tells_how_far_the_project_is(
    studio: Studio, project: int, tmp_path: Path
) -> None:
    settings = TrainerSettings(labelloop_home=tmp_path)
    registry = Registry(settings.models_dir)
    descriptions = Descriptions(studio, settings, registry, Rounds(settings.rounds_dir, registry))
    for written, then in ((ADOPTED, f"0 of 2 images labelled. {ADOPTED}"), ("Our widgets", "Our widgets")):
        studio.update_project(project, description=written)
        descriptions.update(fetch(studio, project))
        assert fetch(studio, project).description == then
