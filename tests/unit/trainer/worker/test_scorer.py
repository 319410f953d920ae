"""Models are scored while the trainer has nothing else to do, and that gives way to everything else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.fake_backend import FakeBackend
from support.fake_child import FakeChild
from support.fake_studio import FakeStudio
from support.made_scores import History, Judge, snapshot_of
from support.worker_bench import WorkerBench

from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Studio
from trainer.health import health
from trainer.judging.scores import Score
from trainer.judging.scoring import score_all
from trainer.judging.standing import Stand, standing
from trainer.peers.projects import SIMULATED, fetch
from trainer.rounds import heartbeat
from trainer.system.children import RETRY
from trainer.worker import scorer
from trainer.worker.chores import ProjectsFailed
from trainer.worker.prelabel import at_work

BEGUN = ["trainer.judging.scoring", "1", "v0002", "v0001", "v0000"]
FOUND = {version: {"ball": 2} for version in ("v0000", "v0001", "v0002", "candidate of 00003")}


@pytest.fixture
def history(bench: WorkerBench, models: ProjectModels) -> History:
    """Two rounds of an earlier release: none of the three versions is scored beside its folder."""
    made = History(models, bench.rounds)
    made.round(snapshot_of(range(1, 21), range(101, 106)), {"ball": 3}, {"ball": 1})
    made.round(snapshot_of(range(1, 41), range(101, 111)), {"ball": 5}, {"ball": 2})
    bench.worker.look_around()
    return made


def look(bench: WorkerBench, times: int = 2) -> FakeChild | None:
    """What the worker's thread does; the process that it began last."""
    for _ in range(times):
        bench.worker.score()
    return bench.children[-1] if bench.children else None


def begin(bench: WorkerBench) -> FakeChild:
    child = look(bench)
    assert child is not None and child.arguments == BEGUN
    return child


def stand(history: History, key: str) -> Stand:
    return next(s for s in standing(history.models, history.rounds, 1).stands if s.key == key)


def test_it_begins_with_the_champion_and_the_newest_once_all_is_quiet(
    bench: WorkerBench, history: History
) -> None:
    assert look(bench, 1) is None, "a promotion's pre-labelling may be about to begin"
    child = begin(bench)
    look(bench, 5)
    assert bench.children == [child] and not child.stopped


def test_it_ends_when_all_are_scored(bench: WorkerBench, history: History) -> None:
    child = begin(bench)
    score_all(history.models, history.rounds, 1, Judge(FOUND))
    child.exit = 0
    look(bench, 5)
    assert bench.children == [child]
    history.round(snapshot_of(range(1, 61), range(101, 116)), {"ball": 1}, {"ball": 9}, promote=False)
    assert look(bench, 3) is not child, "the hold-out of the third round is another one"


def test_it_gives_way_to_a_round_at_once_and_goes_on_after_it(bench: WorkerBench, history: History) -> None:
    child = begin(bench)
    round_child = bench.begin_round()
    look(bench, 1)
    assert child.stopped
    look(bench, 5)
    assert bench.children == [child, round_child], "not while the round is open"
    [opened] = bench.rounds.open_rounds()
    bench.rounds.cancel(opened.id)
    bench.end(round_child, 0)
    begin(bench)


def test_it_gives_way_to_pre_labelling_whoever_does_that(
    bench: WorkerBench,
    history: History,
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    run: Callable[[], int],
) -> None:
    child = begin(bench)
    fake_backend.version = "v0002"
    fake_studio.add_task()
    seen: list[bool] = []

    def before_the_first_box(ids: list[int]) -> None:
        seen.append(at_work(bench.settings.rounds_dir, 1))
        look(bench, 1)

    fake_backend.before_predict = before_the_first_box
    assert run() == 1
    assert seen == [True] and child.stopped
    assert not at_work(bench.settings.rounds_dir, 1)
    again = begin(bench)
    assert run() == 0, "a run that finds nothing to do stops nobody"
    look(bench, 1)
    assert not again.stopped


def test_it_gives_way_to_a_starting_model(
    bench: WorkerBench, history: History, fake_studio: FakeStudio
) -> None:
    child = begin(bench)
    fake_studio.add_project(2)
    bench.worker.look_around()
    look(bench, 1)
    assert bench.children[-1].arguments == ["trainer.training.starting", "2"] and child.stopped


def test_a_model_at_which_it_dies_twice_holds_up_no_other(bench: WorkerBench, history: History) -> None:
    begin(bench).exit = -9
    begin_again = look(bench, 4)
    assert begin_again is not None and begin_again.arguments == BEGUN
    begin_again.exit = -9
    look(bench, 1)
    assert stand(history, "v0002").why == (
        "could not be scored, and is tried again: its process was ended by the system, mostly because "
        "memory ran out (SIGKILL): its last words"
    )
    child = look(bench, 3)
    assert child is not None and child.arguments[2:] == ["v0001", "v0000"]


def test_a_full_disk_is_told_and_is_no_fault_of_a_model(bench: WorkerBench, history: History) -> None:
    bench.worker.score()
    bench.worker.scoring.run_if_due()
    bench.children[-1].exit = RETRY
    bench.worker.scoring.poke()
    bench.worker.scoring.run_if_due()
    bench.worker.beat()
    beat = heartbeat.read(bench.settings.rounds_dir)
    assert beat is not None and "scores" not in beat.errors
    assert beat.project_errors["1"] == {"scores": "its last words"}
    assert not health.worker_problems(beat), "labelling and rounds go on"
    assert stand(history, "v0002").score is None


def test_a_simulation_is_left_alone_since_it_measures(
    bench: WorkerBench, history: History, fake_studio: FakeStudio
) -> None:
    fake_studio.projects[1]["description"] = SIMULATED
    bench.worker.look_around()
    assert look(bench, 5) is None


def test_it_ends_with_the_worker(bench: WorkerBench, history: History) -> None:
    child = begin(bench)
    bench.worker.stop()
    bench.worker.run()
    assert child.stopped


def test_a_project_that_cannot_be_read_does_not_hold_up_the_others(
    bench: WorkerBench,
    history: History,
    fake_studio: FakeStudio,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_studio.add_project(2)
    found = standing(history.models, history.rounds, 1)
    monkeypatch.setattr(scorer, "standing", lambda *of: found)
    begun: list[FakeChild] = []

    def spawn(arguments: list[str], log_path: Path) -> Any:
        begun.append(FakeChild(arguments, log_path))
        return begun[-1]

    tended = scorer.Scorer(Registry(bench.settings.models_dir), bench.rounds, spawn)
    projects = [fetch(studio, 1), fetch(studio, 2)]
    for exit_ in (RETRY, RETRY, RETRY):
        for _ in range(3):
            tended.tend(projects)
        begun[-1].exit = exit_
        with pytest.raises(ProjectsFailed):
            tended.tend(projects)
    assert [child.arguments[1] for child in begun] == ["1", "2", "1"]


def test_what_failed_in_the_future_is_tried_again_now(bench: WorkerBench, history: History) -> None:
    """The clock was ahead then."""
    for minutes, tried in ((-30, False), (-90, True), (5_000_000, True)):
        found = stand(history, "v0002")
        at = datetime.now(UTC) + timedelta(minutes=minutes)
        failed = Score(round=1, requested_at="", digest=None, failed="memory ran out", at=at)
        assert replace(found, score=failed).due(datetime.now(UTC)) is tried, minutes
