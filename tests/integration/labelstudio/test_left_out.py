"""What a real Label Studio takes as annotations, and what a snapshot makes of them."""

from pathlib import Path
from typing import Any

import pytest
from integration.support.labelstudio import LabelStudio
from support import shapes

from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.dataset.correcting import correction
from trainer.dataset.left_out import Kind
from trainer.dataset.mending import mend
from trainer.dataset.reviews import How, Side
from trainer.dataset.rewriting import AnnotationChanged, Edit, Json, annotation_now, rewrite
from trainer.dataset.snapshot import SnapshotError, collect
from trainer.dataset.survey import Survey
from trainer.peers.projects import fetch
from trainer.worker.surveyor import Surveyor

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
    <Label value="cat"/><Label value="dog"/><Label value="crowd" ignore="true"/>
  </RectangleLabels>
  <Choices name="quality" toName="image" exclude="Blurred">
    <Choice value="Unusable" exclude="true"/><Choice value="Blurred"/><Choice value="good"/>
  </Choices>
</View>"""


def box(label: str, **change: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": [label]}
    region = {"id": "r", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}
    return {name: part for name, part in (region | change).items() if part is not None}


def choice(value: str) -> dict[str, Any]:
    chosen = {"choices": [value]}
    return {"id": "c", "from_name": "quality", "to_name": "image", "type": "choices", "value": chosen}


RESULTS: dict[str, list[dict[str, Any]]] = {
    "plain": [box("cat"), choice("good")],
    "crowd": [box("dog"), box("crowd")],
    "negative": [],
    "other control": [box("cat", from_name="box")],
    "no type": [box("cat", type=None)],
    "no label": [box("cat", value={"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 0})],
    "unusable": [choice("Unusable")],
    "blurred": [box("cat"), choice("Blurred")],
}


@pytest.fixture(scope="module")
def studio(provisioned: LabelStudio) -> Studio:
    return provisioned.studio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(labelloop_home=tmp_path)
    settings.images_dir.mkdir(parents=True)
    return settings


def labelled(studio: Studio, settings: Settings, results: dict[str, list[dict[str, Any]]]) -> int:
    """A new project with a task and a picture for each of the results."""
    made = {"title": "left out", "label_config": CONFIG}
    number = int(studio.request("POST", "/api/projects", json=made)["id"])
    rows = []
    for seed, (name, result) in enumerate(results.items()):
        shapes.picture(seed).image.save(settings.images_dir / f"{name}.png")
        data = {"image": f"/data/local-files/?d=images/{name}.png"}
        rows.append({"data": data, "annotations": [{"result": result}]})
    studio.request("POST", f"/api/projects/{number}/import", json=rows)
    return number


def test_faults_of_imported_annotations_are_named_and_go_once_they_are_mended(
    studio: Studio, settings: Settings
) -> None:
    project = labelled(studio, settings, RESULTS)
    names = {task["id"]: Path(task["data"]["image"]).stem for task in studio.iter_tasks(project)}
    snapshot = collect(studio, project, settings, lambda fraction, text: None)
    used = {names[image.task]: (len(image.labels), len(image.ignored)) for image in snapshot.images}
    assert used == {"plain": (1, 0), "crowd": (1, 1), "negative": (0, 0)}
    assert {names[row.task]: row.kind for row in snapshot.skipped} == {
        "other control": Kind.REGION,
        "no type": Kind.REGION,
        "no label": Kind.REGION,
        "unusable": Kind.EXCLUDED,
        "blurred": Kind.EXCLUDED,
    }
    for task in studio.annotated_tasks(project):
        if names[task["id"]] in ("other control", "no type", "no label"):
            address = f"/api/annotations/{task['annotations'][0]['id']}/"
            studio.request("PATCH", address, json={"result": [box("cat")]})
        elif names[task["id"]] == "unusable":
            studio.request("DELETE", f"/api/tasks/{task['id']}/")
    Surveyor(settings, studio).run(fetch(studio, project))
    survey = Survey.load(settings.rounds_dir, project)
    assert survey is not None
    assert [names[row.task] for row in survey.left_out] == ["blurred"]


def test_a_label_renamed_in_the_config_stops_the_round(studio: Studio, settings: Settings) -> None:
    project = labelled(studio, settings, {f"{number}": [box("cat")] for number in range(6)})
    studio.update_project(project, label_config=CONFIG.replace('value="cat"', 'value="feline"'))
    with pytest.raises(SnapshotError, match=r"'cat' in 6 labelled images.*make labels RENAME='cat="):
        collect(studio, project, settings, lambda fraction, text: None, to_train=True)


def test_junk_is_taken_out_of_an_annotation_and_nothing_else(studio: Studio, settings: Settings) -> None:
    value = {"rotation": 0, "rectanglelabels": ["cat"], "x": 10.3, "y": 20.3, "width": 29.6, "height": 39.6}
    twin = box("cat", id="twin", value=value)
    speck = box("dog", id="speck", value=value | {"x": 60, "width": 0.1, "height": 0.1})
    project = labelled(studio, settings, {"junk": [box("cat"), twin, speck, choice("good")]})
    [task] = studio.annotated_tasks(project)
    annotation = task["annotations"][0]
    config, size = fetch(studio, project).labels, shapes.picture(0).image.size
    edit = rewrite(studio, task["id"], lambda now: mend(now["result"], config, size).edit, "ann@example.org")
    assert edit is not None and [row["id"] for row in edit.out] == ["twin", "speck"]
    [task] = studio.annotated_tasks(project)
    after = task["annotations"][0]
    assert [row["id"] for row in after["result"]] == ["r", "c"]
    assert (after["id"], after["completed_by"]) == (annotation["id"], annotation["completed_by"])
    assert not after["was_cancelled"]


def test_corrections_are_written_and_taken_back_box_by_box(studio: Studio, settings: Settings) -> None:
    """Label Studio keeps the rows as they are written, so that each can be found again."""
    project = labelled(studio, settings, {"one": [box("cat"), choice("good")]})
    [task] = studio.annotated_tasks(project)
    annotation, config = task["annotations"][0], fetch(studio, project).labels
    width, height = size = shapes.picture(0).image.size
    cat = Side(label="cat", box=(0.1 * width, 0.2 * height, 0.4 * width, 0.6 * height))
    dog = Side(label="dog", box=(7.0, 11.0, 7.0 + width / 3, 11.0 + height / 7))
    wanted = ((How.ACCEPTED, None, dog), (How.RELABELLED, cat, dog), (How.DELETED, dog, None))
    edits: list[Edit] = []
    labels: list[list[str]] = []
    for how, label, model in wanted:

        def change(now: Json, how: How = how, label: Side | None = label, model: Side | None = model) -> Edit:
            return correction(now["result"], config, size, how, label, model)

        edit = rewrite(studio, task["id"], change, "ann@example.org")
        assert edit is not None
        edits.append(edit)
        rows = annotation_now(studio, task["id"])["result"]
        labels.append(
            [row["value"]["rectanglelabels"][0] for row in rows if row["type"] == "rectanglelabels"]
        )
    assert labels == [["cat", "dog"], ["dog", "dog"], ["dog"]]
    for edit in edits[::-1]:
        rewrite(studio, task["id"], lambda now, back=edit.undone: back, "ann@example.org")  # type: ignore[misc]
    after = annotation_now(studio, task["id"])
    assert (after["id"], after["result"]) == (annotation["id"], annotation["result"])
    with pytest.raises(AnnotationChanged, match="the box was changed meanwhile"):
        rewrite(studio, task["id"], lambda now: edits[0].undone, "ann@example.org")
