"""When a round starts by itself."""

import json
import shutil
from pathlib import Path

import pytest
from support.fake_studio import FakeStudio, add_labelled
from support.versions import add_version
from support.worker_bench import WorkerBench

from labelloop.registry import ProjectModels, Registry
from trainer.peers.projects import SIMULATED, fetch
from trainer.rounds.table import State
from trainer.worker import preflight


@pytest.mark.parametrize("labelled, requested", [(2, False), (3, True)])
def test_enough_new_labels_make_a_round(
    labelled: int, requested: bool, bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    for _ in range(labelled):
        fake_studio.add_task(annotations=1)
    for _ in range(5):
        fake_studio.add_task()
    bench.worker.look_around()
    assert (bench.rounds.open_round(1) is not None) == requested


@pytest.mark.parametrize(("labels", "first"), [(("ball",), 5), (("tree",), 3)])
def test_the_first_round_comes_early_and_earlier_where_nothing_is_known_yet(
    labels: tuple[str, ...], first: int, bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    bench.settings.retrain_every, bench.settings.holdout_percent = 50, 20
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    fake_studio.projects[1]["label_config"] = (
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="label" toName="image">{tags}</RectangleLabels></View>'
    )
    for _ in range(first - 1):
        fake_studio.add_task(annotations=1)
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is None
    fake_studio.add_task(annotations=1)
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is not None


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
def test_labels_count_from_the_last_round_whatever_became_of_it(
    end: State, bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    for _ in range(3):
        fake_studio.add_task(annotations=1)
    bench.worker.look_around()
    round_ = bench.rounds.open_rounds()[0]
    bench.rounds.move(round_.id, end)
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is None
    for _ in range(3):
        fake_studio.add_task(annotations=1)
    bench.worker.look_around()
    second = bench.rounds.open_round(1)
    assert second is not None
    assert round_.asked_for_by == "the first 3 labelled images (automatic)"
    assert second.asked_for_by == "3 new labelled images since the last round (automatic)"


def test_deleted_labels_do_not_put_off_the_next_round(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    round_, _ = bench.rounds.request(1, "test")
    bench.rounds.move(round_.id, State.FAILED, labelled=100)
    bench.worker.look_around()
    for _ in range(3):
        fake_studio.add_task(annotations=1)
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is not None


def test_zero_turns_it_off(bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio) -> None:
    bench.settings.retrain_every = 0
    for _ in range(9):
        fake_studio.add_task(annotations=1)
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is None


def test_a_simulation_asks_for_its_rounds_itself(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    fake_studio.projects[1]["description"] = SIMULATED
    for _ in range(9):
        fake_studio.add_task(annotations=1)
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is None


def test_each_project_has_its_own_due_round(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, tmp_path: Path
) -> None:
    fake_studio.add_project(2)
    second = Registry(bench.settings.models_dir).project(2)
    second.promote(add_version(second, tmp_path / "second"))
    for _ in range(bench.settings.retrain_every):
        fake_studio.add_task(2, annotations=1)
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is None
    assert bench.rounds.open_round(2) is not None


def test_a_round_that_is_due_but_cannot_work_waits_and_is_told_once(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, caplog: pytest.LogCaptureFixture
) -> None:
    bench.settings.holdout_min, bench.settings.holdout_percent = 5, 20
    add_labelled(fake_studio, 3)
    for _ in range(3):
        bench.worker.look_around()
    assert bench.rounds.open_round(1) is None
    assert caplog.text.count("a round is due, but cannot work: Label 22 more images first.") == 1
    for _ in range(2):
        add_labelled(fake_studio, 1)
        bench.worker.look_around()
    assert caplog.text.count("a round is due, but cannot work") == 1, "nor at each label"
    add_labelled(fake_studio, 20)
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is not None


def test_empty_annotations_alone_start_no_round(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, caplog: pytest.LogCaptureFixture
) -> None:
    for task in add_labelled(fake_studio, 3):
        fake_studio.tasks[task]["annotations"] = [{"id": task, "was_cancelled": False, "result": []}]
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is None
    assert "none of the 3 labelled images has one, so there is nothing to learn" in caplog.text
    add_labelled(fake_studio, 1)
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is not None


def test_a_full_disk_starts_no_round(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_labelled(fake_studio, 3)
    free = shutil._ntuple_diskusage(10**12, 10**12, 40_000_000)
    with monkeypatch.context() as patch:
        patch.setattr(preflight.shutil, "disk_usage", lambda folder: free)
        bench.worker.look_around()
        assert bench.rounds.open_round(1) is None
    bench.worker.look_around()
    assert bench.rounds.open_round(1) is not None


@pytest.mark.parametrize(("held_out", "refused"), [(4, True), (5, False)])
def test_few_labels_are_enough_where_the_hold_out_is_known_to_be_large(
    held_out: int, refused: bool, bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    """As of a film's frames, once the label config was changed: no snapshot has counted them since."""
    bench.settings.holdout_min, bench.settings.holdout_percent = 5, 20
    add_labelled(fake_studio, 20)
    project = fetch(bench.studio, 1)
    looks = preflight.Preflight(bench.settings, bench.studio, Registry(bench.settings.models_dir))
    assert "Label 5 more images first." in (looks.why_not(project, 20) or "")
    sides = {f"{number:064x}": "holdout" if number < held_out else "train" for number in range(20)}
    (models.path / "split.json").write_text(json.dumps({"sides": sides}))
    assert ("Label 5 more images first." in (looks.why_not(project, 20) or "")) is refused
