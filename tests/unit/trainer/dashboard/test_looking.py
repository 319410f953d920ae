"""A look at the images: begun by a button, followed on both pages, told in words when it fails."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.dashboard import csrf, words
from support.dashboard_data import Guesser, finished_round, label_in, snapshot_of
from support.fake_child import FakeChild
from support.fake_studio import FakeStudio

from labelloop.detector import Detector
from labelloop.locks import holding
from trainer.dashboard import predictions
from trainer.dashboard.looking import Looking
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.predictions import LookError

PAGES = ("/model?project=1&version=v0000", "/label-errors?project=1")


class Desk:
    """Looks whose processes only pretend."""

    def __init__(self, loop: WatchedLoop) -> None:
        self.children: list[FakeChild] = []
        self.looking = Looking(loop, self._spawn)  # type: ignore[arg-type]

    def _spawn(self, arguments: list[str], log_path: Path) -> FakeChild:
        self.children.append(FakeChild(arguments, log_path))
        return self.children[-1]

    def say(self, words: str) -> None:
        self.children[-1].last_words = lambda: words  # type: ignore[method-assign]

    def end(self, status: int) -> None:
        self.children[-1].exit = status


@pytest.fixture
def desk(loop: WatchedLoop, app: FastAPI) -> Desk:
    """v0000 is in service and scored; nobody has looked."""
    finished_round(loop, 10, stray=0, champion_stray=40)
    loop.models(1).promote("v0000")
    made = Desk(loop)
    object.__setattr__(app.state.parts, "looking", made.looking)
    return made


@pytest.fixture
def real(
    loop: WatchedLoop, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[int]]:
    """Looks of v0000 in this process; each returns how many images were shown to the detector."""
    shown: list[int] = []

    def looks() -> list[int]:
        shown.clear()
        snapshot = snapshot_of(loop, 12)
        guesser = Guesser.of(loop, snapshot, "v0000", 0)
        counted = guesser.predict
        guesser.predict = lambda images: (shown.append(len(images)), counted(images))[1]  # type: ignore[method-assign]
        monkeypatch.setattr(Detector, "load", lambda path, device: guesser)
        predictions.look(1, "v0000", loop.settings, loop.studio, lambda words: None)
        return [sum(shown)]

    return looks


def press(client: TestClient, then: str = "model") -> str:
    form = {"csrf": csrf(client, "/model?version=v0000")}
    answer = client.post(f"/model/look?project=1&version=v0000&then={then}", data=form)
    assert answer.headers["Location"] == f"/{then}?project=1&version=v0000#look"
    return words(client.get(answer.headers["Location"]).text)


def test_a_look_needs_the_pages_token(client: TestClient, desk: Desk) -> None:
    assert client.post("/model/look?version=v0000", data={}).status_code == 403
    assert desk.children == []


def test_both_pages_follow_a_look_that_is_under_way(client: TestClient, desk: Desk) -> None:
    assert "v0000 looks at the labelled images now." in press(client)
    assert desk.children[0].arguments == ["trainer.dashboard.predictions", "1", "v0000"]
    desk.say("8 of 10 images")
    for page in PAGES:
        html = client.get(page).text
        [box] = re.findall(r'<div id="look" data-poll="([^"]+)" data-then="results">', html)
        assert "Look at the images" not in html and "Look again" not in html
        part = client.get(box.replace("&amp;", "&")).text
        assert "looking at 8 of 10 images" in words(part) and 'max="10" value="8"' in part
        assert "data-settled" not in part
    assert "v0000 is looking at the labelled images already." in press(client)
    desk.end(0)
    assert "data-settled" in client.get("/model/look?project=1&version=v0000").text
    assert "data-poll" not in client.get(PAGES[0]).text


FAILURES = [
    (1, "The look failed: its last words. Look again once that is mended; its log is volumes/models/1/"),
    (
        -signal.SIGTERM,
        "The look was ended by a stop or restart of the stack (SIGTERM). Look again; its log",
    ),
    (
        -signal.SIGKILL,
        "mostly because memory ran out (SIGKILL). Look again, with more memory for the trainer",
    ),
    (-signal.SIGSEGV, "The look was ended by a crash in native code (SIGSEGV). Look again; its log is"),
]


def test_a_failure_is_told_in_words_with_the_way_out(client: TestClient, desk: Desk) -> None:
    for status, told in FAILURES:
        press(client)
        desk.end(status)
        for page in PAGES:
            shown = words(client.get(page).text)
            assert told in shown and "failed: SIG" not in shown and "Look at the images" in shown
        assert told in words(client.get("/model/look?project=1&version=v0000").text)


def test_a_failure_goes_once_there_are_results(
    client: TestClient, desk: Desk, fake_studio: FakeStudio, loop: WatchedLoop, real: Callable[[], list[int]]
) -> None:
    """Of whichever process, such as that of `make report`. A failure of a later look is told beside them."""
    label_in(fake_studio, snapshot_of(loop, 10))
    press(client)
    desk.end(1)
    assert "The look failed" in client.get(PAGES[0]).text
    assert "v0001 looks at" in desk.looking.begin(1, "v0001")
    desk.end(0)
    assert "The look failed" in client.get(PAGES[0]).text, "another version's look says nothing of this one's"
    real()
    for page in PAGES:
        assert "The look failed" not in client.get(page).text
    press(client)
    desk.end(1)
    assert all(text in client.get(PAGES[0]).text for text in ("The look failed", "Which label was taken"))
    restarted = Looking(loop)
    assert restarted.state(1, "v0000") is None


def test_looking_again_takes_the_labels_of_now_and_looks_at_new_images_only(
    client: TestClient, desk: Desk, fake_studio: FakeStudio, loop: WatchedLoop, real: Callable[[], list[int]]
) -> None:
    label_in(fake_studio, snapshot_of(loop, 10))
    assert real() == [10]
    assert "of 10 images" in words(client.get(PAGES[1]).text)
    label_in(fake_studio, snapshot_of(loop, 12))  # tasks 11 to 22, of which two have new pictures
    assert "Look again" in client.get(PAGES[0]).text and "Look again" in client.get(PAGES[1]).text
    assert real() == [2]
    assert "of 12 images" in words(client.get(PAGES[1]).text)
    (loop.models(1).path / "seen" / "v0099.1").mkdir()
    assert real() == [0]
    kept = sorted(path.name for path in (loop.models(1).path / "seen").glob("*.[0-9]"))
    assert kept == ["v0000.2", "v0000.3"], "the newest, and the one that a page may be showing"


def test_two_processes_do_not_look_at_once(loop: WatchedLoop, real: Callable[[], list[int]]) -> None:
    with (
        holding(loop.models(1).path / "seen" / "look.lock"),
        pytest.raises(LookError, match="wait for its end"),
    ):
        real()


def test_the_process_itself_says_why_it_cannot_look(
    client: TestClient, app: FastAPI, loop: WatchedLoop, child_processes: None
) -> None:
    """Nothing is labelled. By the real process."""
    finished_round(loop, 10, stray=0, champion_stray=40)
    loop.models(1).promote("v0000")
    press(client)
    assert app.state.parts.looking.wait(60)
    page = words(client.get("/model?version=v0000").text)
    assert "The look failed: project 1 has 0 labelled images; label at least one and submit it." in page
