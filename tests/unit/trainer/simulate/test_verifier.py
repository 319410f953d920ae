"""The simulated person at the dashboard's page Verify; the dashboard is the real one."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.coco import write_coco
from support.dashboard import PASSWORD, Login
from support.dashboard_served import served_app
from support.fake_labelling import LabellingStudio
from support.fake_worker import FakeWorker
from support.simulated import CONFIG, OPTIONS, FakeScorer

from labelloop.boxes import Boxes
from labelloop.studio import Studio
from trainer.dashboard import sure
from trainer.dashboard.app import create_app
from trainer.dashboard.loop import WatchedLoop
from trainer.judging.effort import PageWork, Work
from trainer.rounds import heartbeat
from trainer.simulate import run as module
from trainer.simulate import verifier
from trainer.simulate.account import Account
from trainer.simulate.dataset import Dataset, TrueImage
from trainer.simulate.errors import SimulationError
from trainer.simulate.figures import RunFigures
from trainer.simulate.options import Options, Person
from trainer.simulate.project import Standing
from trainer.simulate.run import Run, World
from trainer.simulate.verifier import Answered, Verifier
from trainer.simulate.verify_page import Crop, Shown

IMAGES = 40
HERS = 3


@pytest.fixture
def many(world: World) -> Dataset:
    folder = world.settings.uploads_dir / "simulate" / "many"
    write_coco(folder, "train", 0, IMAGES)
    write_coco(folder, "test", IMAGES, 1)
    return Dataset.load(folder, {})


@pytest.fixture
def page(
    world: World, labelling_studio: LabellingStudio, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LabellingStudio]:
    """The dashboard, for which all boxes are sure, and the person's account."""

    @contextmanager
    def signed_up(studio: Studio, settings: object, say: object) -> Iterator[Account]:
        labelling_studio.asks = HERS
        labelling_studio.add_person(HERS, "simulated@labelloop.invalid")
        yield Account(HERS, "simulated@labelloop.invalid", PASSWORD, Studio(labelling_studio.url, "hers"))
        del labelling_studio.people[HERS]

    monkeypatch.setattr(module, "signed_up", signed_up)
    monkeypatch.setattr(verifier, "POLL_S", 0.02)
    monkeypatch.setattr(sure, "limits", lambda evaluation, config: dict.fromkeys(config.names, 0.5))
    world.settings.labelstudio_url = labelling_studio.url
    loop = WatchedLoop(world.settings, world.studio, world.backend, 2.0)
    with served_app(create_app(loop, "a secret", Login(labelling_studio))) as address:
        world.settings.dashboard_bind = address
        yield labelling_studio


@contextmanager
def working(
    world: World, studio: LabellingStudio, proposed: dict[str, Boxes], made: Path
) -> Iterator[FakeWorker]:
    """A worker whose versions after the first propose these boxes, by image name."""
    worker = FakeWorker(world, studio, proposed, made, CONFIG, (320, 240))
    heartbeat.beat(world.settings.rounds_dir, {}, {})
    worker.start()
    try:
        yield worker
    finally:
        worker.stopping.set()
        worker.join(10)


def figures_of(world: World, dataset: Dataset, options: Options) -> RunFigures:
    run = Run(world, dataset, FakeScorer(), options, "uncertainty", 0)  # type: ignore[arg-type]
    list(run.steps())
    assert run.figures is not None
    return run.figures


def test_pages_are_answered_until_nothing_sure_is_left_and_the_editor_has_the_rest(
    world: World, many: Dataset, page: LabellingStudio, tmp_path: Path
) -> None:
    """One proposed box is off, one object is not proposed: the first image comes to the editor with its other
    box, the second is submitted without the object.
    """
    proposed = {image.name: image.boxes for image in many.train}
    several = sorted(name for name, boxes in proposed.items() if len(boxes) == 2)
    off, short = several[-1], several[-2]
    corners = [(1.0, 1.0, 12.0, 12.0), tuple(proposed[off].xyxy[1].tolist())]
    proposed[off] = Boxes.of(corners, [1.0, 1.0], proposed[off].labels.tolist())
    proposed[short] = proposed[short].select(np.array([0]))
    with working(world, page, proposed, tmp_path / "made"):
        figures = figures_of(world, many, replace(OPTIONS, schedule=("2", "all"), verify=True, keep=True))
    start, _, last = figures.steps
    opened = {Path(page.tasks[task]["data"]["image"]).name for task in page.annotations}
    # two that were drawn, and the first task, whose score is that of a labelled image's near-duplicate
    assert len(opened) == 4 and off in opened and short not in opened
    shown = sum(len(boxes) for name, boxes in proposed.items() if name == off or name not in opened)
    alone = len(proposed[Path(page.tasks[1]["data"]["image"]).name])
    pages = figures.effort.pages
    assert (pages.crops, pages.marked) == (shown, 1) and pages.pages >= shown / 24
    verified = figures.effort.verified
    assert (verified.images, verified.right, verified.wrong, verified.missed) == (36, shown - 2, 0, 1)
    assert figures.share_verified == 36 / IMAGES and last.handed_over == 1 and start.handed_over == 0
    assert last.work == Work(accepted=1 + alone, drawn=1)  # the image that was handed over, and the first
    editor_s = 0.5 * (1 + alone) + 7.0
    assert last.seconds == pytest.approx(editor_s + pages.seconds(OPTIONS.costs.pages))
    assert last.by_hand_seconds == 7.0 * (shown + alone)
    assert sum((effort.pages for effort in figures.efforts), PageWork()) == pages
    answers = [row for task in page.tasks.values() for row in task.get("annotations", [])]
    assert {row["completed_by"] for row in answers} == {HERS} and len(answers) == 36
    [draft] = [number for number, row in page.annotations.items() if "draft_id" in row]
    assert page.annotations[draft]["draft_id"] == 7000 + draft
    assert Path(page.tasks[draft]["data"]["image"]).name == off
    assert HERS not in page.people and not page.sessions
    assert "verify pages" in last.spent


