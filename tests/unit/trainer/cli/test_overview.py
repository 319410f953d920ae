"""What `labelloop status` and `labelloop report` say."""

import json
from pathlib import Path

import pytest
from support import shapes
from support.cli import Run
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from support.made_speeds import write_speeds
from support.versions import add_version

from labelloop.card import REFITTED
from labelloop.files import write_text
from labelloop.registry import Card, ProjectModels
from labelloop.studio import Studio
from trainer import env
from trainer.env import TrainerSettings
from trainer.rounds import heartbeat
from trainer.rounds.table import Rounds
from trainer.rounds.unpredicted import Unpredicted
from trainer.worker import image_index

CONFIGS = Path(__file__).parents[4] / "configs"

pytestmark = pytest.mark.usefixtures("models")


def test_status_of_a_well_appliance(
    run: Run, alive: None, fake_studio: FakeStudio, loop_settings: TrainerSettings
) -> None:
    fake_studio.add_task(annotations=1)
    fake_studio.add_task()
    (loop_settings.images_dir / "[b]broken.jpg").touch()
    index = image_index.ImageIndex(loop_settings.rounds_dir, loop_settings.images_dir)
    index.scan()
    index.check(10.0)
    result = run("status")
    assert result.exit_code == 0
    for words in (
        "Project 1: project 1",
        "in service v0000, yolox_nano, not yet scored",
        "2, 1 labelled, 1 not labelled yet, or skipped",
        "the model has yet to look at 1 image",
        "none yet; `make retrain` starts one",
        "[b]broken.jpg: the file is empty",
    ):
        assert words in result.output


def test_status_names_what_was_learnt_at_once_and_serves(
    run: Run, alive: None, models: ProjectModels
) -> None:
    assert "at once" not in run("status").output
    card = Card(detector="yolox_nano", classes=["ball"], images=3)
    models.instant.serve(models.instant.write("v0000", card, b"weights"))
    assert "at once    i0000.0001, learnt upon v0000, makes the next images' boxes" in run("status").output
    none = card.model_copy(update={"score_thresholds": {"ball": 1.0}})
    models.instant.serve(models.instant.write("v0000", none, b"weights"))
    assert (
        "at once    i0000.0002, learnt upon v0000, shows no boxes, which would cost more time than they "
        "save, and answers clicks alone"
    ) in run("status").output
    same = card.model_copy(update={"verdict": REFITTED})
    models.instant.serve(models.instant.write("v0000", same, b"weights"))
    assert (
        "at once    i0000.0003, v0000 with thresholds of the newest labels, makes the next images' boxes"
    ) in run("status").output


def test_status_tells_how_long_rounds_take_here_and_how_to_change_the_detector(
    run: Run, alive: None, loop_settings: TrainerSettings
) -> None:
    assert "DETECTOR=auto" not in run("status").output, "nothing was measured"
    write_speeds(loop_settings, CONFIGS, {"yolox_nano": 0.3, "yolox_tiny": 0.9, "yolox_s": 4.0})
    assert (
        "detector DETECTOR=auto: a round on 40 labelled images: yolox_nano takes about 1:41 min; yolox_tiny "
        "takes about 4:41 min; yolox_s would take 20:11 min, more than ROUND_MINUTES=5. A new project would "
        "start with yolox_tiny; `make up DETECTOR=yolox_tiny` changes this one's"
    ) in " ".join(run("status").output.split())


