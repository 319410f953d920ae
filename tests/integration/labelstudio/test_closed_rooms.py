"""Files that are no images, and addresses that Label Studio may not call: closed to administrators, too."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from integration.labelstudio.test_provisioning import state
from integration.support.fake_backend import FakeBackend
from integration.support.labelstudio import BACKEND_PASSWORD, LabelStudio
from integration.support.people import Person, log_in
from PIL import Image

from labelloop.studio import StudioError

DATABASE = "labelstudio/label_studio.sqlite3"


@pytest.fixture(scope="module")
def boss(provisioned: LabelStudio) -> Person:
    return log_in(provisioned)


@pytest.fixture(scope="module")
def project(provisioned: LabelStudio) -> Iterator[int]:
    config = provisioned.studio.project(state(provisioned)["project"])["label_config"]
    fields = {"title": "rooms", "label_config": config}
    made = provisioned.studio.request("POST", "/api/projects", json=fields)
    yield int(made["id"])
    provisioned.studio.request("DELETE", f"/api/projects/{made['id']}")


@pytest.fixture
def folder(provisioned: LabelStudio) -> Iterator[Path]:
    """Below volumes/images, with one picture in it."""
    made = provisioned.images / "rooms"
    made.mkdir()
    Image.new("RGB", (4, 4)).save(made / "true.png")
    yield made
    shutil.rmtree(made)


@pytest.fixture
def everywhere(provisioned: LabelStudio, project: int, folder: Path) -> Iterator[int]:
    """A storage that an earlier version took: on all of volumes/labelstudio."""
    fields = {"project": project, "path": str(folder), "use_blob_urls": False, "recursive_scan": True}
    storage = int(provisioned.studio.request("POST", "/api/storages/localfiles", json=fields)["id"])
    with closing(sqlite3.connect(provisioned.data / "label_studio.sqlite3", timeout=30)) as database:
        set_path = "UPDATE io_storages_localfilesmixin SET path = ? WHERE path = ?"
        database.execute(set_path, (str(provisioned.data), str(folder)))
        database.commit()
    yield storage
    provisioned.studio.request("DELETE", f"/api/storages/localfiles/{storage}")


def test_a_storage_that_is_there_already_serves_no_database(
    provisioned: LabelStudio, boss: Person, everywhere: int, folder: Path
) -> None:
    assert boss.get("/data/local-files/", d="images/../images/rooms/true.png").status_code == 200
    (folder / "leak.png").symlink_to(provisioned.data / "label_studio.sqlite3")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    hostile = [
        DATABASE,
        f"/{DATABASE}",
        f"images/../{DATABASE}",
        f"./images/sub/../../{DATABASE}",
        "labelstudio/provisioned.json",
        "labelstudio/media/upload",
        "images/rooms/leak.png",
        "images/rooms/loop.png",
        "images/rooms/\0.png",
        "images/rooms/" + "x" * 300,
        "",
    ]
    for path in hostile:
        for prefix in ("/data/local-files/", "/data/local-files", "/any/data/local-files/"):
            answer = boss.get(prefix, d=path)
            assert answer.status_code == 404 and "SQLite" not in answer.text, (prefix, path)


def test_such_a_storage_makes_no_tasks_of_what_it_finds(
    provisioned: LabelStudio, project: int, everywhere: int
) -> None:
    (provisioned.data / "secret.json").write_text(json.dumps([{"image": "a secret"}]))
    with pytest.raises(StudioError, match="the path has to be"):
        provisioned.studio.request("POST", f"/api/storages/localfiles/{everywhere}/sync", json={})
    assert list(provisioned.studio.iter_tasks(project)) == []


def test_a_link_out_of_the_images_is_left_out_of_a_sync(
    provisioned: LabelStudio, project: int, folder: Path
) -> None:
    (provisioned.data / "secret.png").write_bytes(b"secret")
    (folder / "out.png").symlink_to(provisioned.data / "secret.png")
    (folder / "way-out").symlink_to(provisioned.data)
    (folder / "same.png").symlink_to(folder / "true.png")
    fields = {"project": project, "path": str(folder), "use_blob_urls": True, "recursive_scan": True}
    storage = provisioned.studio.request("POST", "/api/storages/localfiles", json=fields)["id"]
    provisioned.studio.request("POST", f"/api/storages/localfiles/{storage}/sync", json={})
    made = {task["data"]["image"] for task in provisioned.studio.iter_tasks(project)}
    assert made == {f"/data/local-files/?d=images/rooms/{name}.png" for name in ("true", "same")}
    provisioned.studio.request("DELETE", f"/api/storages/localfiles/{storage}")


@pytest.mark.parametrize("kind", ["localfiles", "export/localfiles"])
@pytest.mark.parametrize("place", ["labelstudio", "images/../labelstudio", "images/rooms/way-out", "models"])
def test_a_storages_path_is_a_folder_of_the_images(
    provisioned: LabelStudio, project: int, folder: Path, kind: str, place: str
) -> None:
    volumes = provisioned.images.parent
    (volumes / "models").mkdir(exist_ok=True)
    (folder / "way-out").symlink_to(provisioned.data)
    fields = {"project": project, "path": str(volumes / place)}
    tried = [("POST", f"/api/storages/{kind}"), ("POST", f"/api/storages/{kind}/validate")]
    inside = provisioned.studio.request(
        "POST", f"/api/storages/{kind}", json={**fields, "path": str(provisioned.images)}
    )
    tried.append(("PATCH", f"/api/storages/{kind}/{inside['id']}"))
    if kind == "localfiles":
        tried.append(("POST", "/api/storages/localfiles/files"))
    for method, path in tried:
        with pytest.raises(StudioError, match="the path has to be"):
            provisioned.studio.request(method, path, json=fields)
    kept = provisioned.studio.request("GET", f"/api/storages/{kind}/{inside['id']}")
    assert kept["path"] == str(provisioned.images)
    provisioned.studio.request("DELETE", f"/api/storages/{kind}/{inside['id']}")


def test_exports_may_go_where_label_studios_own_go(provisioned: LabelStudio, project: int) -> None:
    folder = provisioned.data / "export" / "mine"
    folder.mkdir(parents=True)
    fields = {"project": project, "path": str(folder)}
    made = provisioned.studio.request("POST", "/api/storages/export/localfiles", json=fields)
    provisioned.studio.request("DELETE", f"/api/storages/export/localfiles/{made['id']}")


@pytest.fixture
def neighbour() -> Iterator[FakeBackend]:
    """Another service on this host's loopback, such as the trainer's."""
    fake = FakeBackend(BACKEND_PASSWORD).start()
    yield fake
    fake.stop()


def test_no_other_ml_backend_of_the_neighbourhood_is_called(
    provisioned: LabelStudio, backend: FakeBackend, neighbour: FakeBackend, project: int
) -> None:
    ours = provisioned.studio.backends(state(provisioned)["project"])[0]
    port = backend.url.rpartition(":")[2]
    urls = [
        neighbour.url,
        "http://169.254.169.254",
        "http://10.1.2.3:9090",
        f"http://localhost:{port}",
        f"{backend.url}@{neighbour.url.partition('//')[2]}",
        f"http://127.0.0.1:{port}0",
    ]
    fields = {"project": project, "title": "mine"}
    for url in urls:
        with pytest.raises(StudioError) as refused:
            provisioned.studio.request("POST", "/api/ml", json={**fields, "url": url})
        assert refused.value.status in (400, 403), url
        with pytest.raises(StudioError) as refused:
            provisioned.studio.request("PATCH", f"/api/ml/{ours['id']}", json={**fields, "url": url})
        assert refused.value.status in (400, 403), url
    assert neighbour.requests == [] and neighbour.refused == []
    assert provisioned.studio.backends(state(provisioned)["project"])[0]["url"] == backend.url


def test_one_that_is_there_already_is_no_longer_called(
    provisioned: LabelStudio, neighbour: FakeBackend, project: int, backend: FakeBackend
) -> None:
    """As one that was connected before the block was on; our own still is, in whatever project."""
    fields = {
        "project": project,
        "url": backend.url,
        "title": "mine",
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": "labelstudio",
        "basic_auth_pass": BACKEND_PASSWORD,
    }
    made = provisioned.studio.request("POST", "/api/ml", json=fields)
    assert made["state"] == "CO"
    with closing(sqlite3.connect(provisioned.data / "label_studio.sqlite3", timeout=30)) as database:
        database.execute("UPDATE ml_mlbackend SET url = ? WHERE id = ?", (neighbour.url, made["id"]))
        database.commit()
    (listed,) = provisioned.studio.backends(project)
    assert listed["state"] == "DI" and neighbour.requests == []
    provisioned.studio.request("DELETE", f"/api/ml/{made['id']}")
    assert provisioned.studio.request("GET", "/api/webhooks/", params={"project": project}) == []


def test_an_import_by_url_reaches_nothing_of_the_stack(
    provisioned: LabelStudio, backend: FakeBackend, neighbour: FakeBackend, project: int
) -> None:
    before = len(backend.requests)
    for url in (backend.url, neighbour.url, provisioned.url, "http://169.254.169.254/latest/meta-data"):
        with pytest.raises(StudioError, match="reserved network") as refused:
            provisioned.studio.request(
                "POST", f"/api/projects/{project}/import", data={"url": f"{url}/health"}
            )
        assert refused.value.status in (400, 403)
    for url in (backend.url, neighbour.url):
        with pytest.raises(StudioError, match="reserved network"):
            provisioned.studio.request("POST", "/api/webhooks/", json={"url": f"{url}/webhook"})
    assert len(backend.requests) == before and neighbour.requests == []
