"""One image, one task: a file of volumes/images and what people import for it never become two."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.support.labelstudio import LabelStudio
from support import shapes

from labelloop.studio import Row, Studio

_numbers = itertools.count()
BOX = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["Cat"]}
REGION = {"type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": BOX}


@pytest.fixture
def project(provisioned: LabelStudio) -> Iterator[int]:
    """A project with the images' storage, and no task."""
    number = next(_numbers)
    studio = provisioned.studio
    xml = shapes.LABEL_CONFIG
    made = studio.request("POST", "/api/projects", json={"title": f"twins {number}", "label_config": xml})
    folder(provisioned, made["id"]).mkdir(parents=True)
    fields = {
        "project": made["id"],
        "title": "images",
        "path": str(folder(provisioned, made["id"])),
        "use_blob_urls": True,
        "recursive_scan": True,
        "regex_filter": r".*\.png$",
    }
    studio.request("POST", "/api/storages/localfiles", json=fields)
    yield int(made["id"])
    shutil.rmtree(folder(provisioned, made["id"]))  # other tests count the images


def folder(provisioned: LabelStudio, project: int) -> Path:
    return provisioned.images / f"twins{project}"


def drop(provisioned: LabelStudio, project: int, name: str, seed: int = 1) -> Path:
    path = folder(provisioned, project) / name
    shapes.picture(seed).image.save(path)
    return path


def sync(studio: Studio, project: int) -> None:
    [storage] = studio.storages(project)
    assert studio.sync_storage(storage["id"], 60)["status"] == "completed"


def url(project: int, name: str) -> str:
    return f"/data/local-files/?d=images/twins{project}/{name}"


def import_by_page(studio: Studio, project: int, image: str) -> None:
    """As a person imports JSON by Label Studio's own page."""
    rows = [{"data": {"image": image}, "annotations": [{"result": [REGION]}]}]
    studio.request("POST", f"/api/projects/{project}/import", json=rows)


def tasks(studio: Studio, project: int) -> list[Row]:
    return list(studio.iter_tasks(project, fields="all", page_size=100))


def test_labels_that_are_imported_before_the_folder_is_read_have_the_only_task(
    provisioned: LabelStudio, project: int
) -> None:
    studio = provisioned.studio
    drop(provisioned, project, "a b.png")
    import_by_page(studio, project, url(project, "a%20b.png"))
    sync(studio, project)
    sync(studio, project)
    [task] = tasks(studio, project)
    assert [row["result"] for row in task["annotations"]] == [[REGION]]


def test_labels_that_are_imported_for_an_image_that_has_a_task_take_its_place(
    provisioned: LabelStudio, project: int
) -> None:
    studio = provisioned.studio
    drop(provisioned, project, "a.png")
    sync(studio, project)
    [before] = tasks(studio, project)
    studio.import_predictions(project, [{"task": before["id"], "result": [], "model_version": "v0000"}])
    import_by_page(studio, project, url(project, "a.png"))
    [task] = tasks(studio, project)
    assert task["id"] != before["id"]
    assert [row["result"] for row in task["annotations"]] == [[REGION]]
    sync(studio, project)
    assert len(tasks(studio, project)) == 1


def test_a_task_that_somebody_has_worked_on_is_not_deleted(provisioned: LabelStudio, project: int) -> None:
    studio = provisioned.studio
    drop(provisioned, project, "a.png")
    sync(studio, project)
    [before] = tasks(studio, project)
    studio.request("POST", f"/api/tasks/{before['id']}/annotations/", json={"result": []})
    import_by_page(studio, project, url(project, "a.png"))
    assert before["id"] in [task["id"] for task in tasks(studio, project)]


def test_a_file_with_the_bytes_of_an_uploaded_image_gets_no_second_task(
    provisioned: LabelStudio, project: int
) -> None:
    studio = provisioned.studio
    path = drop(provisioned, project, "a.png")
    other = drop(provisioned, project, "b.png", seed=2)
    with path.open("rb") as file:
        studio.request("POST", f"/api/projects/{project}/import", files={"file": ("mine.png", file)})
    [uploaded] = tasks(studio, project)
    studio.request("POST", f"/api/tasks/{uploaded['id']}/annotations/", json={"result": [REGION]})
    sync(studio, project)
    sync(studio, project)
    found = tasks(studio, project)
    assert len(found) == 2
    assert uploaded["id"] in [task["id"] for task in found]
    assert other.name in found[1]["data"]["image"]


def test_several_questions_about_one_image_stay_several_tasks(provisioned: LabelStudio, project: int) -> None:
    studio = provisioned.studio
    drop(provisioned, project, "a.png")
    sync(studio, project)
    asked = [{"image": url(project, "a.png"), "caption": caption} for caption in ("who", "what")]
    studio.request("POST", f"/api/projects/{project}/import", json=[{"data": data} for data in asked])
    more = {"image": url(project, "a.png"), "caption": "where"}
    studio.request("POST", f"/api/projects/{project}/import", json=[{"data": more}])
    sync(studio, project)
    assert [task["data"] for task in tasks(studio, project)] == [*asked, more]


def test_predictions_that_were_brought_go_to_the_task_that_takes_the_place(
    provisioned: LabelStudio, project: int
) -> None:
    studio = provisioned.studio
    drop(provisioned, project, "a.png")
    sync(studio, project)
    brought = [{"model_version": version, "result": [REGION]} for version in ("yolo-old", "yolo-new")]
    rows = [{"data": {"image": url(project, "a.png")}, "predictions": brought}]
    studio.request("POST", f"/api/projects/{project}/import", json=rows)
    import_by_page(studio, project, url(project, "a.png"))
    [task] = tasks(studio, project)
    assert [row["result"] for row in task["annotations"]] == [[REGION]]
    assert {row["model_version"] for row in task["predictions"]} == {"yolo-old", "yolo-new"}
    assert task["total_predictions"] == 2
