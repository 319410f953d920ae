"""The table of rounds: queue, history, and what several processes at once make of it."""

import multiprocessing
import sqlite3
import threading
from pathlib import Path

import pytest

from trainer.rounds.table import RoundError, Rounds, State


@pytest.fixture
def rounds(tmp_path: Path) -> Rounds:
    return Rounds(tmp_path / "rounds")


def walk(rounds: Rounds, round_id: int, *states: State) -> None:
    for state in states:
        rounds.move(round_id, state)


def test_a_second_request_joins_the_open_round(rounds: Rounds) -> None:
    first, joined_first = rounds.request(1, "button")
    second, joined_second = rounds.request(1, "cli")
    assert (joined_first, joined_second) == (False, True)
    assert second == first


def test_projects_have_rounds_of_their_own(rounds: Rounds) -> None:
    assert rounds.request(1, "a")[0].id != rounds.request(2, "a")[0].id
    assert [r.project for r in rounds.open_rounds()] == [1, 2]


def test_a_closed_round_makes_room_for_the_next(rounds: Rounds) -> None:
    first, _ = rounds.request(1, "a")
    walk(rounds, first.id, State.SNAPSHOTTING, State.TRAINING, State.EVALUATING, State.KEPT)
    second, joined = rounds.request(1, "b")
    assert not joined
    assert [r.id for r in rounds.history(1)] == [second.id, first.id]


def _request(root: Path) -> int:
    return Rounds(root).request(1, "process")[0].id


def test_processes_that_ask_at_once_get_one_round(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        ids = set(pool.map(_request, [tmp_path] * 12))
    assert len(ids) == 1
    assert len(Rounds(tmp_path).history(1)) == 1


@pytest.mark.parametrize("state", [State.TRAINING, State.EVALUATING, State.PROMOTED, State.KEPT])
def test_stages_cannot_be_skipped(rounds: Rounds, state: State) -> None:
    round_, _ = rounds.request(1, "a")
    with pytest.raises(RoundError, match=f"requested; it cannot become {state}"):
        rounds.move(round_.id, state)
    assert rounds.get(round_.id).state == State.REQUESTED


def test_a_closed_round_stays_closed(rounds: Rounds) -> None:
    round_, _ = rounds.request(1, "a")
    rounds.move(round_.id, State.FAILED, error="no labels")
    for state in State:
        with pytest.raises(RoundError):
            rounds.move(round_.id, state)
    assert rounds.get(round_.id).error == "no labels"


def test_moving_starts_a_stage_at_zero_and_keeps_times(rounds: Rounds) -> None:
    round_, _ = rounds.request(1, "a")
    rounds.move(round_.id, State.SNAPSHOTTING)
    rounds.progress(round_.id, 0.7, "image 7 of 10", 3.0)
    assert rounds.get(round_.id).stage_progress == 0.7
    started = rounds.get(round_.id).started_at
    moved = rounds.move(round_.id, State.TRAINING)
    assert (moved.stage_progress, moved.eta_seconds, moved.message) == (0.0, None, "")
    assert moved.started_at == started is not None
    assert moved.finished_at is None


def test_a_round_that_waits_is_cancelled_at_once(rounds: Rounds) -> None:
    round_, _ = rounds.request(1, "a")
    assert rounds.cancel(round_.id).state == State.CANCELLED
    assert rounds.open_round(1) is None


def test_a_round_that_runs_is_asked_to_stop(rounds: Rounds) -> None:
    round_, _ = rounds.request(1, "a")
    rounds.move(round_.id, State.SNAPSHOTTING)
    assert rounds.cancel(round_.id).state == State.SNAPSHOTTING
    assert rounds.cancel_requested(round_.id)


def test_a_round_that_is_over_cannot_be_cancelled(rounds: Rounds) -> None:
    round_, _ = rounds.request(1, "a")
    rounds.move(round_.id, State.FAILED, error="no labels")
    with pytest.raises(RoundError, match="over already: no labels"):
        rounds.cancel(round_.id)


def test_an_unknown_round_is_named(rounds: Rounds) -> None:
    with pytest.raises(RoundError, match="no round 77"):
        rounds.get(77)


def test_unknown_columns_are_refused(rounds: Rounds) -> None:
    round_, _ = rounds.request(1, "a")
    with pytest.raises(RoundError, match="no column colour"):
        rounds.record(round_.id, colour="red")


def test_a_file_that_cannot_be_opened_for_a_moment_is_waited_for(rounds: Rounds, tmp_path: Path) -> None:
    round_, _ = rounds.request(1, "a")
    (tmp_path / "rounds").rename(tmp_path / "away")
    back = threading.Timer(0.3, lambda: (tmp_path / "away").rename(tmp_path / "rounds"))
    back.start()
    assert rounds.move(round_.id, State.SNAPSHOTTING).state == State.SNAPSHOTTING
    back.join()
    assert rounds.get(round_.id).state == State.SNAPSHOTTING


def test_one_that_stays_away_is_an_error(
    rounds: Rounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.system.database.PATIENCE_S", 0.2)
    (tmp_path / "rounds").rename(tmp_path / "away")
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        rounds.get(1)


def test_a_round_says_which_of_its_project_it_is(rounds: Rounds) -> None:
    """The numbers are shared: a project's skip where others had rounds between."""
    asked = []
    for project in (1, 2, 2, 1):
        asked.append(rounds.request(project, "a")[0])
        rounds.cancel(asked[-1].id)
    assert [(r.id, r.nth, r.called) for r in asked] == [
        (1, 1, "1"),
        (2, 1, "2 (1st of this project)"),
        (3, 2, "3 (2nd of this project)"),
        (4, 2, "4 (2nd of this project)"),
    ]
    assert [r.nth for r in rounds.history(1)] == [2, 1] == [r.nth for r in rounds.history(2)]
    assert rounds.get(4).as_dict()["nth"] == 2


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("RETRAIN_EVERY=50", "enough new labelled images (automatic)"),  # of an earlier release
        ("dashboard, ann@example.org", "ann@example.org asked, on the dashboard"),
        ("button", "Start Training was pressed in Label Studio"),
        ("make retrain", "make retrain was typed on the host"),
        ("api", "a program asked, by the trainer's API"),
        ("somebody", "somebody"),
    ],
)
def test_who_asked_is_told_in_words(rounds: Rounds, kept: str, said: str) -> None:
    round_, _ = rounds.request(1, kept)
    assert (round_.requested_by, round_.asked_for_by) == (kept, said)
