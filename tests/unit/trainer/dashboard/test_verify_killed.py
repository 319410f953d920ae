"""Killed, or cut off from Label Studio, at any moment: no answer is lost, and nothing is written twice."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from support.dashboard import Login, log_in
from support.fake_studio import FakeStudio
from support.stack import wait_for
from support.verify_data import SURE, answer, crops, judged, propose, undo

from labelloop.errors import Explained
from trainer.dashboard import verifying
from trainer.dashboard.app import create_app
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.verify_store import Store


class Killed(Exception):
    """In place of a signal: nothing in the dashboard catches it."""


def killed(*given: object) -> None:
    raise Killed


@pytest.fixture
def tasks(loop: WatchedLoop, fake_studio: FakeStudio) -> list[int]:
    """One whose box is called right, one whose box is called wrong."""
    judged(loop)
    return [propose(loop, fake_studio, ("ball", SURE)), propose(loop, fake_studio, ("ball", 0.91))]


@pytest.fixture
def began_anew(loop: WatchedLoop, login: Login, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The dashboard's process ends, another one begins, and Ann opens the page."""
    monkeypatch.setattr(verifying, "RETRY_S", 0.02)

    def again() -> None:
        app = create_app(WatchedLoop(loop.settings, loop.studio, loop.backend), "a secret", login)
        with TestClient(app, follow_redirects=False) as client:
            assert log_in(client) == 303
            store = app.state.parts.verifying.of(1).store
            wait_for("what is due", lambda: not store.due(1) and not store.undoing(), 60, every=0.02)
            client.get("/verify?project=1")

    return again


def written(studio: FakeStudio, tasks: list[int]) -> list[tuple[int, int]]:
    """Of each task, how many annotations and drafts it has."""
    rows = [studio.tasks[task] for task in tasks]
    return [(len(row.get("annotations", [])), len(row.get("drafts", []))) for row in rows]


@pytest.mark.parametrize("moment", ["before Label Studio is asked", "before its answer is noted"])
def test_what_was_answered_before_a_kill_is_handed_in_once(
    client: TestClient,
    fake_studio: FakeStudio,
    tasks: list[int],
    began_anew: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    told = crops(client)
    with monkeypatch.context() as broken, pytest.raises(Killed):
        if moment == "before Label Studio is asked":
            broken.setattr(verifying._Project, "_handed_in", killed)
        else:
            broken.setattr(Store, "settle", killed)
        answer(client, told, 2)
    assert written(fake_studio, tasks) == ([(0, 0)] * 2 if moment.endswith("asked") else [(1, 0), (0, 1)])
    for _ in range(2):
        began_anew()
        assert written(fake_studio, tasks) == [(1, 0), (0, 1)]


@pytest.mark.parametrize("moment", ["before Label Studio is asked", "before its answer is noted"])
def test_what_was_being_taken_back_is_taken_back_after_a_kill(
    client: TestClient,
    fake_studio: FakeStudio,
    tasks: list[int],
    began_anew: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    answer(client, crops(client), 2)
    with monkeypatch.context() as broken, pytest.raises(Killed):
        if moment == "before Label Studio is asked":
            broken.setattr(verifying._Project, "_take_back", killed)
        else:
            broken.setattr(Store, "undone", killed)
        undo(client)
    began_anew()
    assert written(fake_studio, tasks) == [(0, 0), (0, 0)]
    again = crops(client)
    assert [row["wrong"] for row in again["crops"]] == [False, True]
    answer(client, again, 2)
    assert written(fake_studio, tasks) == [(1, 0), (0, 1)]


def test_while_label_studio_does_not_answer_answers_wait(
    client: TestClient, fake_studio: FakeStudio, tasks: list[int], began_anew: Callable[[], None]
) -> None:
    told = crops(client)

    def down(items: object) -> None:
        raise Explained("down for a test")

    fake_studio.before_verified = down  # type: ignore[assignment]
    said = answer(client, told)
    assert "2 right, 0 wrong. Written down; Label Studio gets it as soon as it takes it" in said
    assert written(fake_studio, tasks) == [(0, 0), (0, 0)]
    fake_studio.before_verified = lambda items: None
    began_anew()
    assert written(fake_studio, tasks) == [(1, 0), (1, 0)]


def test_a_damaged_file_is_put_aside_and_what_label_studio_has_stays(
    client: TestClient,
    loop: WatchedLoop,
    fake_studio: FakeStudio,
    tasks: list[int],
    began_anew: Callable[[], None],
) -> None:
    answer(client, crops(client), 2)
    file = loop.models(1).path / "verify.sqlite3"
    for beside in file.parent.glob("verify.sqlite3*"):
        beside.unlink()
    file.write_bytes(b"no database" * 1000)
    began_anew()
    assert written(fake_studio, tasks) == [(1, 0), (0, 1)]
    assert list(file.parent.glob("verify.sqlite3.damaged-*"))
