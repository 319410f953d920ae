"""The first page and its buttons: what is shown is what API and files hold; each button says what it did."""

import json
from datetime import datetime
from html import unescape
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.dashboard import EMAIL, log_in, press, words
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio, add_labelled
from support.made_speeds import write_speeds
from support.shapes import LABEL_CONFIG
from support.versions import add_version

from labelloop.card import REFITTED
from labelloop.registry import Card, ProjectModels
from trainer.dashboard.loop import WatchedLoop
from trainer.rounds import heartbeat
from trainer.rounds.table import State

CONFIGS = Path(__file__).parents[4] / "configs"


def write_metrics(folder: Path, rows: int, planned: int = 100) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"iter": n, "iterations": planned, "loss": 10.0 / n}) for n in range(1, rows + 1)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"iter": 9')


def test_before_any_label(client: TestClient) -> None:
    page = words(client.get("/").text)
    for said in ("labelstudio well", "mlbackend well", "trainer well", "v0000", "None yet. A round trains"):
        assert said in page


def test_counts_are_label_studios(client: TestClient, fake_studio: FakeStudio) -> None:
    for annotations in (0, 0, 0, 1, 1):
        fake_studio.add_task(annotations=annotations)
    page = words(client.get("/").text)
    assert "All 5 Labelled 2 Not labelled yet, or skipped 3 Of these, the model has yet to look at 3" in page


def test_what_is_wrong_is_said(
    client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    fake_backend.down = fake_studio.down = True
    heartbeat.beat(loop.settings.rounds_dir, {"1": "v0000"}, {"import": "<disk> is full"})
    page = client.get("/").text
    assert "mlbackend</strong> not well: " in page and "labelstudio</strong> not well: " in page
    assert "&lt;disk&gt; is full" in page
    assert "project 1" not in page  # a single project needs no switch
    assert "Label Studio does not say how many." in page


def test_times_are_for_every_zone_and_who_asked_is_told_in_words(
    client: TestClient, loop: WatchedLoop
) -> None:
    """dashboard.js shows a <time> in the reader's zone. Without it the text says UTC."""
    round_, _ = loop.rounds.request(1, "RETRAIN_EVERY=50")
    loop.rounds.record(round_.id, requested_at="2026-11-22T21:15:30.123+00:00")
    page = client.get("/").text
    assert '<time datetime="2026-11-22T21:15:30Z">2026-11-22 21:15 UTC</time>' in page
    assert "Why it began enough new labelled images (automatic)" in words(page)
    assert "RETRAIN_EVERY" not in page


def test_a_log_says_the_zone_of_its_times(client: TestClient, loop: WatchedLoop) -> None:
    round_, _ = loop.rounds.request(1, "a test")
    loop.rounds.folder(round_.id).mkdir()
    (loop.rounds.folder(round_.id) / "log.txt").write_text("2026-11-22 20:00:00,123 - mmdet - INFO\n")
    zone = datetime.now().astimezone().tzname()
    assert f"The end of its log (times in {zone})" in words(client.get("/").text)


def test_an_open_round_is_followed(client: TestClient, loop: WatchedLoop) -> None:
    round_, _ = loop.rounds.request(1, "a test")
    loop.rounds.move(round_.id, State.SNAPSHOTTING, labelled=12)
    loop.rounds.move(round_.id, State.TRAINING)
    loop.rounds.progress(round_.id, 0.37, "iteration 37 of 100; loss 0.270", 95.0)
    folder = loop.rounds.folder(round_.id)
    write_metrics(folder, 37)
    (folder / "log.txt").write_text("".join(f"line {n} <b>\n" for n in range(100)))
    part = client.get("/live?project=1").text
    said = words(part)
    assert "Round 1: training" in said
    assert "2/3 training, 37%, 1:35 min left" in said
    assert "iteration 37 of 100; loss 0.270" in said
    assert "after 37 of 100 iterations" in part
    assert "line 99 &lt;b&gt;" in part and "line 60" in part and "line 59" not in part
    assert "<html" not in part


def test_the_loss_curve_is_drawn_in_both_themes(client: TestClient, loop: WatchedLoop) -> None:
    loop.rounds.request(1, "a test")
    write_metrics(loop.rounds.folder(1), 37)
    drawn = {}
    for theme in ("light", "dark", "nonsense"):
        answer = client.get(f"/rounds/1/loss.svg?project=1&theme={theme}")
        assert answer.headers["Content-Type"] == "image/svg+xml"
        assert "<script" not in answer.text and "iteration" in answer.text
        drawn[theme] = answer.text
    assert drawn["light"] != drawn["dark"]
    assert drawn["nonsense"] == drawn["light"]
    assert client.get("/rounds/9/loss.svg").status_code == 404


def test_a_round_taken_up_again_has_one_loss_an_iteration(client: TestClient, loop: WatchedLoop) -> None:
    loop.rounds.request(1, "a test")
    folder = loop.rounds.folder(1)
    folder.mkdir(parents=True)
    rows = [(1, 5.0), (2, 4.0), (3, 3.0), (2, 4.5), (3, 3.5)]
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps({"iter": n, "iterations": 3, "loss": loss}) + "\n" for n, loss in rows)
    )
    assert "1 5.000 2 4.750 3 4.333" in words(client.get("/live").text)


