"""One simulated person from the first label to the last round; Label Studio and the worker are fakes."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_clicks import ClickBackend
from support.fake_labelling import LabellingStudio
from support.fake_worker import FakeWorker
from support.simulated import CONFIG, IMAGES, OPTIONS, FakeScorer, MakeRun

from labelloop.box_sizes import SIZES_FILE, SizesBook
from labelloop.boxes import Boxes
from labelloop.order import lot
from labelloop.regions import from_results, to_results
from trainer.judging.effort import Work
from trainer.peers.projects import Project
from trainer.simulate import clicks as clicking
from trainer.simulate import run as module
from trainer.simulate.dataset import Dataset
from trainer.simulate.errors import SimulationError
from trainer.simulate.models import Score
from trainer.simulate.options import Person
from trainer.simulate.project import LabellingProject
from trainer.simulate.run import Run, World
from trainer.simulate.signals import ended_like_ctrl_c
from trainer.training.process import TrainingFailed


def test_a_run_labels_trains_and_counts(
    make_run: MakeRun, labelling_studio: LabellingStudio, dataset: Dataset
) -> None:
    run = make_run(OPTIONS)
    steps = list(run.steps())
    assert [(step.labels, step.state, step.version, step.mAP) for step in steps] == [
        (0, "start", "v0000", 0.1),
        (2, "promoted", "v0001", 0.5),
        (4, "kept", "v0001", 0.5),
        (6, "kept", "v0001", 0.5),
    ]
    first, second = steps[1], steps[2]
    assert first.work == Work(drawn=first.boxes)
    assert first.seconds == first.by_hand_seconds == 7.0 * first.boxes
    assert second.work == Work(accepted=second.boxes)
    assert second.seconds == 0.5 * second.boxes
    assert [step.least_certain_first for step in steps] == [None, 1.0, 1.0, 1.0]
    assert run.figures is not None
    truths = sum(len(image.boxes) for image in dataset.train)
    assert run.figures.work.truths == truths
    assert (run.figures.one_round.labels, run.figures.one_round.work) == (4, Work(drawn=truths))


def test_what_lacks_is_clicked_where_the_stack_knows_clicks(
    make_run: MakeRun, clicks: ClickBackend, dataset: Dataset
) -> None:
    """The first click on an object gets two fifths of it, the next one all of it."""
    clicks.able, clicks.fetches = True, (0.4, 1.0)
    clicks.truth = {image.name: image.boxes for image in dataset.train}
    run = make_run(OPTIONS)
    steps = list(run.steps())
    first, second = steps[1], steps[2]
    assert first.boxes and first.work == Work(clicked=first.boxes, reclicked=first.boxes)
    assert (first.clicks_tried, first.clicks_right) == ((first.boxes,) * 2, (0, first.boxes))
    assert first.seconds == pytest.approx(first.boxes * (2 * 1.9 + 2 * 0.5))
    assert first.by_hand_seconds == 7.0 * first.boxes
    assert len(first.efforts) == 2 and sum((each.work for each in first.efforts), Work()) == first.work
    assert [row["work"]["clicked"] for row in first.as_row()["efforts"]] == [
        each.work.clicked for each in first.efforts
    ]
    assert second.work == Work(accepted=second.boxes)
    assert clicks.clicks[0] == (0, 0), "whether it knows clicks"
    assert [again for again, _ in clicks.clicks[1:]] == [0, 1] * first.boxes
    assert run.figures is not None
    assert run.figures.first_images.work == run.figures.work
    assert run.figures.as_row()["first_click_right"] == 0.0


def test_what_clicks_gave_is_remembered_over_rounds(
    make_run: MakeRun,
    clicks: ClickBackend,
    worker: FakeWorker,
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is proposed, no click fetches anything, and a single one in vain is enough for her. The round
    after the first batch is promoted, the next one is kept.
    """
    monkeypatch.setattr(clicking, "PRIOR_CLICKS", 1)
    monkeypatch.setattr(worker, "_truth", {image.name: Boxes.empty() for image in dataset.train})
    clicks.able, clicks.fetches = True, (0.1,)
    clicks.truth = {image.name: image.boxes for image in dataset.train}
    steps = list(make_run(OPTIONS).steps())
    assert [step.state for step in steps] == ["start", "promoted", "kept", "kept"]
    assert [step.clicks_tried for step in steps] == [(), (1, 1, 1), (1, 1, 1), ()]
    assert all(step.boxes for step in steps[1:])


