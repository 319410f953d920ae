"""A simulated run goes on where a starved service breaks off, and does nothing twice that counts."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from support.fake_clicks import ClickBackend
from support.fake_labelling import LabellingStudio
from support.simulated import IMAGES, OPTIONS, MakeRun

from labelloop.studio import StudioError
from trainer.judging.effort import Work
from trainer.peers.backend import BackendDown
from trainer.simulate import patience
from trainer.simulate.dataset import Dataset
from trainer.simulate.errors import NoAnswer, SimulationError
from trainer.simulate.patience import PAUSES_S, PatientStudio, patiently
from trainer.simulate.project import LabellingProject, Task
from trainer.simulate.run import World
from trainer.simulate.verify_page import Shown, VerifyPage


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in which nobody waits."""
    pauses: list[float] = []
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=pauses.append))
    return pauses


class BreaksOff:
    """A service that breaks the first connections for each method off: before it does what was asked, then
    when it has done it. Of a read the session itself repeats the first. asked: how often, by method and path.
    """

    def __init__(self, answer: Any) -> None:
        self._answer, self._left, self.asked = answer, Counter[str](), Counter[tuple[str, str]]()

    def __call__(self, method: str, path: str, *rest: Any) -> Any:
        self.asked[method, path] += 1
        self._left[method] += 1
        if self._left[method] % 7 in (2, 3):
            raise ConnectionAbortedError("starved")
        answer = self._answer(method, path, *rest)
        if self._left[method] % 7 == 4:
            raise ConnectionAbortedError("starved when it was done")
        return answer


def test_a_run_whose_label_studio_breaks_off_again_and_again_ends_as_any_other(
    make_run: MakeRun,
    labelling_studio: LabellingStudio,
    dataset: Dataset,
    paused: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    posted = Counter[str]()
    take = labelling_studio.answer

    def counting(method: str, path: str, *rest: Any) -> Any:
        posted[path] += method == "POST"
        return take(method, path, *rest)

    run = make_run(OPTIONS)
    steps = run.steps()
    next(steps)  # what comes before the first image may fail, as it costs nothing to begin anew
    monkeypatch.setattr(labelling_studio, "answer", BreaksOff(counting))
    done = list(steps)
    assert [step.labels for step in done] == [2, 4, 6]
    assert run.figures is not None
    assert run.figures.work.truths == sum(len(image.boxes) for image in dataset.train)
    submitted = {path: times for path, times in posted.items() if path.endswith("/annotations/")}
    assert submitted == dict.fromkeys(submitted, 1) and len(submitted) == IMAGES
    assert labelling_studio.deleted == [1]
    assert paused and set(paused) <= set(PAUSES_S)


def test_a_submission_that_is_still_on_its_way_is_taken_once(
    labelling_studio: LabellingStudio, world: World, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label Studio was at it when the person looked, so it is sent again, and refused as a double."""
    project = LabellingProject.create(world.studio, world.settings, dataset, "uncertainty", 0, "once")
    sent: list[str] = []
    request = world.studio.request

    def slow(method: str, path: str, **kwargs: Any) -> Any:
        if method != "POST":
            return request(method, path, **kwargs)
        sent.append(kwargs["json"]["unique_id"])
        if len(sent) == 1:
            raise StudioError("Read timed out")
        raise StudioError("409 Annotation with this unique id already exists", 409)

    monkeypatch.setattr(world.studio, "request", slow)
    image = dataset.train[0]
    project.submit(Task(1, image, image.boxes), 3.0)
    assert len(sent) == 2 and sent[0] == sent[1]
    project.submit(Task(2, image, image.boxes), 3.0)
    assert sent[2] != sent[0]


def test_a_click_is_made_again(
    make_run: MakeRun, clicks: ClickBackend, dataset: Dataset, paused: list[float], monkeypatch: Any
) -> None:
    clicks.able = True
    clicks.truth = {image.name: image.boxes for image in dataset.train}
    monkeypatch.setattr(clicks, "answer", BreaksOff(clicks.answer))
    run = make_run(OPTIONS)
    steps = list(run.steps())
    assert steps[1].work == Work(clicked=steps[1].boxes)
    assert paused


class Dashboard:
    """A session with one that gives these answers in turn: a status, or an error."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers, self.asked = list(answers), list[tuple[str, Any]]()

    def request(self, method: str, url: str, **rest: Any) -> Any:
        self.asked.append((method, rest.get("data")))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(status_code=answer)


def test_a_page_of_crops_is_answered_again_with_the_same_answer(paused: list[float]) -> None:
    dashboard, said = Dashboard(requests.ConnectionError("aborted"), 503, 303), list[str]()
    page = VerifyPage(dashboard, "http://127.0.0.1:1", 1, said.append)  # type: ignore[arg-type]
    page.answer(Shown("p1", "ball", (), 24, False, "csrf"), (), 12.0)
    assert len(dashboard.asked) == 3 and len({str(sent) for sent in dashboard.asked}) == 1
    assert len(said) == len(paused) == 2
    refusing = VerifyPage(Dashboard(403), "http://127.0.0.1:1", 1, said.append)  # type: ignore[arg-type]
    with pytest.raises(SimulationError, match="answers 403"):
        refusing.look()
    assert len(paused) == 2


@pytest.mark.parametrize(
    "error",
    [
        StudioError("Connection aborted"),
        StudioError("database is locked", 500),
        BackendDown("Connection refused"),
        NoAnswer("Read timed out"),
    ],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'status', '')}".strip(),
)
def test_patience_has_an_end_and_says_what_it_waits_for(error: Exception, paused: list[float]) -> None:
    said, attempts = list[str](), list[int]()

    def attempt() -> None:
        attempts.append(1)
        raise error

    with pytest.raises(type(error), match=str(error)):
        patiently(attempt, said.append)
    assert tuple(paused) == PAUSES_S and sum(PAUSES_S) == 120
    assert len(attempts) == len(said) + 1 == len(PAUSES_S) + 1
    assert said[0] == f"{error}; asked again in 1 s"


def test_an_answer_is_an_answer(
    labelling_studio: LabellingStudio, paused: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = PatientStudio(labelling_studio.url, "token", print)
    with pytest.raises(StudioError, match="404"):
        studio.project(99)
    starved = BreaksOff(labelling_studio.answer)
    monkeypatch.setattr(labelling_studio, "answer", starved)
    labelling_studio.add_project(1)
    assert studio.request("POST", "/api/projects", json={"title": "one"})["id"] == 2
    with pytest.raises(StudioError, match="Connection aborted"):
        studio.request("POST", "/api/projects", json={"title": "two"})
    assert starved.asked["POST", "/api/projects"] == 2 and not paused
