"""Real training processes, a few iterations long, on images that the test makes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.shapes import LABEL_CONFIG, picture
from support.snapshot_images import of_picture

from labelloop.detector import Detector, load_detector_config
from labelloop.registry import Registry
from labelloop.settings import Settings
from trainer.dataset.labelled import LabelledImages
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.judging import scoring
from trainer.judging.evaluate import evaluate
from trainer.judging.gate import decide
from trainer.judging.standing import standing
from trainer.rounds.metrics import Metrics
from trainer.rounds.table import Rounds, State
from trainer.training import auto, speed
from trainer.training.fit import new_model
from trainer.training.plan import write_job
from trainer.training.process import (
    TrainingCancelled,
    TrainingFailed,
    TrainingKilled,
    candidate_folder,
    run,
)
from trainer.training.recipe import fit_model
from trainer.training.starting import write_starting_model

CONFIGS = Path(__file__).parents[3] / "configs"
ITERATIONS = 6


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with random YOLOX-nano weights in its cache, and project 1's starting model made of them."""
    home = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patched:
        settings = settings_of(home, patched)
        (home / "configs").symlink_to(CONFIGS)
        cache = settings.cache_dir / "weights"
        cache.mkdir(parents=True)
        config = load_detector_config("yolox_nano", settings)
        fit_model(config, [""] * 80)
        torch.manual_seed(0)
        torch.save(new_model(config).state_dict(), cache / "yolox_nano.pth")
        write_starting_model(1, settings)
    return home


