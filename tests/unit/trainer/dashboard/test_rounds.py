"""The page of rounds: every score, interval and verdict is the stored one."""

import errno
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.dashboard import words
from support.dashboard_data import finished_round, relabelled, snapshot_of

from labelloop.files import write_text
from trainer.dashboard import rounds, stored
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.snapshot import Snapshot
from trainer.rounds.table import State


def test_before_the_first_round(client: TestClient) -> None:
    assert "None yet." in words(client.get("/rounds?project=1").text)
    assert client.get("/rounds/scores.svg?project=1").status_code == 200


def test_scores_intervals_and_verdicts_are_the_stored_ones(client: TestClient, loop: WatchedLoop) -> None:
    first = finished_round(loop, 25, stray=5, champion_stray=30)
    second = finished_round(loop, 30, stray=20, champion_stray=5)
    assert (first.state, second.state) == (State.PROMOTED, State.KEPT)
    page = words(client.get("/rounds?project=1").text)
    for round_ in (first, second):
        judged = stored.judgement(loop.rounds.folder(round_.id))
        assert judged is not None and judged.candidate.interval is not None
        low, high = judged.candidate.interval
        assert f"{judged.candidate.mAP:.3f} {low:.3f} to {high:.3f}" in page
        assert judged.champion is not None
        assert f"{judged.champion.mAP:.3f} {judged.champion.version}" in page
        assert (round_.verdict or "?") in page
    assert "5 new images, 30 in all, 6 of them held out" in page
    assert "yolox_nano from COCO weights, 120 iterations" in page
    assert [(p.round, p.labelled, p.promoted) for p in rounds.points(rounds.rows(loop, 1))] == [
        (1, 25, True),
        (2, 30, False),
    ]


def test_rounds_keep_their_number_and_say_which_of_the_project_they_are(
    client: TestClient, loop: WatchedLoop
) -> None:
    for project in (2, 1):
        round_, _ = loop.rounds.request(project, "button")
        loop.rounds.move(round_.id, State.FAILED, error="a test")
    page = words(client.get("/rounds?project=1").text)
    assert "2 (1st of this project) failed" in page
    assert "Start Training was pressed in Label Studio" in page
    assert "Round 2 (1st of this project): failed" in words(client.get("/?project=1").text)


def test_what_changed_names_relabelled_images_and_labels(loop: WatchedLoop) -> None:
    folders = []
    for round_id, snapshot in ((1, snapshot_of(loop, 10)), (2, relabelled(snapshot_of(loop, 9)))):
        loop.rounds.request(1, "a test")
        folders.append(loop.rounds.folder(round_id))
        folders[-1].mkdir(parents=True)
        snapshot.write(folders[-1])
        loop.rounds.move(round_id, State.FAILED, error="a test")
    newest, oldest = rounds.rows(loop, 1)
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
    snapshot_of(loop, 10).write(loop.rounds.folder(1))

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
    assert "No candidate has a score yet." in page


def test_another_projects_rounds_are_not_shown(client: TestClient, loop: WatchedLoop) -> None:
    loop.rounds.request(2, "somebody else")
    assert "somebody else" not in client.get("/rounds?project=1").text
