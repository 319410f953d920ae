"""Label Studio's projects, read once at the edge."""

from dataclasses import FrozenInstanceError

import pytest
from support import shapes
from support.a_project import a_project
from support.fake_studio import FakeStudio

from labelloop.labels import LabelConfigError
from labelloop.studio import Studio
from trainer.peers.projects import DEMO, SIMULATED, Project, fetch, sort_projects


def test_a_project_is_read_from_label_studios_answer(studio: Studio, fake_studio: FakeStudio) -> None:
    fake_studio.projects[1] |= {"title": "parts", "description": None, "model_version": None}
    project = fetch(studio, 1)
    assert (project.id, project.title, project.description, project.model_version) == (1, "parts", "", "")
    assert project.created_at.isoformat() == "2026-11-22T18:02:05.237603+00:00"
    assert project.uid == "1.1795370525", "as Label Studio itself writes it"
    assert project.label_config == shapes.LABEL_CONFIG
    assert project.labels.names == ["ball", "crate"]


def test_those_without_usable_labels_are_told_apart(studio: Studio, fake_studio: FakeStudio) -> None:
    fake_studio.add_project(3, "<View><Broken")
    fake_studio.add_project(2)
    fake_studio.add_project(4)["label_config"] = None
    ours, others = sort_projects(studio)
    assert [project.id for project in ours] == [1, 2]
    assert [project.id for project in others] == [3, 4]
    with pytest.raises(LabelConfigError, match="line 1"):
        _ = others[0].labels


@pytest.mark.parametrize(
    ("backends", "description", "smart", "clicks"),
    [
        ([True], "", "", True),
        ([False], "", "", False),
        ([False, True], "", "", True),
        ([None], "", "", True),
        ([], "", "", False),
        ([], SIMULATED, "", True),
        ([True], "", ' smart="false"', False),
    ],
)
def test_clicks_fetch_boxes_unless_config_or_connection_say_otherwise(
    backends: list[bool | None], description: str, smart: str, clicks: bool
) -> None:
    """None: of a Label Studio of an earlier release, which does not tell."""
    told = [{"url": "http://ours"} | ({} if on is None else {"interactive": on}) for on in backends]
    config = shapes.LABEL_CONFIG.replace("<RectangleLabels", f"<RectangleLabels{smart}")
    project = a_project(ml_backends=told, description=description, label_config=config)
    assert project.clicks is clicks


def test_what_was_handed_out_cannot_be_written_into() -> None:
    with pytest.raises(FrozenInstanceError):
        a_project().model_version = "v0001"  # type: ignore[misc]


@pytest.mark.parametrize(
    "description, by_itself", [("", True), ("Mine", True), (SIMULATED, False), (DEMO, False)]
)
def test_simulation_and_demo_are_steered_by_themselves(description: str, by_itself: bool) -> None:
    project: Project = a_project(description=description)
    assert (project.retrains_itself, project.may_be_adopted) == (by_itself, by_itself)