def test_status_says_on_what_the_model_runs(
    run: Run, alive: None, fake_backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "in service v0000, yolox_nano, not yet scored" in run("status").output, "an earlier backend's"
    fake_backend.device = "cpu"
    on_cpu = run("status")
    assert on_cpu.exit_code == 0 and "v0000, yolox_nano, on cpu, not yet scored" in on_cpu.output
    monkeypatch.setenv("ACCELERATOR", "cuda")
    env.get_settings.cache_clear()
    missing = run("status")
    words = " ".join(missing.output.split())
    assert missing.exit_code == 1
    assert "problem the model runs on the CPU, since torch finds no GPU where there should be one" in words
    fake_backend.device = "cuda:0"
    on_gpu = run("status")
    assert on_gpu.exit_code == 0 and "yolox_nano, on cuda:0" in on_gpu.output


def test_status_names_labels_the_model_does_not_know(run: Run, alive: None, fake_studio: FakeStudio) -> None:
    fake_studio.projects[1]["label_config"] = shapes.LABEL_CONFIG.replace('"crate"', '"face"')
    output = run("status").output
    assert "the model does not know face" in output
    assert "no label takes the model's crate (predicted_values takes them)" in output


def test_of_a_trained_version_nobody_is_told_to_use_predicted_values(
    run: Run, alive: None, fake_studio: FakeStudio, models: ProjectModels, tmp_path: Path
) -> None:
    models.promote(add_version(models, tmp_path / "trained", round_id=1))
    fake_studio.projects[1]["label_config"] = shapes.LABEL_CONFIG.replace(
        '"crate"', '"box" predicted_values="crate"'
    )
    output = run("status").output
    assert "the model does not know box" in output
    assert "no label takes the model's crate" in output and "predicted_values" not in output


def test_status_tells_of_scheduled_backups_that_fail(
    run: Run, alive: None, loop_settings: TrainerSettings
) -> None:
    said = loop_settings.volumes_dir / "backups" / "status" / "schedule.json"
    well = {"every_hours": 24, "last": None, "error": None, "since": None}
    write_text(said, json.dumps(well))
    assert run("status").exit_code == 0
    write_text(said, json.dumps({**well, "error": "the disk is full", "since": "2026-01-01T00:00:00Z"}))
    result = run("status")
    assert result.exit_code == 1
    assert "scheduled backups fail since 2026-01-01 00:00 UTC: the disk is full" in result.output


@pytest.mark.parametrize("broken", ["studio", "backend", "worker", "version"])
def test_status_fails_when_something_is_wrong(
    broken: str,
    run: Run,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    loop_settings: TrainerSettings,
    request: pytest.FixtureRequest,
) -> None:
    if broken != "worker":
        request.getfixturevalue("alive")
    fake_studio.down, fake_backend.down = broken == "studio", broken == "backend"
    if broken == "version":
        fake_backend.version = "v0007"
    result = run("status")
    assert result.exit_code == 1
    expected = {
        "studio": "503",
        "backend": "down for a test",
        "worker": "the worker has not started yet",
        "version": "the backend serves v0007; in service should be v0000",
    }
    assert expected[broken] in result.output


def test_a_projects_trouble_stands_under_it_and_the_services_are_well(
    run: Run, loop_settings: TrainerSettings, fake_studio: FakeStudio
) -> None:
    fake_studio.add_project(2)
    told = {"2": {"starting models": "the starting model could not be written: no weights"}}
    heartbeat.beat(loop_settings.rounds_dir, {"1": "v0000", "2": None}, {}, told)
    result = run("status")
    assert result.exit_code == 1
    services, first, second = result.output.split("\nProject ")
    assert "NOT WELL" not in services and "no weights" not in services + first
    assert "problem    the starting model could not be written: no weights" in second


def test_a_report_says_where_it_is(run: Run, loop_settings: TrainerSettings) -> None:
    result = run("report", "--file", "june.html")
    assert result.exit_code == 0 and "Report in volumes/rounds/reports/june.html" in result.output
    assert "project 1" in (loop_settings.rounds_dir / "reports" / "june.html").read_text()
    refused = run("report", "--file", "../june.html")
    assert refused.exit_code == 1 and "needed one such as june.html" in refused.stderr


def test_status_names_the_projects_that_are_left_alone(
    run: Run, alive: None, fake_studio: FakeStudio
) -> None:
    fake_studio.add_project(2, '<View><Text name="t" value="$t"/></View>')
    fake_studio.add_project(3)
    fake_studio.add_project(4, shapes.LABEL_CONFIG.replace('value="$image"', 'valueList="$images"'))
    said = " ".join(run("status").output.split())
    assert "Project 1" in said and "Project 3" in said and "Project 2" not in said
    assert "Left alone: 2 (project 2): the label config, line 1: no <RectangleLabels>: write " in said
    assert (
        "Left alone: 4 (project 4): the label config, line 2: <Image valueList='$images'> shows sev" in said
    )


def test_status_names_images_without_boxes_and_their_project(
    run: Run, alive: None, fake_studio: FakeStudio, loop_settings: TrainerSettings
) -> None:
    task = fake_studio.add_task()
    failed = Unpredicted(loop_settings.rounds_dir, 1)
    failed.add(task, "http://away/[1].jpg", "answered 503")
    failed.save()
    said = run("status").output
    assert "the model could not look at 1 image, see below" in said and "has yet to look" not in said
    assert "Project 1: The model could not look at 1 image" in said
    assert "task 1, http://away/[1].jpg: answered 503" in said


def test_status_tells_whose_predictions_are_shown(
    run: Run, alive: None, fake_studio: FakeStudio, studio: Studio
) -> None:
    fake_studio.projects[1]["label_config"] = shapes.LABEL_CONFIG.replace("ball", "x").replace("crate", "y")
    task = fake_studio.add_task()
    fake_studio.predictions.append({"id": 1, "task": task, "model_version": "yolo-old", "result": []})
    fake_studio.projects[1]["model_version"] = "yolo-old"
    assert "yolo-old, for v0000 knows none of the project's labels yet" in run("status").output
    fake_studio.projects[1]["label_config"] = shapes.LABEL_CONFIG
    assert "yolo-old" not in run("status").output, "it is about to change"
    fake_studio.projects[1]["model_version_chosen"] = True
    assert "yolo-old, which somebody chose in Label Studio, and not v0000" in run("status").output


def test_status_tells_who_has_a_backend_of_its_own(run: Run, alive: None, fake_studio: FakeStudio) -> None:
    fake_studio.add_project(2)
    fake_studio.backends = [{"project": 2, "url": "http://theirs:9090", "title": "theirs"}]
    result = run("status")
    assert result.exit_code == 0
    assert "project 2 has an ML backend of its own (http://theirs:9090) and is left alone" in result.output


def test_status_counts_down_to_no_round_before_there_is_a_model(
    run: Run, alive: None, fake_studio: FakeStudio, models: ProjectModels
) -> None:
    """The model decides: the first round of one that knows the labels waits for more of them."""
    assert "by itself after 5 more labelled images" in run("status").output
    fake_studio.add_project(2)
    _, _, second = run("status").output.partition("Project 2")
    assert "not now. Wait for the starting model" in second and "by itself" not in second


def test_status_names_models_whose_project_is_gone(run: Run, alive: None, fake_studio: FakeStudio) -> None:
    fake_studio.add_project(2)
    del fake_studio.projects[1]
    assert "Models without a project: volumes/models/1, 0.0 MB" in run("status").output


def test_status_says_that_objects_are_too_small_for_the_network(
    run: Run, alive: None, loop_settings: TrainerSettings
) -> None:
    rounds = Rounds(loop_settings.rounds_dir)
    round_, _ = rounds.request(1, "a test")
    small = {"look": 352, "boxes": 200, "small": 150, "typical_px": 3.5}
    job = {
        "project_id": 1,
        "detector": "yolox_nano",
        "why": "",
        "parent": None,
        "start": "",
        "start_weights": "",
        "start_classes": [],
        "iterations": 1,
        "threads": 1,
        "accelerator": "cpu",
    }
    folder = rounds.folder(round_.id)
    folder.mkdir(parents=True)
    for found, said in ((small, True), (small | {"small": 5}, False), (None, False)):
        write_text(folder / "job.json", json.dumps({**job, "small_objects": found}))
        words = " ".join(run("status").output.split())
        assert ("150 of 200 boxes are less than 8 px a side to the network" in words) == said
