"""The project's labels follow LABEL_CONFIG, unless annotations would lose theirs."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from integration.support.labelstudio import LabelStudio

from labelloop.label_fill import fill_in

CONFIG = "configs/labels/mine.xml"


def xml(*labels: str, control: str = "label") -> str:
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    boxes = f'<RectangleLabels name="{control}" toName="image">{tags}</RectangleLabels>'
    return f'<View><Image name="image" value="$image"/>{boxes}</View>'


def box(label: str, control: str = "label") -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": [label]}
    kind = {"from_name": control, "to_name": "image", "type": "rectanglelabels"}
    return {**kind, "value": value, "original_width": 100, "original_height": 100, "image_rotation": 0}


class Labelled:
    """A project with labels ball and cat, and two annotations: one with balls and a cat, one with a cat."""

    def __init__(self, label_studio: LabelStudio) -> None:
        self.label_studio = label_studio
        self.studio = label_studio.studio
        self.write(xml("ball", "cat"))
        label_studio.environment["LABEL_CONFIG"] = CONFIG
        assert label_studio.provision().returncode == 0
        self.project = self.state["project"]
        tasks = [
            {"image": "/data/local-files/?d=images/a.jpg"},
            {"image": "/data/local-files/?d=images/b.jpg"},
        ]
        self.studio.request("POST", f"/api/projects/{self.project}/import", json=tasks)
        self.task = next(self.studio.iter_tasks(self.project))["id"]
        self.annotation = self.annotate("ball", "ball", "cat")
        self.annotate("cat")

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.label_studio.data / "provisioned.json").read_text()))

    @property
    def config(self) -> str:
        return str(self.studio.project(self.project)["label_config"])

    def write(self, text: str) -> None:
        (self.label_studio.home / CONFIG).write_text(text)

    def annotate(self, *labels: str) -> int:
        result = {"result": [box(label) for label in labels]}
        return int(self.studio.request("POST", f"/api/tasks/{self.task}/annotations", json=result)["id"])


@pytest.fixture(scope="module")
def labelled(provisioned: LabelStudio) -> Iterator[Labelled]:
    """In the shared Label Studio under another title; at the end the state file of the first comes back."""
    kept = (provisioned.data / "provisioned.json").read_bytes()
    (provisioned.data / "provisioned.json").unlink()
    provisioned.environment["PROJECT_TITLE"] = "labels change"
    yield Labelled(provisioned)
    (provisioned.data / "provisioned.json").write_bytes(kept)
    del provisioned.environment["PROJECT_TITLE"], provisioned.environment["LABEL_CONFIG"]


def test_a_changed_file_changes_the_labels(labelled: Labelled) -> None:
    wider = xml("ball", "cat", "dog")
    labelled.write(wider)
    assert labelled.label_studio.provision().returncode == 0
    assert labelled.config == fill_in(wider).xml != wider
    assert labelled.state["label_config_sha256"] == hashlib.sha256(wider.encode()).hexdigest()


def test_what_a_former_release_left_open_is_filled_in_once(labelled: Labelled) -> None:
    wider = xml("ball", "cat", "dog")
    labelled.studio.update_project(labelled.project, label_config=wider)
    assert labelled.label_studio.provision().returncode == 0
    assert labelled.config == wider, "a person took it out again"
    path = labelled.label_studio.data / "provisioned.json"
    former = {name: value for name, value in labelled.state.items() if name != "label_config_filled"}
    path.write_text(json.dumps(former))
    assert labelled.label_studio.provision().returncode == 0
    assert labelled.config == fill_in(wider).xml


def test_labels_edited_in_the_browser_stay_until_the_file_changes(labelled: Labelled) -> None:
    edited = xml("ball", "cat", "dog", "edited")
    labelled.studio.update_project(labelled.project, label_config=edited)
    assert labelled.label_studio.provision().returncode == 0
    assert labelled.config == edited


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (xml("ball", "cat"), []),
        (xml("cat"), ["label 'ball' in 1 annotation"]),
        (xml("ball", control="other"), ["control 'label' in 2 annotations"]),
    ],
)
def test_make_labels_is_told_what_would_be_orphaned(labelled: Labelled, text: str, lost: list[str]) -> None:
    before = labelled.config
    asked = labelled.label_studio.run("provisioner.would_orphan", text=text)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == lost
    assert labelled.config == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (xml("cat"), "label 'ball' in 1 annotation."),
        (xml("ball", control="other"), "control 'label' in 2 annotations."),
    ],
)
def test_a_change_that_would_orphan_annotations_is_refused(labelled: Labelled, text: str, why: str) -> None:
    before, known = labelled.config, labelled.state
    labelled.write(text)
    refused = labelled.label_studio.provision()
    assert refused.returncode == 3
    for part in (CONFIG, f"project {labelled.project} 'labels change'", why, "`make up`"):
        assert part in refused.stderr
    assert labelled.config == before
    state = labelled.state
    assert state["problem"] in refused.stderr and state["done"] and state["backend"] == known["backend"]
    assert state["label_config_sha256"] == known["label_config_sha256"]
    assert labelled.label_studio.run("provisioner.health").returncode == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<View>", "not well-formed"),
        ("<View/>", "no <RectangleLabels>"),
        (xml("ball", "ball"), "label 'ball' stands in line 1 already"),
        (xml("ball", "cat").replace("$image", "/files/$image"), 'write value="$image"'),
    ],
)
def test_a_file_that_is_no_label_config_is_refused(labelled: Labelled, text: str, why: str) -> None:
    before = labelled.config
    labelled.write(text)
    refused = labelled.label_studio.provision()
    assert refused.returncode == 3 and why in refused.stderr and CONFIG in refused.stderr
    assert labelled.config == before


def test_a_missing_file_is_named(labelled: Labelled) -> None:
    (labelled.label_studio.home / CONFIG).unlink()
    refused = labelled.label_studio.provision()
    assert refused.returncode == 3 and f"LABEL_CONFIG={CONFIG}" in refused.stderr


def test_the_change_goes_through_once_the_annotations_are_gone(labelled: Labelled) -> None:
    labelled.studio.request("DELETE", f"/api/annotations/{labelled.annotation}")
    labelled.write(xml("cat"))
    done = labelled.label_studio.provision()
    assert done.returncode == 0, done.stderr
    assert labelled.config == fill_in(xml("cat")).xml and labelled.state["problem"] is None


def test_another_title_is_another_project(labelled: Labelled) -> None:
    labelled.label_studio.environment["PROJECT_TITLE"] = "other labels"
    labelled.write(xml("kite"))
    assert labelled.label_studio.provision().returncode == 0
    other = labelled.state["project"]
    assert other != labelled.project and labelled.config == fill_in(xml("cat")).xml
    assert labelled.studio.project(other)["label_config"] == fill_in(xml("kite")).xml
    assert len(labelled.studio.storages(other)) == len(labelled.studio.backends(other)) == 1

    labelled.label_studio.environment["PROJECT_TITLE"] = "labels change"
    labelled.write(xml("cat"))
    assert labelled.label_studio.provision().returncode == 0
    assert labelled.state["project"] == labelled.project


def test_without_a_project_a_bad_config_waits_for_a_better_one(fresh: Callable[[], LabelStudio]) -> None:
    label_studio = fresh()
    (label_studio.home / CONFIG).write_text("<View/>")
    label_studio.environment["LABEL_CONFIG"] = CONFIG
    label_studio.start()
    given_up = label_studio.provision(wait=1)
    assert given_up.returncode == 1 and "no <RectangleLabels>" in given_up.stderr
    unhealthy = label_studio.run("provisioner.health")
    assert unhealthy.returncode == 1 and "no <RectangleLabels>" in unhealthy.stderr
    (label_studio.home / CONFIG).write_text(xml("ball"))
    assert label_studio.provision().returncode == 0
    assert label_studio.run("provisioner.health").returncode == 0


@pytest.mark.parametrize("name", ["everyday", "face"])
def test_the_shipped_configs_are_accepted(provisioned: LabelStudio, name: str) -> None:
    text = (provisioned.home / "configs" / "labels" / f"{name}.xml").read_text()
    provisioned.studio.request("POST", "/api/projects/validate", json={"label_config": text})