def test_a_failed_round_says_why(client: TestClient, loop: WatchedLoop) -> None:
    loop.rounds.request(1, "a test")
    loop.rounds.move(1, State.FAILED, error="no image <can> be read")
    page = client.get("/").text
    assert "Round 1: failed" in page
    assert "no image &lt;can&gt; be read" in page


def test_each_project_has_its_page(
    client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio, tmp_path: Path
) -> None:
    fake_studio.add_project(2, LABEL_CONFIG.replace("ball", "Bär 🐻"))["title"] = "Bären & 熊"
    add_version(loop.models(2), tmp_path / "two")
    loop.models(2).promote("v0000")
    loop.models(2).promote(add_version(loop.models(2), tmp_path / "two"))
    loop.forget_status()
    page = client.get("/?project=2").text
    assert '<option value="2" selected>Bären &amp; 熊 (2)</option>' in page
    assert '<dd id="champion">v0001</dd>' in page
    assert '<dd id="champion">v0000</dd>' in client.get("/?project=1").text
    assert "Bär 🐻" in page
    add_labelled(fake_studio, 25, project=2)
    assert "Round 1 requested" in press(client, "retrain", project=2)
    assert loop.rounds.get(1).project == 2


@pytest.mark.parametrize("query, status", [("9", 404), ("x", 400), ("-1", 404), ("1%00", 400), ("", 400)])
def test_a_project_that_is_not_there(client: TestClient, query: str, status: int) -> None:
    assert client.get(f"/?project={query}").status_code == status


def test_a_project_that_cannot_be_served_is_named_with_the_line_to_change(
    client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio
) -> None:
    fake_studio.add_project(2, LABEL_CONFIG.replace('value="$image"', 'valueList="$images"'))
    loop.forget_status()
    page = unescape(words(client.get("/").text))
    told = "2 (project 2): the label config, line 2: <Image valueList='$images'> shows several images"
    assert f"1 project the loop leaves alone {told}" in page
    assert 'make a task of each image and write value="$image"' in page


def test_without_any_project(client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio) -> None:
    fake_studio.projects.clear()
    for path in loop.settings.models_dir.iterdir():
        path.rename(loop.settings.models_dir / ".gone")
    page = client.get("/")
    assert page.status_code == 200
    assert "There is no project in which boxes are drawn yet." in words(page.text)
    assert client.get("/live").status_code == 200
    assert client.get("/do/retrain").status_code == 404


def test_looking_at_a_button_changes_nothing(client: TestClient, loop: WatchedLoop) -> None:
    for name in ("retrain", "cancel", "predict", "rollback"):
        assert client.get(f"/do/{name}?project=1").status_code == 200
    assert client.get("/do/nothing").status_code == 404
    assert loop.rounds.history(1) == []


LOG = """\
/opt/venv/lib/python3.11/site-packages/mmcv/__init__.py:20: UserWarning: On January 1, 2023, MMCV will
  warnings.warn(
W1129 00:08:14.634000 23355 .venv/ml/lib/torch/utils/cpp_extension.py:178] No CUDA runtime is found
The head starts with ball, crate from classes of the weights
2026-11-28 23:45:56,458 - mmdet - INFO - Hooks will be executed in the following order:
before_run:
(VERY_HIGH   ) CosineAnnealingLrUpdaterHook       
(NORMAL      ) MetricsHook                        
 -------------------- 
2026-11-28 23:45:56,459 - mmdet - INFO - workflow: [('train', 1)], max: 180 iters
2026-11-28 23:45:57,459 - mmdet - INFO - resumed at iteration 40
Traceback (most recent call last):
  File "/opt/venv/trainer/training/learn.py", line 80, in learn
    train_detector(model)
KeyError: 'bbox_head'
"""


