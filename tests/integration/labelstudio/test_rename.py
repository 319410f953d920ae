"""Labels renamed in Label Studio's database: everything that people and models drew has the new names."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from integration.support.labelstudio import LabelStudio

from labelloop.labels import parse_label_config

XML = """<View>
  <RectangleLabels name="label" toName="image" overlap="cat">
    <Label value="cat"/><Label value="Kätzchen" alias="kitten"/><Label value="dog"/>
  </RectangleLabels>
  <Image name="image" value="$image"/>
  <TextArea name="note" toName="image" perRegion="true" whenLabelValue="cat"/>
</View>"""


def box(label: str, region: str = "a") -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": [label]}
    kind = {"id": region, "from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    return {**kind, "value": value, "original_width": 100, "original_height": 100, "image_rotation": 0}


def note(region: str = "a") -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "text": ["asleep"]}
    return {**box("", region), "from_name": "note", "type": "textarea", "value": value}


RELATION = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}


class Renamed:
    """A project with two annotations, a draft and a prediction on one task."""

    def __init__(self, label_studio: LabelStudio) -> None:
        self.label_studio, self.studio = label_studio, label_studio.studio
        request = self.studio.request
        fields = {"title": "renamed", "label_config": XML}
        self.id = int(request("POST", "/api/projects", json=fields)["id"])
        request("POST", f"/api/projects/{self.id}/import", json=[{"image": "/data/upload/a.jpg"}])
        [task] = self.studio.iter_tasks(self.id)
        drawn = [box("cat"), note(), box("dog", "b"), RELATION]
        for result in (drawn, [box("Kätzchen"), box("kitten", "b")]):
            request("POST", f"/api/tasks/{task['id']}/annotations", json={"result": result})
        request("POST", f"/api/tasks/{task['id']}/drafts", json={"result": [box("cat")]})
        proposed = {**box("kitten"), "meta": {"text": ["or cat, 0.41"]}}
        row = {"task": task["id"], "result": [proposed], "score": 0.5, "model_version": "v0001"}
        self.studio.import_predictions(self.id, [row])

    @property
    def task(self) -> dict[str, Any]:
        [task] = self.studio.iter_tasks(self.id, fields="all")
        return task

    @property
    def config(self) -> str:
        return str(self.studio.project(self.id)["label_config"])

    def drawn(self) -> list[list[list[str]]]:
        """The labels of each box of each annotation, draft and prediction."""
        task = self.task
        rows = [*sorted(task["annotations"], key=lambda row: row["id"]), *task["drafts"]]
        return [
            [r["value"]["rectanglelabels"] for r in row["result"] if r["type"] == "rectanglelabels"]
            for row in (*rows, *task["predictions"])
        ]

    def rename(self, names: dict[str, str], dry: bool = False, project: int | None = None) -> dict[str, Any]:
        order = {"project": project or self.id, "names": names, "classes": ["cat"], "dry": dry, "file": None}
        done = self.label_studio.run("provisioner.rename", text=json.dumps(order))
        assert done.returncode in (0, 1), done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def project(provisioned: LabelStudio) -> Iterator[Renamed]:
    made = Renamed(provisioned)
    yield made
    made.studio.request("DELETE", f"/api/projects/{made.id}")


BEFORE = [[["cat"], ["dog"]], [["Kätzchen"], ["kitten"]], [["cat"]], [["kitten"]]]


def test_a_dry_run_counts_and_changes_nothing(project: Renamed) -> None:
    told = project.rename({"cat": "feline", "kitten": "feline"}, dry=True)
    assert (told["title"], told["config_changed"]) == ("renamed", True)
    assert [told[name] for name in ("annotations", "drafts", "predictions")] == [2, 1, 1]
    assert project.config == XML and project.drawn() == BEFORE


def test_several_labels_become_one_everywhere_and_nothing_else_changes(project: Renamed) -> None:
    before = project.task
    project.rename({"cat": "feline", "kitten": "feline"})
    assert project.drawn() == [[["feline"], ["dog"]], [["feline"], ["feline"]], [["feline"]], [["feline"]]]
    parsed = parse_label_config(project.config)
    assert parsed.names == ["feline", "dog"] and parsed.labels[0].predicted_values == ("cat",)
    assert 'whenLabelValue="feline"' in project.config and 'overlap="feline"' in project.config
    assert "meta" not in project.task["predictions"][0]["result"][0], "its second-best label is its own now"
    for old, new in zip(before["annotations"], project.task["annotations"], strict=True):
        assert {**old, "result": 0} == {**new, "result": 0}, "who drew it and when stays"
    first = min(project.task["annotations"], key=lambda row: row["id"])["result"]
    assert first[1:2] + first[3:] == [note(), RELATION]
    summary = project.studio.request("GET", f"/api/projects/{project.id}/summary")
    assert "cat" not in summary["created_labels"]["label"], "Label Studio holds on to what it counts"

    again = project.rename({"cat": "feline", "kitten": "feline"})
    assert not again["config_changed"]
    assert [again[name] for name in ("annotations", "drafts", "predictions")] == [0, 0, 0]


def test_annotations_follow_a_config_that_was_changed_before_them(project: Renamed) -> None:
    """Whoever changes the config by Label Studio's API leaves every box of the label without one."""
    program = (
        "from provisioner import django_app; django_app.setup()\n"
        "from projects.models import Project\n"
        f"p = Project.objects.get(pk={project.id}); p.label_config = p.label_config.replace('\"cat\"', "
        "'\"feline\"'); p.save()"
    )
    project.label_studio.run_program(program)
    assert project.rename({"cat": "feline"})["annotations"] == 1
    assert project.drawn()[0] == [["feline"], ["dog"]]


MEANWHILE = """
from provisioner import django_app; django_app.setup()
from provisioner import rename
from tasks.models import Annotation
write = rename._write

def write_late(project, *rest):
    first, second = Annotation.objects.filter(project=project).order_by("pk")
    first.result = first.result[::-1] + first.result[:1]
    first.save()
    second.delete()
    write(project, *rest)

def killed(project, names):
    summary = rename._project(project).summary
    summary.created_labels = {"label": {"cat": 1}}
    summary.save()
    raise KeyboardInterrupt

rename._write, rename._recount = write_late, killed
try:
    rename.rename({"project": PROJECT, "names": {"cat": "feline"}, "classes": [], "dry": False, "file": None})
except KeyboardInterrupt:
    print("killed")
"""


def test_what_people_submit_meanwhile_is_renamed_as_it_is_then_and_a_kill_leaves_no_wrong_count(
    project: Renamed,
) -> None:
    program = MEANWHILE.replace("PROJECT", str(project.id))
    assert project.label_studio.run_program(program).endswith("killed\n")
    assert project.drawn()[:2] == [[["dog"], ["feline"], ["feline"]], [["feline"]]]
    counted = f"/api/projects/{project.id}/summary"
    assert project.studio.request("GET", counted)["created_labels"] == {"label": {"cat": 1}}
    project.rename({"cat": "feline"})
    assert "cat" not in project.studio.request("GET", counted)["created_labels"].get("label", {})


@pytest.mark.parametrize(
    ("names", "other", "words"),
    [
        (
            {"puss": "feline"},
            None,
            "no label is called 'feline' or becomes it; there are 'cat', 'kitten', 'dog'",
        ),
        ({"cat": "feline"}, 999999, "there is no project 999999; there are: "),
    ],
)
def test_what_cannot_be_is_named(
    project: Renamed, names: dict[str, str], other: int | None, words: str
) -> None:
    assert words in project.rename(names, project=other)["error"]
    assert project.config == XML and project.drawn() == BEFORE
