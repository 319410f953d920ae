"""Moving in from another Label Studio, by its URL and token: here, a project of the same server."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from integration.support.labelstudio import EMAIL, LabelStudio
from integration.support.people import Person, labeller
from support import shapes
from typer.testing import CliRunner, Result

from labelloop.studio import Row, Studio
from trainer import cli, env
from trainer.env import TrainerSettings

_numbers = itertools.count()
Run = Callable[..., Result]
HERS = "ann.moving@example.org"
THEIR_CONFIG = shapes.LABEL_CONFIG.replace('name="label"', 'name="kind"').replace(
    "<View>", '<View><Choices name="light" toName="image"><Choice value="day"/></Choices>'
)


@pytest.fixture
def settings(provisioned: LabelStudio, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainerSettings]:
    for name in TrainerSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    environment = {
        "LABELLOOP_HOME": str(provisioned.home),
        "LABELSTUDIO_URL": provisioned.url,
        "API_TOKEN": provisioned.environment["API_TOKEN"],
        "IMPORT_TOKEN": provisioned.environment["API_TOKEN"],
        "BACKEND_PASSWORD": "backend",
        "TRAINER_PASSWORD": "trainer",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    env.get_settings.cache_clear()
    yield env.get_settings()
    env.get_settings.cache_clear()


@pytest.fixture
def theirs(provisioned: LabelStudio, settings: TrainerSettings, ann: Person) -> Iterator[int]:
    """A project with an uploaded image that Ann labelled, one of its folder that was skipped, and one that
    nobody has labelled.
    """
    studio = provisioned.studio
    fields = {"title": f"theirs {next(_numbers)}", "label_config": THEIR_CONFIG}
    made = int(studio.request("POST", "/api/projects", json=fields)["id"])
    folder = settings.images_dir / f"theirs{made}"
    folder.mkdir()
    for seed, name in enumerate(("up.png", "skipped.png", "open.png"), start=700):
        shapes.picture(seed).image.save(folder / name)
    with (folder / "up.png").open("rb") as file:
        studio.request("POST", f"/api/projects/{made}/import", files={"file": ("up.png", file)})
    (folder / "up.png").unlink()
    rows = [
        {"data": {"image": f"/data/local-files/?d=images/theirs{made}/{name}", "site": "north"}}
        for name in ("skipped.png", "open.png")
    ]
    studio.request("POST", f"/api/projects/{made}/import", json=rows)
    storage = {"project": made, "title": "images", "path": str(folder), "use_blob_urls": True}
    studio.request("POST", "/api/storages/localfiles", json=storage)
    tasks = {row["data"]["image"].rpartition("/")[2]: row["id"] for row in studio.iter_tasks(made)}
    uploaded = next(task for name, task in tasks.items() if name.endswith("up.png"))
    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["ball"]}
    region = {"from_name": "kind", "to_name": "image", "type": "rectanglelabels", "value": box}
    light = {"from_name": "light", "to_name": "image", "type": "choices", "value": {"choices": ["day"]}}
    sizes = {"original_width": 320, "original_height": 240}
    sent = ann.post(f"/api/tasks/{uploaded}/annotations/", result=[region | sizes, light], lead_time=7.5)
    assert sent.status_code == 201, sent.text
    body = {"result": [], "was_cancelled": True}
    studio.request("POST", f"/api/tasks/{tasks['skipped.png']}/annotations/", json=body)
    yield made
    shutil.rmtree(folder)  # other tests count the images


@pytest.fixture(scope="module")
def ann(provisioned: LabelStudio) -> Person:
    """Who labels there, and has an account here, too."""
    return labeller(provisioned, HERS)


@pytest.fixture
def ours(provisioned: LabelStudio) -> Iterator[int]:
    fields = {"title": f"ours {next(_numbers)}", "label_config": shapes.LABEL_CONFIG}
    made = int(provisioned.studio.request("POST", "/api/projects", json=fields)["id"])
    yield made
    shutil.rmtree(provisioned.images / f"moved{made}", ignore_errors=True)


@pytest.fixture
def run(settings: TrainerSettings, ours: int) -> Run:
    def intake(dataset: str, *options: str) -> Result:
        words = ["intake", dataset, "--name", f"moved{ours}", "--project", str(ours), *options]
        return CliRunner().invoke(cli.app, words, catch_exceptions=False)

    return intake


def tasks(studio: Studio, project: int) -> dict[str, Row]:
    found = studio.iter_tasks(project, fields="all", page_size=100)
    return {row["data"]["image"].rpartition("/")[2]: row for row in found}


def test_work_of_people_moves_in_with_its_dates_uploads_and_images(
    run: Run, provisioned: LabelStudio, settings: TrainerSettings, theirs: int, ours: int
) -> None:
    before = tasks(provisioned.studio, theirs)
    [annotation] = next(row for name, row in before.items() if name.endswith("up.png"))["annotations"]
    told = run(provisioned.url, f"--from={theirs}")
    assert told.exit_code == 0, told.output + told.stderr
    assert f"by {HERS}: 1 annotation\n" in told.output and f"by {EMAIL}: 1 annotation\n" in told.output
    assert "choices: 1 result not brought" in told.output
    done = run(provisioned.url, f"--from={theirs}", "--yes")
    assert "3 new tasks, 2 annotations" in done.output, done.output + done.stderr
    found = tasks(provisioned.studio, ours)
    assert found.keys() == {"up.png", "skipped.png", "open.png"}
    [moved] = found["up.png"]["annotations"]
    for name in ("created_at", "updated_at"):
        assert datetime.fromisoformat(moved[name]) == datetime.fromisoformat(annotation[name])
    assert moved["lead_time"] == 7.5
    assert moved["created_username"].strip().startswith(HERS)
    assert [region["from_name"] for region in moved["result"]] == ["label"]
    assert moved["result"][0]["value"]["x"] == 10
    assert found["skipped.png"]["annotations"][0]["was_cancelled"]
    assert found["open.png"]["data"]["site"] == "north" and not found["open.png"]["annotations"]
    for row in found.values():
        path = settings.volumes_dir / row["data"]["image"].partition("?d=")[2]
        assert path.is_relative_to(settings.images_dir / f"moved{ours}") and path.is_file()
    assert list((settings.cache_dir / "intake").iterdir()) == []
    again = run(provisioned.url, f"--from={theirs}", "--yes")
    assert "Nothing to do." in again.output, again.output
    assert tasks(provisioned.studio, ours) == found


def test_an_export_with_its_media_folder_moves_in_as_well(
    run: Run, provisioned: LabelStudio, ann: Person, theirs: int, ours: int, tmp_path: Path
) -> None:
    """An export names people by numbers alone."""
    exported = provisioned.studio.request(
        "GET", f"/api/projects/{theirs}/export?exportType=JSON&download_all_tasks=true"
    )
    path = tmp_path / "export.json"
    path.write_text(json.dumps(exported))
    media = f"--images={provisioned.home / 'volumes'}"
    told = run(str(path), media)
    assert f"by user {ann.id}: 1 annotation, who is not here" in told.output, told.output
    told = run(str(path), media, "--yes", f"--people={ann.id}={HERS}")
    assert "3 new tasks, 2 annotations" in told.output, told.output + told.stderr
    [moved] = tasks(provisioned.studio, ours)["up.png"]["annotations"]
    assert moved["created_at"] == exported[0]["annotations"][0]["created_at"]
    assert moved["created_username"].strip().startswith(HERS)


def test_a_token_that_is_refused_is_told(
    run: Run, provisioned: LabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPORT_TOKEN", "0" * 40)
    told = run(provisioned.url, "--yes")
    assert told.exit_code == 1 and "refuses the token" in told.stderr


def test_which_project_is_meant_has_to_be_said(run: Run, provisioned: LabelStudio, theirs: int) -> None:
    told = run(provisioned.url, "--yes")
    assert told.exit_code == 1 and "choose a project by FROM=<id>" in told.stderr
