"""Labels that exist are brought into a real Label Studio by `labelloop intake`, which `make import` calls."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.support.labelstudio import LabelStudio
from integration.support.people import labeller
from PIL import Image
from support import datasets, shapes
from typer.testing import CliRunner, Result

from labelloop.regions import from_results
from labelloop.studio import Row, Studio, StudioError
from trainer import cli, env
from trainer.dataset.snapshot import collect
from trainer.env import TrainerSettings
from trainer.peers.projects import fetch
from trainer.worker import image_index
from trainer.worker.image_index import ImageIndex
from trainer.worker.importer import Importer

_numbers = itertools.count()
Run = Callable[..., Result]


@pytest.fixture
def settings(provisioned: LabelStudio, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainerSettings]:
    """A trainer's settings beside the Label Studio of the tests, also in the environment."""
    monkeypatch.setattr(image_index, "SETTLED_S", 0.0)
    for name in TrainerSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    environment = {
        "LABELLOOP_HOME": str(provisioned.home),
        "LABELSTUDIO_URL": provisioned.url,
        "API_TOKEN": provisioned.environment["API_TOKEN"],
        "BACKEND_PASSWORD": "backend",
        "TRAINER_PASSWORD": "trainer",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(image_index, "SETTLED_S", 0.0)
    env.get_settings.cache_clear()
    yield env.get_settings()
    env.get_settings.cache_clear()


@pytest.fixture
def studio(provisioned: LabelStudio) -> Studio:
    return provisioned.studio


@pytest.fixture
def project(settings: TrainerSettings, studio: Studio) -> Iterator[int]:
    """A project with the label "ball", "crate" and the storage volumes/images/intake<n>."""
    fields = {"title": f"intake {next(_numbers)}", "label_config": shapes.LABEL_CONFIG}
    made = int(studio.request("POST", "/api/projects", json=fields)["id"])
    folder = settings.images_dir / f"intake{made}"
    folder.mkdir()
    storage = {"project": made, "title": "images", "path": str(folder), "regex_filter": r".*\.png$"}
    studio.request(
        "POST", "/api/storages/localfiles", json=storage | {"use_blob_urls": True, "recursive_scan": True}
    )
    yield made
    shutil.rmtree(folder)  # other tests count the images


@pytest.fixture
def run(settings: TrainerSettings, project: int) -> Run:
    """Runs `labelloop intake …` for the project; new images go below its storage."""

    def intake(dataset: object, *options: str) -> Result:
        words = ["intake", str(dataset), "--name", f"intake{project}", "--project", str(project), *options]
        into = ["--into", str(settings.images_dir)]
        return CliRunner().invoke(cli.app, [*words, *into], catch_exceptions=False)

    return intake


def tasks(studio: Studio, project: int) -> dict[str, Row]:
    """Tasks with their annotations and predictions, by the bare name of their image."""
    found = list(studio.iter_tasks(project, fields="all", page_size=100))
    by_name = {row["data"]["image"].rpartition("/")[2]: row for row in found}
    assert len(by_name) == len(found), "an image has two tasks"
    return by_name


def boxes(studio: Studio, project: int, result: list[Row]) -> list[tuple[str, list[float]]]:
    config = fetch(studio, project).labels
    found, problems = from_results(result, config, datasets.SIZE)
    assert not problems
    return [
        (config.names[label], [round(corner, 1) for corner in corners])
        for label, corners in zip(found.labels.tolist(), found.xyxy.tolist(), strict=True)
    ]


def sync(settings: TrainerSettings, studio: Studio, project: int) -> None:
    index = ImageIndex(settings.rounds_dir, settings.images_dir)
    Importer(index, studio, settings.rounds_dir).run([project], force=True)


WANTED = {
    Path(name).name: [(label.lower(), [*map(float, corners)]) for label, *corners in kept]
    for name, kept in datasets.BOXES.items()
}
QUOTED = {"a%20b.png": "a b.png", "Gr%C3%B6%C3%9Fe%20%232.png": "Größe #2.png"}


@pytest.mark.parametrize("name", datasets.ALL)
def test_new_images_become_tasks_with_their_labels_once(
    name: str, run: Run, settings: TrainerSettings, studio: Studio, project: int, tmp_path: Path
) -> None:
    dataset = datasets.ALL[name](tmp_path / "set")
    told = run(dataset)
    assert told.exit_code == 0, told.output
    assert "new images, with labels" in told.output and "YES=1" in told.output
    assert not tasks(studio, project)
    done = run(dataset, "--yes")
    assert done.exit_code == 0, done.output
    assert "4 new tasks, 4 annotations" in done.output
    found = tasks(studio, project)
    read = {
        QUOTED.get(image, image): boxes(studio, project, row["annotations"][0]["result"])
        for image, row in found.items()
    }
    assert read == WANTED
    assert [row["total_annotations"] for row in found.values()] == [1] * 4
    sync(settings, studio, project)  # the files that were copied get no second task
    assert tasks(studio, project).keys() == found.keys()
    again = run(dataset, "--yes")
    assert again.exit_code == 0 and "Nothing to do." in again.output, again.output
    assert tasks(studio, project) == found
    snapshot = collect(studio, project, settings, lambda fraction, text: None)
    assert (snapshot.labelled, snapshot.boxes) == (4, 4)


def drop(settings: TrainerSettings, project: int, *names: str) -> None:
    """Puts images of the datasets into the project's folder, as a person does."""
    made = settings.images_dir / "made"
    datasets.save_images(made)
    for name in names:
        shutil.copy(made / name, settings.images_dir / f"intake{project}" / Path(name).name)
    shutil.rmtree(made)


def test_an_image_that_has_a_task_keeps_it_and_gets_the_labels(
    run: Run, settings: TrainerSettings, studio: Studio, project: int, tmp_path: Path
) -> None:
    drop(settings, project, *datasets.NAMES[:2])
    sync(settings, studio, project)
    before = {name: row["id"] for name, row in tasks(studio, project).items()}
    assert len(before) == 2
    done = run(datasets.coco(tmp_path / "set"), "--yes")
    assert "2 new tasks, 4 annotations" in done.output, done.output
    found = tasks(studio, project)
    assert {name: found[name]["id"] for name in before} == before
    assert all(len(row["annotations"]) == 1 for row in found.values())


def test_an_image_that_was_saved_anew_is_known_by_its_name_and_another_one_is_not(
    run: Run, settings: TrainerSettings, studio: Studio, project: int, tmp_path: Path
) -> None:
    dataset = datasets.coco(tmp_path / "set")
    folder = settings.images_dir / f"intake{project}"
    with Image.open(dataset / "images/a b.png") as image:
        image.resize((640, 480)).save(folder / "a b.png")
    shapes.picture(99, datasets.SIZE).image.save(folder / "d.png")
    sync(settings, studio, project)
    done = run(dataset, "--yes")
    assert "by their name" in done.output and "3 new tasks, 4 annotations" in done.output, done.output
    found = list(studio.iter_tasks(project, fields="all", page_size=100))
    labelled = {row["data"]["image"].partition("images/")[2]: len(row["annotations"]) for row in found}
    assert len(found) == 5 and labelled[f"intake{project}/d.png"] == 0
    assert labelled[f"intake{project}/images/d.png"] == labelled[f"intake{project}/a%20b.png"] == 1
    by_size = {Path(row["data"]["image"]).name: row for row in found if row["annotations"]}
    [region] = by_size["a%20b.png"]["annotations"][0]["result"]
    assert (region["original_width"], region["value"]["x"]) == (640, 10.0)


def test_what_people_have_labelled_here_is_left_alone(
    run: Run, settings: TrainerSettings, studio: Studio, project: int, tmp_path: Path
) -> None:
    drop(settings, project, "d.png")
    sync(settings, studio, project)
    [task] = tasks(studio, project).values()
    studio.request("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": []})
    done = run(datasets.coco(tmp_path / "set"), "--yes")
    assert "labelled here by people: left alone" in done.output
    assert [row["result"] for row in tasks(studio, project)["d.png"]["annotations"]] == [[]]


