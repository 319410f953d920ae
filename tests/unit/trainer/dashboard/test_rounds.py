"""The page of rounds: every score, interval and verdict is the stored one."""

import errno
import html
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support import dashboard_data
from support.dashboard import words
from support.dashboard_data import finished_round, relabelled
from support.made_scores import History, Judge, snapshot_of

from labelloop.choice import choose
from labelloop.files import write_text
from trainer.dashboard import rounds, stored
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.snapshot import Snapshot
from trainer.judging.scoring import score_all
from trainer.judging.standing import standing
from trainer.judging.trial import Outcome, Trial
from trainer.rounds.table import State


def said_on_the_page(client: TestClient) -> str:
    return html.unescape(words(client.get("/rounds?project=1").text))


def test_before_the_first_round(client: TestClient) -> None:
    assert "None yet." in said_on_the_page(client)
    assert client.get("/rounds/scores.svg?project=1").status_code == 200


def test_scores_intervals_and_verdicts_are_the_stored_ones(client: TestClient, loop: WatchedLoop) -> None:
    first = finished_round(loop, 25, stray=5, champion_stray=30)
    second = finished_round(loop, 30, stray=20, champion_stray=5)
    assert (first.state, second.state) == (State.PROMOTED, State.KEPT)
    page = said_on_the_page(client)
    for round_, made in ((first, "v0001"), (second, "candidate")):
        judged = stored.judgement(loop.rounds.folder(round_.id))
        assert judged is not None and judged.champion is not None and judged.candidate.interval is not None
        low, high = judged.candidate.interval
        pair = f"{judged.champion.mAP:.3f} → {judged.candidate.mAP:.3f} ({low:.3f} to {high:.3f})"
        assert f"{pair} {judged.champion.version} → {made}, on {judged.candidate.images} images" in page
        assert (round_.verdict or "?") in page
    assert "5 new images, 30 in all, 6 of them held out" in page
    assert "yolox_nano from COCO weights, 120 iterations" in page
    # The second round has scored v0001 and its own candidate on today's hold-out; v0000 is to be scored yet.
    assert judged.champion.interval is not None
    low, high = judged.champion.interval
    assert f"v0001 in service 20 images {judged.champion.mAP:.3f} ({low:.3f} to {high:.3f})" in page
    assert f"the candidate of round 2 not put into service 24 images {judged.candidate.mAP:.3f}" in page
    assert "v0000 none of yours not yet scored on today's hold-out" in page
    assert "2 of 3 versions, 1 of which the gate refused; 1 follows when the trainer is idle" in page


@pytest.fixture
def harder(loop: WatchedLoop) -> History:
    """Three promotions, each on a hold-out that was harder than the one before it."""
    made = History(loop.models(1), loop.rounds)
    for number, (candidate, champion) in enumerate(HARDER, start=1):
        snapshot = snapshot_of(range(1, 20 * number + 1), range(100, 100 + 10 * number))
        made.round(snapshot, {"ball": candidate, "crate": candidate}, {"ball": champion, "crate": champion})
    return made


HARDER = ((6, 3), (10, 6), (14, 9))
"""Of the hold-out's objects, so many are found: 6 of 10 is more than 10 of 20, and that than 14 of 30."""
TODAY = {"v0000": {"ball": 2, "crate": 2}, "v0001": {"ball": 7, "crate": 7}}


def test_the_chart_rises_when_each_promotion_gained(
    client: TestClient, loop: WatchedLoop, harder: History
) -> None:
    judge = Judge(TODAY)
    assert score_all(harder.models, harder.rounds, 1, judge) == 2 and judge.asked == ["v0001", "v0000"]
    page = client.get("/rounds?project=1").text
    then = [float(after) for after in re.findall(r"→ (0\.\d+) <span", page)]
    assert then == [0.465, 0.505, 0.604], "each round's own hold-out, the newest first: this fell"
    found = standing(harder.models, harder.rounds, 1)
    marks = rounds.points(found)
    assert [(mark.name, mark.images) for mark in marks] == [
        ("v0000", 0),
        ("v0001", 20),
        ("v0002", 40),
        ("v0003", 60),
    ]
    assert [round(mark.score, 2) for mark in marks] == [0.07, 0.24, 0.31, 0.47]
    arrows = rounds.steps(rounds.rows(loop, 1, found))
    assert [(a.images, round(a.before, 2), round(a.after, 2)) for a in arrows] == [
        (20, 0.31, 0.6),
        (40, 0.31, 0.5),
        (60, 0.31, 0.47),
    ]
    said = said_on_the_page(client)
    assert "Scored on today's hold-out (30 images, that of round 3): 4 of 4 versions." in said
    assert "v0002 40 images 0.307 " in said and "0.307 → 0.505 on 20 images" in said
    assert "None of them was trained on any of these images." in said


def test_rounds_keep_their_number_and_say_which_of_the_project_they_are(
    client: TestClient, loop: WatchedLoop
) -> None:
    for project in (2, 1):
        round_, _ = loop.rounds.request(project, "button")
        loop.rounds.move(round_.id, State.FAILED, error="a test")
    page = words(client.get("/rounds?project=1").text)
    assert "2 (1st of this project) failed" in page
    assert "Start Training was pressed in Label Studio" in page
    now = client.get("/?project=1").text
    assert "Round 2 (1st of this project): failed" in words(now)
    assert 'data-announce="Round 2 (1st of this project): failed. a test"' in now


