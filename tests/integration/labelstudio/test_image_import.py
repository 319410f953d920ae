"""What becomes a task in a real Label Studio: whole images, once; a deleted task's image stays out."""

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from integration.labelstudio.test_provisioning import state
from integration.support.labelstudio import LabelStudio
from PIL import Image

from labelloop.studio import StudioError
from trainer.worker import image_index
from trainer.worker.image_index import ImageIndex
from trainer.worker.importer import Importer


@pytest.fixture
def folder(provisioned: LabelStudio) -> Iterator[Path]:
    """A folder below volumes/images of a project of its own, with an image storage."""
    made = provisioned.images / "import"
    made.mkdir()
    yield made
    for path in sorted(made.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    made.rmdir()


@pytest.fixture
def project(provisioned: LabelStudio, folder: Path) -> Iterator[int]:
    studio = provisioned.studio
    config = studio.project(state(provisioned)["project"])["label_config"]
    made = studio.request("POST", "/api/projects", json={"title": "import", "label_config": config})["id"]
    fields = {"project": made, "path": str(folder), "use_blob_urls": True, "recursive_scan": True}
    studio.request("POST", "/api/storages/localfiles", json=fields)
    yield int(made)
    studio.request("DELETE", f"/api/projects/{made}/")


@pytest.fixture
def importer(provisioned: LabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Importer:
    monkeypatch.setattr(image_index, "SETTLED_S", 0.0)
    return Importer(ImageIndex(tmp_path, provisioned.images), provisioned.studio, tmp_path)


KNOWN = """
from provisioner import django_app

django_app.setup()
from django.db import connection

with connection.cursor() as cursor:
    cursor.execute("SELECT path FROM labelloop_imported WHERE project_id = PROJECT ORDER BY path")
    print("KNOWN", [list(row) for row in cursor.fetchall()])
"""


def put(path: Path, colour: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((64, 48), colour).convert("RGB").save(path)
    return path


def names(label_studio: LabelStudio, project: int) -> list[str]:
    """The files of the project's tasks, below the folder, in the order in which they were made."""
    tasks = list(label_studio.studio.iter_tasks(project))
    return [next(iter(task["data"].values())).partition("images/import/")[2] for task in tasks]


def delete(label_studio: LabelStudio, project: int, name: str) -> None:
    """As the data manager does."""
    (task,) = [
        task["id"]
        for task in label_studio.studio.iter_tasks(project)
        if next(iter(task["data"].values())).endswith(name)
    ]
    body = {"selectedItems": {"all": False, "included": [task]}, "project": project}
    label_studio.studio.request(
        "POST", "/api/dm/actions", params={"id": "delete_tasks", "project": project}, json=body
    )


def sync_by_hand(label_studio: LabelStudio, project: int) -> None:
    """What the button Sync Storage does."""
    (storage,) = label_studio.studio.storages(project)
    label_studio.studio.request("POST", f"/api/storages/localfiles/{storage['id']}/sync")


def test_deleted_is_deleted_until_a_person_says_again(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    for name in ("a.png", "sub/b.png", "c.png"):
        put(folder / name)
    assert importer.run([project]) == 3
    delete(provisioned, project, "b.png")
    put(folder / "d.png")
    assert importer.run([project]) == 1
    sync_by_hand(provisioned, project)
    assert importer.run([project], force=True) == 0
    assert importer.deleted == 1
    assert names(provisioned, project) == ["a.png", "c.png", "d.png"]
    assert importer.run([project], force=True, again=True) == 1
    assert names(provisioned, project) == ["a.png", "c.png", "d.png", "sub/b.png"]
    assert importer.run([project], force=True, again=True) == 0


def test_what_was_deleted_stays_out_when_index_storage_or_folder_come_anew(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer, tmp_path: Path
) -> None:
    """The former storage's links to the tasks are gone, and the trainer takes every file for a new one."""
    for name in ("a.png", "b.png"):
        put(folder / name)
    assert importer.run([project]) == 2
    delete(provisioned, project, "a.png")
    (storage,) = provisioned.studio.storages(project)
    provisioned.studio.request("DELETE", f"/api/storages/localfiles/{storage['id']}")
    fields = {"project": project, "path": str(folder), "use_blob_urls": True, "recursive_scan": True}
    provisioned.studio.request("POST", "/api/storages/localfiles", json=fields)
    away = [path.rename(tmp_path / path.name) for path in (folder / "a.png", folder / "b.png")]
    importer.run([project])
    for path in away:
        path.rename(folder / path.name)
    assert importer.run([project]) == 0
    anew = Importer(ImageIndex(tmp_path / "anew", provisioned.images), provisioned.studio, tmp_path)
    assert anew.run([project]) == 0
    assert (names(provisioned, project), anew.deleted) == (["b.png"], 1)


def test_what_was_deleted_stays_out_after_a_restore_or_a_copy_that_keeps_whole_seconds(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    path = put(folder / "a.png")
    importer.run([project])
    delete(provisioned, project, path.name)
    for seconds in (float(path.stat().st_mtime), int(path.stat().st_mtime)):
        os.utime(path, (seconds, seconds))  # as `make restore` does, and then as FAT would
        assert importer.run([project], force=True) == 0
        assert importer.deleted == 1


def test_an_image_that_was_touched_before_its_task_was_deleted_stays_out(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    path = put(folder / "a.png")
    importer.run([project])
    os.utime(path, (path.stat().st_mtime + 60, path.stat().st_mtime + 60))
    assert importer.run([project]) == 0
    delete(provisioned, project, path.name)
    sync_by_hand(provisioned, project)
    assert names(provisioned, project) == []


def test_images_under_a_path_of_a_tasks_data_have_tasks_and_get_no_twins(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    studio = provisioned.studio
    config = studio.project(project)["label_config"].replace("$image", "$meta.photo")
    studio.request("PATCH", f"/api/projects/{project}/", json={"label_config": config})
    put(folder / "a.png")
    put(folder / "b.png")
    data = {"meta": {"photo": "/data/local-files/?d=images/import/a.png"}}
    studio.request("POST", f"/api/projects/{project}/import", json=[{"data": data}])
    assert importer.run([project]) == 1
    put(folder / "c.png")
    assert importer.run([project]) == 1
    assert importer.deleted == 0


def test_a_task_with_a_url_that_is_none_stops_no_import(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    data = {"image": "http://[bad/data/local-files/?d=images/import/a.png&x=1"}
    provisioned.studio.request("POST", f"/api/projects/{project}/import", json=[{"data": data}])
    put(folder / "a.png")
    assert importer.run([project]) == 1


def test_tasks_that_name_what_can_be_no_file_stop_no_import(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    paths = ("a%00.png", f"{'long' * 70}.png", "/".join(["deep"] * 600))
    tasks = [{"data": {"image": f"/data/local-files/?d=images/import/{path}"}} for path in paths]
    provisioned.studio.request("POST", f"/api/projects/{project}/import", json=tasks)
    put(folder / "a.png")
    assert importer.run([project]) == 1
    rows = provisioned.run_program(KNOWN.replace("PROJECT", str(project)))
    assert "KNOWN [['images/import/a.png']]" in rows


def test_another_image_under_the_name_of_a_deleted_one_becomes_a_task(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    path = put(folder / "DSC_0001.png")
    importer.run([project])
    delete(provisioned, project, path.name)
    path.unlink()
    importer.run([project])
    put(path, colour=40)
    assert importer.run([project]) == 1


def test_a_task_that_was_imported_with_its_image_in_the_folder_gets_no_twin(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    put(folder / "a b.png")
    provisioned.studio.request(
        "POST",
        f"/api/projects/{project}/import",
        json=[{"data": {"image": "/data/local-files/?d=images/import/a%20b.png"}}],
    )
    assert importer.run([project]) == 0
    assert names(provisioned, project) == ["a%20b.png"]


def test_images_that_a_task_named_before_they_came_get_no_twins(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    put(folder / "a.png")
    assert importer.run([project]) == 1
    data = {name: f"/data/local-files/?d=images/import/{name}.png" for name in ("image", "mask")}
    provisioned.studio.request("POST", f"/api/projects/{project}/import", json=[{"data": data}])
    put(folder / "b.png")
    assert importer.run([project]) == 1
    for name in data:
        put(folder / f"{name}.png")
    assert importer.run([project]) == 0
    assert names(provisioned, project) == ["a.png", "image.png", "b.png"]


# How many tasks are looked at where new images are named, in three requests; the last one wants all.
LOOKS = """
import json
from provisioner import django_app

django_app.setup()
from io_storages.localfiles.models import LocalFilesImportStorage
from labelloop.settings import get_settings
from provisioner import image_tasks

storage = LocalFilesImportStorage.objects.get(project=PROJECT)
looks, found = [], image_tasks.local_files
for whole in (False, False, True):
    read = []
    image_tasks.local_files = lambda data: read.append(data) or found(data)
    image_tasks._asked.set(image_tasks.Asked.of({"files": ["import/new.png"], "whole": whole}))
    assert not list(image_tasks.wanted(storage, iter(()), get_settings()))
    looks.append(len(read))
print("LOOKS", json.dumps(looks))
"""


def test_new_images_are_taken_without_a_look_at_all_tasks(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    for number in range(5):
        put(folder / f"{number}.png")
    assert importer.run([project]) == 5
    put(folder / "new.png")
    assert importer.run([project]) == 1
    said = provisioned.run_program(LOOKS.replace("PROJECT", str(project)))
    assert "LOOKS [1, 0, 6]" in said, "the task that came last, none, and all"


def test_an_image_that_a_task_was_changed_to_gets_no_twin(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    put(folder / "a.png")
    assert importer.run([project]) == 1
    [task] = provisioned.studio.iter_tasks(project)
    url = "/data/local-files/?d=images/import/line3/a.png"
    provisioned.studio.request(
        "PATCH", f"/api/tasks/{task['id']}/", json={"data": dict.fromkeys(task["data"], url)}
    )
    put(folder / "line3" / "a.png")
    assert importer.run([project]) == 0
    assert names(provisioned, project) == ["line3/a.png"]


def test_a_person_who_synchronises_gets_no_torsos_and_nothing_of_the_systems(
    provisioned: LabelStudio, project: int, folder: Path
) -> None:
    put(folder / "a.jpg")
    file = BytesIO()
    Image.effect_noise((64, 128), 90).save(file, "JPEG")
    (folder / "torso.jpg").write_bytes(file.getvalue()[: len(file.getvalue()) // 2])
    (folder / "text.png").write_text("no image")
    for name in (".Trash-1000/files/t.jpg", "@eaDir/a.jpg/SYNOFILE_THUMB_M.jpg", "__MACOSX/a.jpg", "._a.jpg"):
        put(folder / name)
    sync_by_hand(provisioned, project)
    assert names(provisioned, project) == ["a.jpg"]


def test_a_link_to_a_folder_inside_is_followed_and_its_images_are_served(
    provisioned: LabelStudio, project: int, folder: Path, importer: Importer
) -> None:
    put(folder / ".store" / "a.png")
    (folder / "stored").symlink_to(".store")
    (folder / "round").symlink_to(".")
    assert importer.run([project]) == 1
    assert names(provisioned, project) == ["stored/a.png"]
    served = provisioned.studio.request("GET", "/api/tasks", params={"project": project})
    assert served["total"] == 1


def test_what_is_no_list_of_files_is_refused(provisioned: LabelStudio, project: int) -> None:
    (storage,) = provisioned.studio.storages(project)
    with pytest.raises(StudioError, match="has to be a list of paths"):
        provisioned.studio.request(
            "POST", f"/api/storages/localfiles/{storage['id']}/sync", json={"files": "a.png"}
        )


def test_names_that_lead_elsewhere_or_that_no_file_can_have_make_no_task(
    provisioned: LabelStudio, project: int, folder: Path
) -> None:
    put(folder / "a.png")
    (folder / "below").mkdir()
    (folder / "led.png").symlink_to(provisioned.home / "volumes/labelstudio/secret.png")
    put(provisioned.home / "volumes/labelstudio/secret.png")
    (storage,) = provisioned.studio.storages(project)
    path = f"/api/storages/localfiles/{storage['id']}/sync"
    odd = [
        "import/below/../a.png",
        "import/../../labelstudio/secret.png",
        str(provisioned.home / "volumes/labelstudio/secret.png"),
        "/etc/passwd",
        "import/led.png",
        "import/a\0.png",
        f"import/{'x' * 5000}.png",
        "",
    ]
    provisioned.studio.request("POST", path, json={"files": odd})
    assert names(provisioned, project) == []
    provisioned.studio.request("POST", path, json={"files": ["import/a.png", *odd]})
    assert names(provisioned, project) == ["a.png"]
