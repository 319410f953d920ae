"""`make demo`: its pictures, its steps, begun again and removed; Label Studio and the worker are fakes."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support.fake_labelling import LabellingStudio
from support.fake_worker import FakeWorker

from labelloop.boxes import iou_matrix
from labelloop.labels import parse_label_config
from labelloop.studio import Studio
from trainer.demo import run
from trainer.demo.parts import LABELS, OVERLAP, SIZE, picture
from trainer.env import TrainerSettings
from trainer.judging.effort import Work
from trainer.peers.backend import Backend
from trainer.peers.projects import Project
from trainer.rounds import heartbeat
from trainer.rounds.table import State
from trainer.simulate import run as simulated
from trainer.simulate.dataset import label_config
from trainer.simulate.errors import SimulationError
from trainer.simulate.run import World
from trainer.terminal import watch
from trainer.terminal.display import Display

IMAGES = 10
PLACES = run.Places("http://localhost:8080", "http://localhost:8081")


@pytest.fixture
def paper() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def world(
    home: Path,
    labelling_studio: LabellingStudio,
    monkeypatch: pytest.MonkeyPatch,
    paper: io.StringIO,
) -> World:
    """Its display writes on paper."""
    for owner, name in ((watch, "POLL_S"), (watch, "COUNT_EVERY_S"), (run, "POLL_S"), (simulated, "POLL_S")):
        monkeypatch.setattr(owner, name, 0.01)
    monkeypatch.setenv("BACKEND_PASSWORD", "backend")
    settings, studio = TrainerSettings(), Studio(labelling_studio.url, "token")
    display = Display(Console(file=paper, highlight=False, soft_wrap=True, width=200))
    return World(settings, studio, Backend("http://127.0.0.1:1", ""), display)


@pytest.fixture
def worker(world: World, labelling_studio: LabellingStudio, tmp_path: Path) -> Iterator[FakeWorker]:
    truth = {made.name: made.boxes for made in map(picture, range(IMAGES))}
    config = parse_label_config(label_config(list(LABELS), {}))
    thread = FakeWorker(world, labelling_studio, truth, tmp_path / "made", config, SIZE)
    heartbeat.beat(world.settings.rounds_dir, {}, {})
    thread.start()
    yield thread
    thread.stopping.set()
    thread.join(10)


def test_a_picture_is_the_same_each_time_and_unlike_the_next() -> None:
    assert picture(3).jpeg() == picture(3).jpeg() != picture(4).jpeg()


def test_boxes_lie_in_the_picture_around_what_differs_from_the_belt() -> None:
    seen: set[int] = set()
    for number in range(6):
        made = picture(number)
        boxes = made.boxes.xyxy
        assert made.image.size == SIZE and len(made.boxes) >= 2
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= SIZE).all()
        assert np.triu(iou_matrix(boxes, boxes), 1).max() <= OVERLAP
        seen.update(made.boxes.labels.tolist())
        pixels = np.asarray(made.image).astype(float)
        outside = np.ones(SIZE[::-1], dtype=bool)
        for x1, y1, x2, y2 in boxes.astype(int).tolist():
            outside[y1:y2, x1:x2] = False
            assert pixels[y1:y2, x1:x2].max() > 150, "a part is brighter than the belt"
        assert pixels[outside].max() < 150, "no part reaches out of its box"
    assert seen == set(range(len(LABELS)))


def test_the_demo_ends_with_a_promoted_model_and_pictures_for_the_person(
    world: World, worker: FakeWorker, labelling_studio: LabellingStudio, paper: io.StringIO
) -> None:
    run.demo(world, PLACES, IMAGES)
    said = paper.getvalue()
    assert world.registry.project(1).champion() == "v0001"
    assert len(labelling_studio.tasks) == IMAGES and len(labelling_studio.annotations) == 8
    assert "2 pictures with the model's boxes" in said and "http://localhost:8080/projects/1/data" in said
    assert "0 drawn, 0 wrong ones deleted" in said, "the second batch came with its boxes"
    assert [(b["project"], b["basic_auth_pass"]) for b in labelling_studio.backends] == [(1, "backend")]
    assert not Project.of(labelling_studio.projects[1]).retrains_itself


def test_begun_again_it_does_nothing_twice(
    world: World, worker: FakeWorker, labelling_studio: LabellingStudio, paper: io.StringIO
) -> None:
    run.demo(world, PLACES, IMAGES)
    paper.truncate(paper.seek(0))
    run.demo(world, PLACES, IMAGES)
    said = paper.getvalue()
    assert "It was there already" in said and "v0001 is in service already" in said
    assert (
        len(labelling_studio.projects) == 1
        and len(labelling_studio.tasks) == IMAGES
        and len(labelling_studio.annotations) == 8
    )
    assert len(world.rounds.history(1)) == 1


def test_a_first_round_that_is_kept_is_followed_by_one_on_more_labels(
    world: World, worker: FakeWorker, labelling_studio: LabellingStudio
) -> None:
    worker.learning.scores["candidate"] = 0.4
    with pytest.raises(SimulationError, match="no round of project 1 was promoted.*rounds.project=1"):
        run.demo(world, PLACES, IMAGES)
    assert [round_.state for round_ in world.rounds.history(1)] == [State.KEPT, State.KEPT]
    assert len(labelling_studio.annotations) == 8


def test_removed_it_leaves_nothing(
    world: World, worker: FakeWorker, labelling_studio: LabellingStudio, paper: io.StringIO
) -> None:
    run.demo(world, PLACES, IMAGES)
    run.remove_demo(world)
    assert labelling_studio.deleted == [1]
    assert "rm -r volumes/labelstudio/media/upload/1 " in paper.getvalue()
    assert world.registry.projects() == []
    run.remove_demo(world)
    assert "no demo to remove" in paper.getvalue()


def test_the_saving_is_told_only_where_there_is_one() -> None:
    """By both tables of costs."""
    assert run.work_in_words(Work(drawn=2)).endswith(
        "A person's time, about: 14 s instead of 14 s (quick costs); 14 s instead of 14 s (careful costs)."
    )
    assert run.work_in_words(Work(accepted=10, relabelled=2)) == (
        "12 boxes: 10 accepted as proposed, 0 adjusted, 2 relabelled, 0 drawn, 0 wrong ones deleted.\n"
        "   A person's time, about: 12 s instead of 1:24 min, 86% saved (quick costs); "
        "23 s instead of 1:24 min, 73% saved (careful costs)."
    )