def test_what_changed_names_relabelled_images_and_labels(loop: WatchedLoop) -> None:
    folders = []
    for round_id, snapshot in (
        (1, dashboard_data.snapshot_of(loop, 10)),
        (2, relabelled(dashboard_data.snapshot_of(loop, 9))),
    ):
        loop.rounds.request(1, "a test")
        folders.append(loop.rounds.folder(round_id))
        folders[-1].mkdir(parents=True)
        snapshot.write(folders[-1])
        loop.rounds.move(round_id, State.FAILED, error="a test")
    newest, oldest = rounds.rows(loop, 1, standing(loop.models(1), loop.rounds, 1))
    assert oldest.changed[0].startswith("10 images, 2 of them held out, ")
    assert newest.changed == (
        "0 new images, 9 in all, 1 of them held out",
        "1 image relabelled",
        "1 image gone",
    )


def test_what_a_full_disk_kept_from_being_read_is_read_later(
    loop: WatchedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.rounds.request(1, "a test")
    loop.rounds.folder(1).mkdir(parents=True)
    dashboard_data.snapshot_of(loop, 10).write(loop.rounds.folder(1))

    def no_room(folder: Path) -> Snapshot:
        raise OSError(errno.ENOSPC, "No space left on device", "/the/cache")

    with monkeypatch.context() as full:
        full.setattr(Snapshot, "load", no_room)
        assert stored.contents(loop.rounds.folder(1)) is None
    found = stored.contents(loop.rounds.folder(1))
    assert found is not None and found.images == 10


def test_a_failed_round_and_a_damaged_file_are_told(client: TestClient, loop: WatchedLoop) -> None:
    loop.rounds.request(1, "a <b>test</b>")
    write_text(loop.rounds.folder(1) / "evaluation.json", '{"candidate": 1')
    write_text(loop.rounds.folder(1) / "snapshot.json", "[]")
    write_text(loop.rounds.folder(1) / "job.json", "{}")
    loop.rounds.move(1, State.FAILED, error="out of <memory>")
    page = client.get("/rounds").text
    assert "out of &lt;memory&gt;" in page and "a &lt;b&gt;test" in page
    assert "not yet scored on today&#39;s hold-out" in page


def test_a_promotion_that_is_on_trial_is_said_to_be(client: TestClient, loop: WatchedLoop) -> None:
    round_ = finished_round(loop, 20, 9, 30)
    page = "/rounds?project=1"
    assert "On trial" not in words(client.get(page).text)
    trial = Trial(version="v0001", former="v0000", tasks=[21, 22, 23])
    trial.write(loop.rounds.folder(round_.id))
    told = "On trial: compared with v0000 on 3 images labelled since, decided after 5, 10 or 20."
    assert told in words(client.get(page).text)
    choose(loop.models(1), "v0001")
    assert "On trial" not in words(client.get(page).text)
    (loop.models(1).path / "chosen.json").unlink()
    trial.model_copy(update={"outcome": Outcome.STAYS}).write(loop.rounds.folder(round_.id))
    assert "On trial" not in words(client.get(page).text)


def test_another_projects_rounds_are_not_shown(client: TestClient, loop: WatchedLoop) -> None:
    loop.rounds.request(2, "somebody else")
    assert "somebody else" not in client.get("/rounds?project=1").text


def test_the_chart_names_the_versions_and_says_what_an_arrow_is(client: TestClient, harder: History) -> None:
    score_all(harder.models, harder.rounds, 1, Judge(TODAY))
    svg = client.get("/rounds/scores.svg?project=1").text
    for told in ("v0000", "v0003", "version, today's hold-out", "its promotion, on the hold-out of then"):
        assert f">{told}<" in svg
    assert "images it was trained on" in svg and "labelled images" not in svg


def test_what_was_seen_in_training_is_told(client: TestClient, loop: WatchedLoop) -> None:
    made = History(loop.models(1), loop.rounds)
    made.round(snapshot_of(range(1, 21), range(100, 110)), {"ball": 6}, {"ball": 3})
    made.round(snapshot_of(range(2, 21), [1, *range(100, 110)]), {"ball": 7}, {"ball": 6})
    said = said_on_the_page(client)
    assert "None of them was trained" not in said
    score_all(made.models, made.rounds, 1, Judge(TODAY))
    said = said_on_the_page(client)
    assert "Trained on some of these images, so its score is too high: v0001." in said
    assert "trained on 1 of these 11 images, so it is too high" in said


def test_a_former_model_of_other_labels_is_marked_as_such(client: TestClient, loop: WatchedLoop) -> None:
    made = History(loop.models(1), loop.rounds)
    snapshot = snapshot_of(range(1, 21), range(100, 110))
    made.round(snapshot, {"ball": 6}, {"ball": 3}, classes=("ball", "star"))
    score_all(made.models, made.rounds, 1, Judge(TODAY))
    assert "on the labels it knows, ball of ball, crate" in said_on_the_page(client)
    assert ">restricted, see the table<" in client.get("/rounds/scores.svg?project=1").text
