"""What the provisioner leaves in Label Studio, and that it leaves it alone the second time."""

import json
import shutil
import sqlite3
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from integration.support.fake_backend import FakeBackend
from integration.support.labelstudio import BACKEND_PASSWORD, REPO, TOKEN, LabelStudio
from PIL import Image
from support.former import INSTRUCTIONS as OF_AN_EARLIER_RELEASE

from labelloop.instructions import ADOPTED, DESCRIPTION, instructions
from labelloop.label_fill import fill_in
from labelloop.studio import StudioError

PROVISIONED_TABLES = (
    "htx_user",
    "organization",
    "authtoken_token",
    "project",
    "io_storages_localfilesimportstorage",
    "io_storages_localfilesmixin",
    "ml_mlbackend",
    "webhook",
)
MOVES_BY_ITSELF = {"updated_at", "last_activity"}


def rows(label_studio: LabelStudio) -> dict[str, list[dict[str, Any]]]:
    """Everything that provisioning makes, as the database has it."""
    with closing(sqlite3.connect(label_studio.data / "label_studio.sqlite3")) as database:
        database.row_factory = sqlite3.Row
        return {
            table: [
                {name: row[name] for name in row.keys() if name not in MOVES_BY_ITSELF}  # noqa: SIM118
                for row in database.execute(f"SELECT * FROM {table}")
            ]
            for table in PROVISIONED_TABLES
        }


def connect(label_studio: LabelStudio, **fields: str) -> int:
    """A project that somebody makes, and connects to our backend as Label Studio's own form does."""
    xml = (REPO / "configs/labels/face.xml").read_text()
    row = {"title": "by hand", "label_config": xml, **fields}
    made = int(label_studio.studio.request("POST", "/api/projects", json=row)["id"])
    form = {
        "project": made,
        "url": label_studio.environment["MLBACKEND_URL"],
        "title": "By hand",
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": "labelstudio",
        "basic_auth_pass": BACKEND_PASSWORD,
    }
    label_studio.studio.request("POST", "/api/ml", json=form)
    return made


def state(label_studio: LabelStudio) -> dict[str, Any]:
    return dict(json.loads((label_studio.data / "provisioned.json").read_text()))


def test_the_project_is_ready_for_active_learning(provisioned: LabelStudio) -> None:
    project = provisioned.studio.whole_project(state(provisioned)["project"])
    assert project["title"] == "labelloop"
    assert project["sampling"] == "Uncertainty sampling"
    assert project["show_collab_predictions"] and not project["evaluate_predictions_automatically"]
    file = (REPO / "configs/labels/everyday.xml").read_text()
    assert project["label_config"] == fill_in(file).xml.strip() != file.strip()
    assert project["expert_instruction"] == instructions() and project["description"] == DESCRIPTION


def test_the_backend_is_connected_with_credentials_and_no_webhook(
    provisioned: LabelStudio, backend: FakeBackend
) -> None:
    project = state(provisioned)["project"]
    (connection,) = provisioned.studio.backends(project)
    assert connection["state"] == "CO" and connection["url"] == backend.url
    assert connection["auth_method"] == "BASIC_AUTH" and connection["basic_auth_user"] == "labelstudio"
    assert connection["is_interactive"], "clicks become boxes"
    path, body = backend.requests[0]
    assert path == "/setup" and body["access_token"] == TOKEN
    hooks = provisioned.studio.request("GET", "/api/webhooks/")
    assert [hook for hook in hooks if hook["project"] in (None, project)] == []


def test_the_start_training_button_reaches_the_backend_signed_in(
    provisioned: LabelStudio, backend: FakeBackend
) -> None:
    provisioned.studio.request("POST", f"/api/ml/{state(provisioned)['backend']}/train", json={})
    path, body = backend.requests[-1]
    assert path == "/webhook" and body["action"] == "START_TRAINING"
    assert body["project"]["id"] == state(provisioned)["project"]
    (connection,) = provisioned.studio.backends(body["project"]["id"])
    assert connection["state"] == "CO"


def test_provisioning_again_changes_nothing(provisioned: LabelStudio) -> None:
    assert provisioned.provision().returncode == 0, (
        "whether somebody has signed up meanwhile is known by this"
    )
    before = rows(provisioned)
    written = (provisioned.data / "provisioned.json").stat().st_mtime_ns
    again = provisioned.provision()
    assert again.returncode == 0, again.stderr
    assert rows(provisioned) == before
    assert (provisioned.data / "provisioned.json").stat().st_mtime_ns == written