@pytest.mark.parametrize("state", [State.TRAINING, State.FAILED])
def test_the_log_is_folded_unless_the_round_failed_and_says_what_a_person_can_use(
    state: State, client: TestClient, loop: WatchedLoop
) -> None:
    loop.rounds.request(1, "a test")
    loop.rounds.move(1, State.SNAPSHOTTING)
    loop.rounds.move(1, State.TRAINING)
    if state is State.FAILED:
        loop.rounds.move(1, State.FAILED, error="a fault")
    folder = loop.rounds.folder(1)
    folder.mkdir()
    (folder / "log.txt").write_text(LOG)
    page = unescape(client.get("/live?project=1").text)
    log = page[page.index('<section id="log">') :]
    assert ("<details open>" in log) is (state is State.FAILED)
    assert log[log.index("<pre") : log.index("</pre>")].partition(">")[2].splitlines() == [
        "The head starts with ball, crate from classes of the weights",
        "2026-11-28 23:45:57,459 - mmdet - INFO - resumed at iteration 40",
        "KeyError: 'bbox_head'",
    ]
    assert "volumes/rounds/00001/log.txt" in log
    assert page.index('id="round"') < page.index('id="model"') < page.index('id="log"')


def test_no_time_is_told_before_it_was_measured(client: TestClient, loop: WatchedLoop) -> None:
    loop.rounds.request(1, "a test")
    loop.rounds.move(1, State.SNAPSHOTTING)
    loop.rounds.move(1, State.TRAINING)
    loop.rounds.progress(1, 0.01, "iteration 1 of 300", None)
    assert "2/3 training, 1%, measuring the time left" in words(client.get("/live?project=1").text)


def test_retrain_then_join(client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio) -> None:
    add_labelled(fake_studio, 25)
    assert "Round 1 requested." in press(client, "retrain")
    assert loop.rounds.get(1).requested_by == f"dashboard, {EMAIL}"
    assert "Round 1 is open already (requested)" in press(client, "retrain")
    assert "open already" not in client.get("/").text  # said once


def test_retrain_without_a_worker(client: TestClient, loop: WatchedLoop) -> None:
    (loop.settings.rounds_dir / "worker.json").unlink()
    assert "the trainer does not run: the worker has not started yet" in press(client, "retrain")
    assert loop.rounds.history(1) == []


def test_cancel(client: TestClient, loop: WatchedLoop) -> None:
    assert "No round is open" in press(client, "cancel")
    loop.rounds.request(1, "a test")
    assert "Round 1 cancelled before it began." in press(client, "cancel")
    loop.rounds.request(1, "a test")
    loop.rounds.move(2, State.SNAPSHOTTING)
    assert "Round 2 is asked to stop" in press(client, "cancel")
    assert loop.rounds.get(2).cancel_requested