def test_she_stops_when_a_round_is_due(
    world: World, many: Dataset, page: LabellingStudio, tmp_path: Path
) -> None:
    proposed = {image.name: image.boxes for image in many.train}
    with working(world, page, proposed, tmp_path / "made"):
        at_ten = figures_of(world, many, replace(OPTIONS, schedule=("2", "10", "all"), verify=True))
    first, due, end = at_ten.steps[1:]
    assert (first.labels, end.labels) == (2, IMAGES)
    assert 10 <= due.labels < IMAGES and due.effort.pages.pages < at_ten.effort.pages.pages


def test_without_a_full_page_she_does_not_begin(
    world: World, dataset: Dataset, page: LabellingStudio, worker: FakeWorker
) -> None:
    figures = figures_of(world, dataset, replace(OPTIONS, verify=True))
    assert figures.effort.pages == PageWork() and figures.share_verified == 0.0


def test_a_dashboard_that_does_not_let_her_in_is_told_before_anything_is_labelled(
    world: World, dataset: Dataset, page: LabellingStudio, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.dashboard.PASSWORD", "another 1")
    with pytest.raises(SimulationError, match=r"/login: the dashboard answers 401.*VERIFY=0") as told:
        figures_of(world, dataset, replace(OPTIONS, verify=True))
    assert PASSWORD not in str(told.value)
    assert page.annotations == {} and page.deleted == [1]


class Page:
    """Shows what a test wants, page after page; the last one again and again."""

    def __init__(self, *shown: Shown) -> None:
        self._shown = list(shown)
        self.answers: list[tuple[str | None, list[int]]] = []

    def look(self) -> Shown:
        return self._shown.pop(0) if len(self._shown) > 1 else self._shown[0]

    def answer(self, shown: Shown, wrong: list[Crop], seconds: float) -> None:
        self.answers.append((shown.id, [crop.place for crop in wrong]))


class Balls:
    """A project of tasks with a ball each, of which nothing comes."""

    id = 1
    project = SimpleNamespace(labels=CONFIG)

    def __init__(self) -> None:
        truth = Boxes.of([(10.0, 10.0, 50.0, 50.0)], [1.0], [0])
        image = TrueImage("a.png", Path("a.png"), "", 320, 240, truth)
        self.images = dict.fromkeys(range(1, 30), image)

    def standing(self, tasks: list[int]) -> dict[int, Standing]:
        return {task: Standing(None, False) for task in tasks}


def shown(name: str | None, label: str, count: int, ready: int, side: float = 40.0) -> Shown:
    box = np.array([10.0, 10.0, 10.0 + side, 50.0], dtype=np.float32)
    crops = [Crop(place, place, box) for place in range(1, count + 1)]
    return Shown(name, label, crops, ready, False, "csrf")


def pages_of(page: Page, room: int = 40) -> list[Answered]:
    verifier = Verifier(lambda: nullcontext(page), Balls(), Person())  # type: ignore[arg-type]
    return list(verifier.pages(lambda: room))


def test_a_page_that_was_left_half_full_is_answered_once_a_whole_one_is_ready_behind_it() -> None:
    few = shown("a", "ball", 3, 3)
    assert pages_of(Page(few)) == []
    page = Page(
        replace(few, ready=27), shown("b", "crate", 24, 24), shown("c", "ball", 2, 2), shown(None, "", 0, 0)
    )
    assert [answered.work for answered in pages_of(page)] == [
        PageWork(3, 0, 1),
        PageWork(24, 24, 1),
        PageWork(2, 0, 1),
    ]
    assert page.answers == [("a", []), ("b", [*range(1, 25)]), ("c", [])]  # no ball is a crate


def test_a_crop_is_right_from_the_same_overlap_on_as_a_proposed_box() -> None:
    for side, wrong in ((28.0, []), (27.9, [*range(1, 25)])):
        page = Page(shown("a", "ball", 24, 24, side), shown(None, "", 0, 0))
        pages_of(page)
        assert page.answers == [("a", wrong)]


def test_a_page_that_could_submit_more_than_the_budget_is_left() -> None:
    page = Page(shown("a", "ball", 24, 24), shown(None, "", 0, 0))
    assert pages_of(page, room=23) == [] and page.answers == []
    assert len(pages_of(Page(shown("a", "ball", 24, 24), shown(None, "", 0, 0)), room=24)) == 1


def test_a_page_that_does_not_take_its_answers_ends_the_run() -> None:
    with pytest.raises(SimulationError, match="does not take its answers"):
        pages_of(Page(shown("a", "ball", 24, 24)))