def test_clicks_can_be_switched_off_and_older_stacks_have_none(
    make_run: MakeRun, clicks: ClickBackend
) -> None:
    (_, drawn) = make_run(replace(OPTIONS, schedule=("2",))).steps()
    clicks.able = True
    never = replace(OPTIONS, schedule=("2",), costs=Person(clicks=0))
    (_, too) = make_run(never).steps()
    assert drawn.work == too.work == Work(drawn=drawn.boxes)
    assert clicks.clicks == []


def test_a_promotion_that_the_test_images_call_wrong_is_told_with_when_it_was_undone(
    make_run: MakeRun, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """v0001 is worse than what it replaced; the former version comes back when the fourth image is there."""
    monkeypatch.setitem(FakeScorer.scores, "v0001", Score(0.05, 0.1, Work(drawn=10)))
    run = make_run(replace(OPTIONS, schedule=("2", "4")))
    submit, done = LabellingProject.submit, 0

    def and_go_back(project: LabellingProject, *given: Any) -> None:
        nonlocal done
        submit(project, *given)
        done += 1
        if done == 4:
            world.registry.project(project.id).promote("v0000")

    monkeypatch.setattr(LabellingProject, "submit", and_go_back)
    list(run.steps())
    assert run.figures is not None
    first = run.figures.as_row()["promotions"][0]
    assert first == {
        "version": "v0001",
        "former": "v0000",
        "labels": 2,
        "mAP": 0.05,
        "former_mAP": 0.1,
        "seconds": 70.0,
        "former_seconds": 63.0,
        "undone_at": 4,
        "wrong": True,
        "slower": True,
        "undone_soon": True,
    }


def test_without_rounds_images_are_labelled_and_no_more(make_run: MakeRun, worker: FakeWorker) -> None:
    run = make_run(replace(OPTIONS, schedule=("none",), budget=3))
    steps = list(run.steps())
    assert [(step.labels, step.state, step.version) for step in steps] == [
        (0, "start", "v0000"),
        (3, "labelled", "v0000"),
    ]
    assert worker.learning.calls == []
    assert run.figures is not None and run.figures.rounds == 0


def test_with_a_budget_random_order_has_no_task_that_is_never_opened_and_nobody_waits_for_boxes_in_the_end(
    world: World,
    dataset: Dataset,
    worker: FakeWorker,
    labelling_studio: LabellingStudio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    followed: list[int] = []
    wait = module.follow_predictions

    def counted(*given: Any) -> None:
        followed.append(len(labelling_studio.annotations))
        wait(*given)

    monkeypatch.setattr(module, "follow_predictions", counted)
    for order, tasks in (("random", 3), ("uncertainty", IMAGES)):
        labelling_studio.tasks.clear()
        labelling_studio.annotations.clear()
        options = replace(OPTIONS, schedule=("3",), budget=3, keep=True)
        list(Run(world, dataset, FakeScorer(), options, order, 0).steps())  # type: ignore[arg-type]
        assert (len(labelling_studio.annotations), len(labelling_studio.tasks)) == (3, tasks)
    assert followed == [0, 0]


def test_where_the_time_went_is_in_every_step(make_run: MakeRun) -> None:
    steps = list(make_run(OPTIONS).steps())
    assert {"starting model", "pre-labels", "scoring"} <= steps[0].spent.keys()
    assert {"next task", "clicks", "submit", "round", "scoring", "pre-labels"} == steps[1].spent.keys()
    assert steps[1].wall_seconds == pytest.approx(sum(steps[1].spent.values()))


def test_clicks_go_by_the_sizes_of_what_was_submitted(
    make_run: MakeRun, world: World, dataset: Dataset
) -> None:
    """The worker writes them down for all projects but these."""
    list(make_run(replace(OPTIONS, schedule=("none",), keep=True)).steps())
    known = SizesBook(world.registry.project(1).path / SIZES_FILE).by_label()
    truths = [image.boxes for image in dataset.train]
    for label, name in enumerate(CONFIG.names):
        sides = np.concatenate([(b.xyxy[:, 2:] - b.xyxy[:, :2])[b.labels == label] for b in truths]) / 320
        assert np.sort(known[name], axis=0) == pytest.approx(np.sort(sides, axis=0), abs=1e-4)


def test_what_is_learnt_at_once_is_on_the_next_but_one_image(
    make_run: MakeRun, labelling_studio: LabellingStudio, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It proposes the truth on every image that is not labelled, as soon as one is."""
    truth = {image.name: image.boxes for image in dataset.train}
    learnt_from: list[int] = []

    def learn() -> None:
        learnt_from.append(len(labelling_studio.annotations))
        labelling_studio.projects[1]["model_version"] = "i0000.0001"
        for task in labelling_studio.unlabelled(1):
            boxes = to_results(truth[Path(task["data"]["image"]).name], CONFIG, 320, 240)
            row = {"task": task["id"], "model_version": "i0000.0001", "score": 1 / task["id"]}
            labelling_studio.predictions.append({**row, "result": boxes})

    monkeypatch.setattr(module, "learner", lambda world, project_id: learn)
    run = make_run(replace(OPTIONS, schedule=("4",), at_once=40))
    (_, step) = run.steps()
    assert learnt_from == [1, 2, 3]
    assert step.work.drawn and step.work.accepted
    assert run.figures is not None and len(run.figures.learning_s) == 3
    assert [bool(effort.work.drawn) for effort in run.figures.efforts] == [True, True, False, False]
    (_, without) = make_run(replace(OPTIONS, schedule=("4",), at_once=0)).steps()
    assert without.work == Work(drawn=without.boxes) and len(learnt_from) == 3


def test_what_label_studio_holds_is_the_truth(
    make_run: MakeRun, labelling_studio: LabellingStudio, dataset: Dataset
) -> None:
    list(make_run(OPTIONS).steps())
    assert len(labelling_studio.annotations) == IMAGES
    tasks = [labelling_studio.tasks[number]["data"] for number in sorted(labelling_studio.tasks)]
    assert {data["seed"] for data in tasks} == {0} and tasks == sorted(tasks, key=lot)
    truth = {image.name: image.boxes for image in dataset.train}
    for task_id, submitted in labelling_studio.annotations.items():
        boxes, problems = from_results(submitted["result"], CONFIG, (320, 240))
        expected = truth[Path(labelling_studio.tasks[task_id]["data"]["image"]).name]
        assert not problems
        assert boxes.xyxy == pytest.approx(expected.xyxy, abs=1e-3)
        assert boxes.labels.tolist() == expected.labels.tolist()


def test_the_project_goes_with_all_that_was_made_for_it(
    make_run: MakeRun, labelling_studio: LabellingStudio, world: World
) -> None:
    steps = make_run(OPTIONS).steps()
    next(steps)
    project = labelling_studio.projects[1]
    assert not Project.of(project).retrains_itself
    assert project["sampling"] == "Uncertainty sampling"
    list(steps)
    assert labelling_studio.deleted == [1]
    assert world.registry.projects() == []
    assert not any(world.rounds.folder(round_.id).exists() for round_ in world.rounds.history(1))


def test_a_kept_project_stays(make_run: MakeRun, labelling_studio: LabellingStudio, world: World) -> None:
    list(make_run(replace(OPTIONS, schedule=("2",), keep=True)).steps())
    assert not labelling_studio.deleted
    assert world.registry.project(1).versions() == ["v0000", "v0001"]


def test_an_interrupted_round_is_cancelled_and_its_project_deleted(
    make_run: MakeRun, labelling_studio: LabellingStudio, world: World, worker: FakeWorker
) -> None:
    def interrupt() -> None:
        """As `make` does it: what reached the whole group comes once more."""
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    worker.learning.during_training = interrupt
    with pytest.raises(KeyboardInterrupt), ended_like_ctrl_c():
        list(make_run(OPTIONS).steps())
    assert labelling_studio.deleted == [1]
    assert world.registry.projects() == []
    assert world.rounds.open_round(1) is None


def test_a_failed_round_ends_the_run_and_says_why(
    make_run: MakeRun, labelling_studio: LabellingStudio, worker: FakeWorker
) -> None:
    def fail() -> None:
        raise TrainingFailed("out of paint")

    worker.learning.during_training = fail
    with pytest.raises(SimulationError, match="is failed: out of paint"):
        list(make_run(OPTIONS).steps())
    assert labelling_studio.deleted == [1]


def test_the_seed_decides_the_order_of_the_tasks(
    make_run: MakeRun, labelling_studio: LabellingStudio
) -> None:
    short = replace(OPTIONS, schedule=("1",), keep=True)
    for _ in range(2):
        list(make_run(short).steps())
    first, second = (
        [task["data"]["image"] for task in labelling_studio.tasks.values() if task["project"] == project]
        for project in (1, 2)
    )
    assert first == second
    assert first != sorted(first)