@pytest.fixture
def settings(tmp_path: Path, begun: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a home like `begun`; the training process reads the environment too."""
    shutil.copytree(begun, tmp_path, symlinks=True, dirs_exist_ok=True)
    return settings_of(tmp_path, monkeypatch)


def settings_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    values = {
        "LABELLOOP_HOME": str(home),
        "ITERATIONS": str(ITERATIONS),
        "THREADS": "1",
        "DETECTOR": "yolox_nano",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_a_real_process_measures_how_fast_a_detector_trains(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says of another detector, which has no config, comes after that."""
    monkeypatch.setattr(speed, "BUDGET_S", 300.0)
    found = dict(speed.measuring(["yolox_nano", "yolov99"], settings))
    nano = found["yolox_nano"]
    assert isinstance(nano, speed.Measured) and nano.iterations == 220
    assert 0.01 < nano.iteration_s < 60 and 0.5 < nano.ready_s < 120 and 0.8 < nano.memory_gb < 4
    assert found["yolov99"] == "measuring it was ended by an error (exit status 1)"
    assert auto.foresee("yolox_nano", nano, settings, 64.0).fits(settings), "of ITERATIONS=6"


@pytest.fixture
def snapshot(settings: Settings) -> Snapshot:
    """Eight pictures with boxes and a negative to train on, three held out."""
    images = []
    settings.images_dir.mkdir(parents=True)
    for number in range(1, 13):
        made = picture(number)
        path = settings.images_dir / f"{number}.png"
        made.image.save(path)
        side = Side.HOLDOUT if number > 9 else Side.TRAIN
        images.append(of_picture(number, made, path, settings.labelloop_home, side, boxes=number != 9))
    return Snapshot(1, LABEL_CONFIG, LabelledImages(images), (), ())


@pytest.fixture
def round_dir(settings: Settings, snapshot: Snapshot) -> Path:
    """A round that has its snapshot and its job."""
    folder = settings.rounds_dir / "00001"
    folder.mkdir(parents=True)
    snapshot.write(folder)
    write_job(folder, settings, 1, snapshot)
    return folder


def change_job(round_dir: Path, **values: object) -> None:
    path = round_dir / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def never() -> bool:
    return False


def iterations_of(round_dir: Path) -> list[int]:
    return [json.loads(line)["iter"] for line in (round_dir / "metrics.jsonl").read_text().splitlines()]


def test_a_round_trains_evaluates_and_is_judged(
    settings: Settings, snapshot: Snapshot, round_dir: Path
) -> None:
    seen: list[Metrics] = []
    run(round_dir, seen.append, never)
    assert iterations_of(round_dir) == list(range(1, ITERATIONS + 1))
    assert seen[-1].iteration == ITERATIONS and seen[-1].fraction == 1 and seen[-1].eta == 0
    assert {"loss", "loss_cls", "loss_bbox", "loss_obj"} <= seen[-1].losses.keys()
    last = json.loads((round_dir / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 < last["waited"] < last["seconds"]

    detector = Detector.load(candidate_folder(round_dir), "cpu")
    assert detector.classes == ("ball", "crate") and detector.card is not None
    assert detector.card.dataset_fingerprint == snapshot.fingerprint
    assert (detector.card.images, detector.card.boxes) == (9, sum(len(i.labels) for i in snapshot.train))
    assert sum(detector.card.boxes_by_class.values()) == detector.card.boxes
    assert list(detector.card.boxes_by_class) == detector.card.classes
    assert str(settings.labelloop_home) not in (candidate_folder(round_dir) / "config.py").read_text()
    folders = Registry(settings.models_dir).project(1).folder("v0000"), candidate_folder(round_dir)
    start, trained = (torch.load(folder / "weights.pth", weights_only=True) for folder in folders)
    assert not torch.equal(start["backbone.stem.conv.conv.weight"], trained["backbone.stem.conv.conv.weight"])

    def say(fraction: float, words: str) -> None:
        assert 0 <= fraction <= 1 and words

    champion = evaluate(Registry(settings.models_dir).project(1).folder("v0000"), snapshot, settings, say)
    candidate = evaluate(candidate_folder(round_dir), snapshot, settings, say)
    assert candidate.images == champion.images == 3 and not champion.knows_labels
    assert decide(candidate, champion, champion.knows_labels, settings).promote

    done = (round_dir / "metrics.jsonl").stat().st_mtime_ns
    run(round_dir, seen.append, never)
    assert (round_dir / "metrics.jsonl").stat().st_mtime_ns == done, (
        "a complete candidate is not trained again"
    )

    rounds, models = Rounds(settings.rounds_dir), Registry(settings.models_dir).project(1)
    refused, _ = rounds.request(1, "a test")
    round_dir.rename(rounds.folder(refused.id))
    for state in (State.SNAPSHOTTING, State.TRAINING, State.EVALUATING, State.KEPT):
        rounds.move(refused.id, state)
    assert scoring.score_all(models, rounds, 1, scoring.judge_with(settings)) == 2
    start_stand, candidate_stand = standing(models, rounds, 1).stands
    assert start_stand.name == "v0000" and start_stand.why == "it knows none of the labels (ball, crate)"
    assert candidate_stand.mAP == pytest.approx(candidate.mAP, abs=0.001)


def test_after_kill_9_training_goes_on_from_its_last_checkpoint(settings: Settings, round_dir: Path) -> None:
    change_job(round_dir, iterations=40, checkpoint_every_s=0.0)
    killed: list[int] = []

    def kill_at_five(metrics: Metrics) -> None:
        if metrics.iteration >= 5 and not killed:
            (pid,) = children_training(round_dir)
            killed.append(metrics.iteration)
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(TrainingKilled, match="SIGKILL"):
        run(round_dir, kill_at_five, never)
    assert killed and not candidate_folder(round_dir).exists()
    before = iterations_of(round_dir)
    change_job(round_dir, iterations=max(before) + 4)
    run(round_dir, lambda metrics: None, never)
    again = iterations_of(round_dir)[len(before) :]
    # An iteration's line of metrics is written before its checkpoint, and the kill may come in between.
    assert again[0] in (before[-1], before[-1] + 1), (
        "at most the iteration whose checkpoint was being written is repeated"
    )
    assert again[-1] == max(before) + 4 and candidate_folder(round_dir).is_dir()


def children_training(round_dir: Path) -> list[int]:
    """Processes whose command line is the training of this folder."""
    wanted = [b"trainer.training.process", os.fsencode(round_dir)]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if arguments[2:4] == wanted:
                found.append(int(entry.name))
    return found


def test_training_ends_with_the_process_that_started_it(settings: Settings, round_dir: Path) -> None:
    change_job(round_dir, iterations=10_000)
    code = "import sys; from pathlib import Path; from trainer.training.process import run; "
    code += "run(Path(sys.argv[1]), print, lambda: False)"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(round_dir)], env=os.environ | {"PYTHONPATH": path}
    )
    wait_until(lambda: len(children_training(round_dir)) == 1)
    wait_until((round_dir / "metrics.jsonl").exists)
    starter.kill()
    starter.wait()
    wait_until(lambda: children_training(round_dir) == [])


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_checkpoint_that_cannot_be_read_is_dropped(settings: Settings, round_dir: Path) -> None:
    (round_dir / "last.pth").write_bytes(b"half a checkpo")
    run(round_dir, lambda metrics: None, never)
    assert iterations_of(round_dir)[0] == 1 and candidate_folder(round_dir).is_dir()
    assert "starting anew" in (round_dir / "log.txt").read_text()


def test_cancelling_stops_training_and_leaves_no_candidate(settings: Settings, round_dir: Path) -> None:
    change_job(round_dir, iterations=10_000)
    asked = threading.Event()
    asked_at: list[float] = []

    def cancel_at_two(metrics: Metrics) -> None:
        if metrics.iteration >= 2:
            asked_at.append(time.monotonic())
            asked.set()

    with pytest.raises(TrainingCancelled, match="cancelled at iteration"):
        run(round_dir, cancel_at_two, asked.is_set)
    assert time.monotonic() - asked_at[0] < 120
    assert not candidate_folder(round_dir).exists() and children_training(round_dir) == []


def test_an_image_that_went_away_is_done_without(
    settings: Settings, snapshot: Snapshot, round_dir: Path
) -> None:
    for image in list(snapshot.train)[:4]:
        (settings.labelloop_home / image.file).unlink()
    run(round_dir, lambda metrics: None, never)
    assert candidate_folder(round_dir).is_dir()


def test_a_failure_gives_its_reason_in_one_line(
    settings: Settings, snapshot: Snapshot, round_dir: Path
) -> None:
    for image in snapshot.train:
        (settings.labelloop_home / image.file).write_bytes(b"")
    with pytest.raises(
        TrainingFailed, match="none of the 9 training images can be read: .*the file is empty"
    ):
        run(round_dir, lambda metrics: None, never)


def test_training_that_diverges_fails_and_says_what_to_change(settings: Settings, round_dir: Path) -> None:
    job = json.loads((round_dir / "job.json").read_text())
    state = torch.load(settings.labelloop_home / job["start_weights"], weights_only=True)
    state["backbone.stem.conv.conv.weight"][:] = float("nan")
    torch.save(state, round_dir / "broken.pth")
    change_job(round_dir, start_weights=str(round_dir / "broken.pth"))
    with pytest.raises(TrainingFailed, match="training diverged.*lower optimizer.lr"):
        run(round_dir, lambda metrics: None, never)


def test_training_goes_on_from_the_champion_while_the_classes_stay_the_same(
    settings: Settings, snapshot: Snapshot, round_dir: Path
) -> None:
    run(round_dir, lambda metrics: None, never)
    candidate = candidate_folder(round_dir)
    models = Registry(settings.models_dir).project(1)
    card = Detector.load(candidate, "cpu").card
    assert card is not None
    version = models.write(card, (candidate / "config.py").read_text(), candidate / "weights.pth")
    models.promote(version)

    second = settings.rounds_dir / "00002"
    second.mkdir()
    job = write_job(second, settings, 1, snapshot)
    assert job.parent == job.start == version and job.start_classes == ["ball", "crate"]
    third = settings.rounds_dir / "00003"
    third.mkdir()
    renamed = replace(snapshot, label_config_xml=LABEL_CONFIG.replace("crate", "box"))
    job = write_job(third, settings, 1, renamed)
    assert job.parent is None and len(job.start_classes) == 80 and "v0000" in job.start
    assert write_job(second, settings, 1, renamed).parent == version, "a folder that has a job keeps it"