def test_what_people_have_edited_since_it_was_brought_is_left_alone(
    run: Run, studio: Studio, project: int, tmp_path: Path
) -> None:
    dataset = datasets.coco(tmp_path / "set")
    run(dataset, "--yes")
    [annotation] = tasks(studio, project)["d.png"]["annotations"]
    studio.request("PATCH", f"/api/annotations/{annotation['id']}/", json={"result": []})
    text = (dataset / "annotations.json").read_text().replace('"name": "ball"', '"name": "crate"')
    (dataset / "annotations.json").write_text(text.replace('"name": "Crate"', '"name": "ball"'))
    assert "labelled here by people: left alone" in run(dataset, "--yes").output
    found = tasks(studio, project)
    assert [row["result"] for row in found["d.png"]["annotations"]] == [[]]
    assert len(found["a%20b.png"]["annotations"]) == 2  # nobody has: the dataset's newer labels count


def test_predictions_are_shown_and_are_not_taken_for_true(
    run: Run, studio: Studio, project: int, tmp_path: Path
) -> None:
    dataset = datasets.coco(tmp_path / "set")
    document = datasets.coco_document()
    for row in document["annotations"]:
        row["score"] = 0.5
    (dataset / "annotations.json").write_text(json.dumps(document))
    done = run(dataset, "--as=predictions", "--yes")
    assert "0 annotations, 4 predictions" in done.output, done.output
    task = tasks(studio, project)["d.png"]
    [prediction] = task["predictions"]
    assert (prediction["score"], prediction["model_version"], task["total_annotations"]) == (
        0.5,
        "imported",
        0,
    )
    assert "Nothing to do." in run(dataset, "--as=predictions", "--yes").output