def test_pre_label(
    client: TestClient, app: FastAPI, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    assert "v0000 has looked at every unlabelled image already." in press(client, "predict")
    tasks = [fake_studio.add_task() for _ in range(3)]
    assert "3 images get the boxes of v0000 now" in press(client, "predict")
    app.state.parts.pre_labelling.wait(10)
    assert all(fake_studio.versions_of(task) == ["v0000"] for task in tasks)
    assert "Of these, the model has yet to look at 0" in words(client.get("/").text)


def test_pre_label_says_what_went_wrong(
    client: TestClient, app: FastAPI, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    fake_studio.add_task()
    fake_backend.results_missing = 1
    press(client, "predict")
    app.state.parts.pre_labelling.wait(10)
    assert "0 results, 1 were asked for" in client.get("/").text


def test_images_without_boxes_are_named_until_they_are_read(
    client: TestClient, fake_studio: FakeStudio, fake_backend: FakeBackend, app: FastAPI
) -> None:
    fake_studio.add_task()
    fake_backend.unreadable = {1}
    for expected in ("Task 1 , images/2.jpg".replace("2", "1") + " : the file is empty", ""):
        press(client, "predict")
        app.state.parts.pre_labelling.wait(10)
        page = words(client.get("/").text)
        assert expected in page
        assert ("could not look at 1 image" in page) is bool(expected)
        fake_backend.unreadable = set()


def test_a_project_with_another_backend_is_taken_over_by_a_button(
    client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio
) -> None:
    add_labelled(fake_studio, 25)
    theirs = {"project": 1, "url": "http://theirs:9090", "title": "theirs"}
    fake_studio.backends = [theirs]
    page = client.get("/").text
    assert "has an ML backend of its own (http://theirs:9090) and is left alone" in page
    assert "/do/adopt" in page and "/do/retrain" not in page
    assert "is left alone" in press(client, "retrain"), "and no round is begun"
    assert loop.rounds.open_round(1) is None
    assert "Taken over." in press(client, "adopt")
    assert [row["url"] for row in fake_studio.backends] == [theirs["url"], loop.settings.mlbackend_url]
    page = client.get("/").text
    assert "left alone" not in page and "/do/adopt" not in page and "/do/retrain" in page


def test_a_choice_made_in_label_studio_is_told_and_taken_back_by_a_button(
    client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio
) -> None:
    fake_studio.add_task()
    fake_studio.predictions.append({"id": 1, "task": 1, "result": [], "score": 0, "model_version": "yolo"})
    loop.studio.update_project(1, model_version="yolo")
    page = client.get("/").text
    assert "yolo, which somebody chose in Label Studio, and not v0000" in page and "/do/adopt" in page
    assert "Taken over." in press(client, "adopt")
    assert not fake_studio.projects[1]["model_version_chosen"]
    assert fake_studio.projects[1]["model_version"] == "yolo", "until the model's boxes are there"
    choice = {"type": "choices", "from_name": "weather", "value": {"choices": ["fog"]}}
    fake_studio.predictions[0]["result"] = [choice]
    fake_studio.predictions.append({"id": 2, "task": 1, "result": [], "score": 0, "model_version": "v0000"})
    loop.forget_status()
    assert "yolo, which says more than v0000" in client.get("/").text
    press(client, "adopt")
    assert fake_studio.projects[1]["model_version"] == "v0000"


def test_roll_back(client: TestClient, models: ProjectModels, tmp_path: Path) -> None:
    models.promote(add_version(models, tmp_path / "next"))
    assert "v0000, yolox_nano" in client.get("/do/rollback").text
    said = press(client, "rollback", version="v0000")
    assert "In service: v0000, before: v0001." in said
    assert models.champion() == "v0000"
    assert "v0000 is in service already" in press(client, "rollback", version="v0000")


@pytest.mark.parametrize("version", ["", "v0009", "../../secret", "v0000/../v0000"])
def test_roll_back_to_nowhere(client: TestClient, models: ProjectModels, version: str) -> None:
    assert "Choose one of v0000" in press(client, "rollback", version=version)
    assert models.champion() == "v0000"


def test_roll_back_mends_a_damaged_pointer(client: TestClient, models: ProjectModels) -> None:
    (models.path / "champion").write_text("v0007\n")
    assert "which is no version here" in client.get("/").text
    assert "In service: v0000, before: none." in press(client, "rollback", version="v0000")


def test_links_lead_to_label_studios_public_address(client: TestClient, loop: WatchedLoop) -> None:
    assert 'href="http://testserver:8080' in client.get("/").text
    loop.settings.public_url = "https://labels.example"
    assert log_in(client) == 303, "its cookies are not sent here"
    page = client.get("/").text
    assert 'href="https://labels.example' in page and "testserver:8080" not in page


def test_what_was_learnt_at_once_is_said_beside_the_model(client: TestClient, models: ProjectModels) -> None:
    assert 'id="instant"' not in client.get("/").text
    card = Card(
        detector="yolox_nano",
        classes=["ball"],
        images=3,
        reason="on 2 images that neither had seen, correcting its boxes would have taken 9 s",
    )
    models.instant.serve(models.instant.write("v0000", card, b"weights"))
    page = words(client.get("/").text)
    assert "The next images have boxes of i0000.0001" in page
    assert "from 3 images upon v0000" in page and "correcting its boxes would have taken 9 s" in page
    assert "the backend serves" not in page


def test_what_shows_no_boxes_says_why(client: TestClient, models: ProjectModels) -> None:
    card = Card(detector="yolox_nano", classes=["ball"], images=3, score_thresholds={"ball": 1.0})
    models.instant.serve(models.instant.write("v0000", card, b"weights"))
    page = words(client.get("/").text)
    assert "The next images have no boxes, since those of i0000.0001 would cost more time than they" in page
    assert "it answers clicks alone: learnt at once from 3 images upon v0000" in page


def test_thresholds_that_have_moved_are_not_told_as_something_learnt(
    client: TestClient, models: ProjectModels
) -> None:
    reason = "v0000's own boxes, by thresholds that 8 images labelled since have moved"
    card = Card(detector="yolox_nano", classes=["ball"], verdict=REFITTED, reason=reason)
    models.instant.serve(models.instant.write("v0000", card, b"weights"))
    page = words(client.get("/").text)
    assert "boxes of i0000.0001 : v0000&#39;s own boxes, by thresholds that 8 images labelled since" in page
    assert "from 0 images" not in page


def test_how_long_rounds_take_here_is_said_beside_the_detector(
    client: TestClient, loop: WatchedLoop, models: ProjectModels
) -> None:
    loop.settings.detector = "auto"
    write_speeds(loop.settings, CONFIGS, {"yolox_nano": 0.3, "yolox_tiny": 4.0})
    said = words(client.get("/live?project=1").text)
    assert "On this machine, a round on 40 labelled images: yolox_nano takes about 1:41 min;" in said
    assert "yolox_tiny would take 20:11 min, more than ROUND_MINUTES=5" in said