def test_a_lost_state_file_is_found_again(provisioned: LabelStudio) -> None:
    before, known = rows(provisioned), state(provisioned)
    (provisioned.data / "provisioned.json").unlink()
    assert provisioned.provision().returncode == 0
    assert rows(provisioned) == before and state(provisioned) == known


def test_a_project_that_a_person_renames_and_tunes_stays_so(provisioned: LabelStudio) -> None:
    project, count = state(provisioned)["project"], len(provisioned.studio.projects())
    provisioned.studio.update_project(project, title="my pictures", sampling="Sequential sampling")
    try:
        assert provisioned.provision().returncode == 0
        now = provisioned.studio.whole_project(project)
        assert now["title"] == "my pictures" and now["sampling"] == "Sequential sampling"
        assert len(provisioned.studio.projects()) == count
    finally:
        provisioned.studio.update_project(project, title="labelloop", sampling="Uncertainty sampling")


def test_instructions_of_a_former_release_are_replaced_and_a_persons_stay(provisioned: LabelStudio) -> None:
    """So are, once, those that projects lack which an earlier release has connected; their order stays."""
    studio, project = provisioned.studio, state(provisioned)["project"]
    adopted = connect(provisioned)
    before = {name: value for name, value in state(provisioned).items() if name != "connected_instructed"}
    (provisioned.data / "provisioned.json").write_text(json.dumps(before))
    try:
        studio.update_project(project, expert_instruction=OF_AN_EARLIER_RELEASE)
        studio.update_project(adopted, expert_instruction="", sampling="Sequential sampling")
        assert provisioned.provision().returncode == 0
        assert studio.whole_project(project)["expert_instruction"] == instructions()
        found = studio.whole_project(adopted)
        assert found["expert_instruction"] == instructions(by_uncertainty=False)
        assert found["sampling"] == "Sequential sampling"

        studio.update_project(project, expert_instruction="Cats alone")
        studio.update_project(adopted, expert_instruction="")
        assert provisioned.provision().returncode == 0
        assert studio.whole_project(project)["expert_instruction"] == "Cats alone"
        assert studio.whole_project(adopted)["expert_instruction"] == ""
    finally:
        studio.update_project(project, expert_instruction=instructions())
        studio.request("DELETE", f"/api/projects/{adopted}")


@pytest.mark.parametrize(
    ("own", "then"),
    [
        (
            {},
            {
                "expert_instruction": instructions(),
                "description": ADOPTED,
                "sampling": "Uncertainty sampling",
            },
        ),
        ({"expert_instruction": "Cats alone"}, {"description": ADOPTED}),
        (
            {"description": "Our cats", "sampling": "Uniform sampling"},
            {"expert_instruction": instructions(by_uncertainty=False)},
        ),
    ],
)
def test_a_project_that_connects_our_backend_gets_what_nobody_set(
    provisioned: LabelStudio, own: dict[str, str], then: dict[str, str]
) -> None:
    made = connect(provisioned, **own)
    found = provisioned.studio.whole_project(made)
    assert {name: found[name] for name in own | then} == then | own
    provisioned.studio.request("DELETE", f"/api/projects/{made}")


def test_healthy_means_served_migrated_and_provisioned(provisioned: LabelStudio) -> None:
    assert provisioned.run("provisioner.health").returncode == 0
    with closing(sqlite3.connect(provisioned.data / "label_studio.sqlite3")) as database:
        (journal,) = database.execute("PRAGMA journal_mode").fetchone()
    assert journal == "wal"


def test_dropped_images_become_tasks_that_are_served(provisioned: LabelStudio) -> None:
    names = ["plain.jpg", "UPPER.JPEG", "a b.png", "sub/deep/图's.webp", "x.bmp", "scan.TIF", "two.tiff"]
    ids = state(provisioned)

    def urls_of_tasks() -> list[str]:
        return [task["data"]["image"] for task in provisioned.studio.iter_tasks(ids["project"])]

    provisioned.studio.sync_storage(ids["storage"], 600.0)
    there = urls_of_tasks()  # other tests leave images and tasks
    for name in names:
        path = provisioned.images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)
    (provisioned.images / "notes.txt").write_text("no image")
    (provisioned.images / ".jpg.part").write_text("half copied")
    provisioned.studio.sync_storage(ids["storage"], 600.0)
    provisioned.studio.sync_storage(ids["storage"], 600.0)
    urls = [url for url in urls_of_tasks() if url not in there]
    assert len(urls_of_tasks()) == len(there) + len(urls)
    assert len(urls) == len(names) and all(url.startswith("/data/local-files/?d=images/") for url in urls)
    for url in urls:
        served = requests.get(provisioned.url + url, headers={"Authorization": f"Token {TOKEN}"}, timeout=30)
        assert served.status_code == 200 and served.headers["Content-Type"].startswith("image/"), url
    assert requests.get(provisioned.url + urls[0], timeout=30).status_code == 401