def test_a_label_that_the_project_lacks_stops_before_anything_is_done(
    run: Run, studio: Studio, project: int, tmp_path: Path
) -> None:
    dataset = datasets.coco(tmp_path / "set")
    text = (dataset / "annotations.json").read_text().replace('"Crate"', '"owl & \\"co\\""')
    (dataset / "annotations.json").write_text(text)
    told = run(dataset, "--yes")
    assert told.exit_code == 1 and not tasks(studio, project)
    assert 'no label for: owl & "co" (2 boxes)' in told.stderr
    assert "<Label value='owl &amp; \"co\"'/>" in told.stderr
    done = run(dataset, "--yes", '--map=owl & "co"=BALL')
    assert "4 new tasks, 4 annotations" in done.output, done.output + done.stderr
    assert boxes(studio, project, tasks(studio, project)["d.png"]["annotations"][0]["result"]) == [
        ("ball", [16, 12, 48, 36])
    ]


def test_what_is_left_out_is_told_to_the_end(run: Run, studio: Studio, project: int, tmp_path: Path) -> None:
    dataset = datasets.coco(tmp_path / "set")
    (dataset / "images" / "d.png").unlink()
    done = run(dataset, "--yes")
    assert "d.png (annotations.json): the image is not in the dataset" in done.output
    assert done.output.endswith("3 annotations, 0 predictions. 1 image left out: see above.\n")
    shutil.rmtree(dataset / "images")
    told = run(dataset, "--yes", "--images", str(tmp_path))
    assert told.exit_code == 0  # three are known by their names
    (dataset / "annotations.json").write_text('{"images": [], "annotations": [{"image_id": 1}]}')
    told = run(dataset, "--yes")
    assert told.exit_code == 1 and "no image that can be used; the first of 1: " in told.stderr


@pytest.mark.parametrize(
    "path",
    [
        "images/../labelstudio/x.png",
        "labelstudio/media/x.png",
        "/etc/x.png",
        "images//etc/x.png",
        "images/./x.png",
        "images/x\0.png",
        "images",
    ],
)
def test_label_studio_takes_no_image_from_elsewhere(studio: Studio, project: int, path: str) -> None:
    with pytest.raises(StudioError, match="400.*is no path below images/"):
        studio.request("POST", f"/labelloop/projects/{project}/intake", json={"items": [{"path": path}]})


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ('"annotations": [{"unique_id": "%s", "lead_time": 1e999}]', "finite number"),
        ('"predictions": [{"model_version": "v", "score": -1e999}]', "finite number"),
        ('"annotations": [{"unique_id": "%s", "result": [{"value": {"x": 1e999}}]}]', "Out of range float"),
        ('"annotations": [{"unique_id": "%s", "created_at": "0001-01-01T00:00:00+14:00"}]', "no date that"),
        ('"data": {"x": 1e999}', "Out of range float"),
    ],
)
def test_what_label_studio_could_never_list_again_is_refused(
    provisioned: LabelStudio, studio: Studio, settings: TrainerSettings, project: int, labels: str, why: str
) -> None:
    """JSON's 1e999 is read as infinite, which no answer of Label Studio's can hold."""
    name = f"intake{project}/odd.png"
    shapes.picture(1).image.save(settings.images_dir / name)
    text = labels.replace("%s", "7d0f1a52-0c4b-4a55-9a4c-6f2c6c0b1b5f")
    with pytest.raises(StudioError, match=f"400.*{why}"):
        studio.request(
            "POST",
            f"/labelloop/projects/{project}/intake",
            data=f'{{"items": [{{"path": "images/{name}", {text}}}]}}',
            headers={"Content-Type": "application/json"},
        )
    assert list(studio.iter_tasks(project)) == []


def test_labellers_bring_nothing(provisioned: LabelStudio, project: int) -> None:
    somebody = labeller(provisioned, f"brings{project}@example.org")
    answer = somebody.post(f"/labelloop/projects/{project}/intake", items=[])
    assert answer.status_code == 403


def test_killed_anywhere_it_goes_on(
    run: Run, settings: TrainerSettings, studio: Studio, project: int, tmp_path: Path
) -> None:
    """A kill after each batch of one image, then one that ends: four tasks, four annotations."""
    dataset = datasets.coco(tmp_path / "set")
    for stage in ("_post", "_forget_fetched", "_post"):
        program = (
            "import os, sys\n"
            "from trainer.intake import carry_out\n"
            "carry_out.BATCH = 1\n"
            f"carry_out.{stage} = lambda *given: os.kill(os.getpid(), 9)\n"
            "from trainer.cli import app\n"
            "app(sys.argv[1:])\n"
        )
        words = ["intake", str(dataset), "--name", f"intake{project}", "--project", str(project), "--yes"]
        killed = subprocess.run(
            [sys.executable, "-c", program, *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        sync(settings, studio, project)  # the worker goes on meanwhile
    assert [len(row["annotations"]) for row in tasks(studio, project).values()] == [1, 0]
    done = run(dataset, "--yes")
    assert done.exit_code == 0, done.output
    found = tasks(studio, project)
    assert len(found) == 4 and all(len(row["annotations"]) == 1 for row in found.values())


def test_two_annotations_of_an_image_that_say_the_same_are_one(
    run: Run, studio: Studio, project: int, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    shapes.picture(7, datasets.SIZE).image.save(tmp_path / "set" / "twice.png")
    rows = [{"data": {"image": "twice.png"}, "annotations": [{"result": []}, {"result": []}]}]
    (tmp_path / "set" / "export.json").write_text(json.dumps(rows))
    done = run(tmp_path / "set", "--yes")
    assert "1 new task, 1 annotation," in done.output, done.output + done.stderr
    assert "Nothing to do." in run(tmp_path / "set", "--yes").output


def test_images_under_a_path_of_a_tasks_data_are_known_and_new_ones_come_there(
    run: Run, settings: TrainerSettings, studio: Studio, project: int, tmp_path: Path
) -> None:
    config = shapes.LABEL_CONFIG.replace("$image", "$meta.photo")
    studio.update_project(project, label_config=config)
    drop(settings, project, *datasets.NAMES[:2])
    sync(settings, studio, project)
    dataset = datasets.coco(tmp_path / "set")
    done = run(dataset, "--yes")
    assert "2 new tasks, 4 annotations" in done.output, done.output
    found = list(studio.iter_tasks(project, fields="all", page_size=100))
    assert [list(task["data"]) for task in found] == [["meta"]] * 4
    assert all(task["data"]["meta"]["photo"].startswith("/data/local-files/?d=images/") for task in found)
    assert [len(task["annotations"]) for task in found] == [1] * 4
    assert "Nothing to do." in run(dataset, "--yes").output


def test_new_images_for_a_config_that_puts_their_urls_together_are_refused(
    run: Run, studio: Studio, project: int, tmp_path: Path
) -> None:
    config = shapes.LABEL_CONFIG.replace("$image", "https://example.org/$name")
    studio.update_project(project, label_config=config)
    told = run(datasets.coco(tmp_path / "set"), "--yes")
    assert told.exit_code == 1 and not list(studio.iter_tasks(project))
    assert "4 images would be new" in told.stderr and 'write value="$image"' in told.stderr