@pytest.mark.parametrize("name", ["upload.png", "upload.TIF"])
def test_an_upload_through_the_page_is_stored_and_served(provisioned: LabelStudio, name: str) -> None:
    picture = provisioned.home / name
    Image.new("RGB", (5, 5)).save(picture)
    project = state(provisioned)["project"]
    with picture.open("rb") as file:
        provisioned.studio.request("POST", f"/api/projects/{project}/import", files={"file": file})
    (url,) = [
        task["data"]["image"]
        for task in provisioned.studio.iter_tasks(project)
        if task["data"]["image"].endswith(name)
    ]
    assert url.startswith(f"/data/upload/{project}/")
    stored = provisioned.data / "media" / "upload" / str(project) / Path(url).name
    assert stored.read_bytes() == picture.read_bytes()
    served = requests.get(provisioned.url + url, headers={"Authorization": f"Token {TOKEN}"}, timeout=30)
    assert served.status_code == 200 and served.headers["Content-Type"] == "image/png"
    assert Image.open(BytesIO(served.content)).size == (5, 5)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://10.1.2.3/hook", "http://127.0.0.2/"]
)
def test_other_addresses_of_the_neighbourhood_are_refused(provisioned: LabelStudio, url: str) -> None:
    with pytest.raises(StudioError, match="reserved network") as refused:
        provisioned.studio.request("POST", "/api/webhooks/", json={"url": url})
    assert refused.value.status == 403


def test_doubled_half_made_and_moved_connections_are_repaired(
    provisioned: LabelStudio, backend: FakeBackend
) -> None:
    project, url = state(provisioned)["project"], backend.url
    with closing(sqlite3.connect(provisioned.data / "label_studio.sqlite3", timeout=30)) as database:
        table = database.execute("SELECT name FROM pragma_table_info('ml_mlbackend') WHERE name != 'id'")
        columns = ", ".join(f'"{name}"' for (name,) in table)
        database.execute(f"INSERT INTO ml_mlbackend ({columns}) SELECT {columns} FROM ml_mlbackend")
        database.execute("UPDATE ml_mlbackend SET auth_method = 'NONE', basic_auth_pass = '', state = 'DI'")
        database.execute("UPDATE io_storages_localfilesmixin SET path = '/elsewhere/volumes/images'")
        database.commit()
    assert len(provisioned.studio.backends(project)) == 2
    done = provisioned.provision()
    assert done.returncode == 0, done.stderr
    (connection,) = provisioned.studio.backends(project)
    assert connection["state"] == "CO" and connection["url"] == url and connection["id"] == 1
    (storage,) = provisioned.studio.storages(project)
    assert storage["path"] == str(provisioned.images)


def test_changed_credentials_are_adopted(provisioned: LabelStudio, backend: FakeBackend) -> None:
    before = state(provisioned)["backend"]
    former = backend.password
    try:
        backend.password = provisioned.environment["BACKEND_PASSWORD"] = "another one"
        done = provisioned.provision()
        assert done.returncode == 0, done.stderr
        (connection,) = provisioned.studio.backends(state(provisioned)["project"])
        assert connection["id"] == before and connection["state"] == "CO"
    finally:
        backend.password = provisioned.environment["BACKEND_PASSWORD"] = former
        assert provisioned.provision().returncode == 0


def test_without_a_backend_the_provisioner_says_what_it_waits_for(provisioned: LabelStudio) -> None:
    provisioned.environment["MLBACKEND_URL"] = "http://127.0.0.1:9"
    try:
        given_up = provisioned.provision(wait=1)
    finally:
        provisioned.environment["MLBACKEND_URL"] = provisioned.studio.backends(1)[0]["url"]
    assert given_up.returncode == 1 and "http://127.0.0.1:9/health does not answer" in given_up.stderr
    assert provisioned.run("provisioner.health").returncode == 0
    waiting = state(provisioned)
    assert not waiting["done"] and "http://127.0.0.1:9/health" in waiting["waiting"]
    assert provisioned.provision().returncode == 0
    assert state(provisioned)["done"] and state(provisioned)["waiting"] is None


def test_one_provisioner_at_a_time(provisioned: LabelStudio) -> None:
    shutil.copy(provisioned.data / "provisioned.json", provisioned.home / "kept.json")
    waiting = provisioned.launch_provisioner()
    assert provisioned.provision().returncode == 0
    assert waiting.wait(60) == 0
    assert (provisioned.home / "kept.json").read_text() == (provisioned.data / "provisioned.json").read_text()
