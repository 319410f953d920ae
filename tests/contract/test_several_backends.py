"""Two real ML backends, processes behind one name: they follow the same pointers and change together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from support.backend_home import LABEL_CONFIG, PASSWORD, TRAINER_PASSWORD, Home, wait_until
from support.ports import free_port

AUTH = ("labelstudio", PASSWORD)
START_S = 300.0
SLOW_S = 2.0
"""How long one of them takes to load a version: longer than it may answer with a former one."""
# With a detector that needs no torch; everything else is the real backend's.
SERVE = """
import sys
from support.backend_home import Home
from labelloop.settings import get_settings
from mlbackend.app import create_app
from werkzeug.serving import make_server

home = Home(get_settings(), load_pause_s=float(sys.argv[2]))
app = create_app(home.settings, home.load)
make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True).serve_forever()
"""


@dataclass
class Answer:
    """began, ended: by time.monotonic()."""

    began: float
    ended: float
    status: int
    version: str


@dataclass
class Backend:
    """One of them, its load of a version taking `pause_s`. answers: all that it gave, in their order."""

    home: Path
    pause_s: float = 0.0
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(port), str(self.pause_s)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "LABELLOOP_HOME": str(self.home),
                "BACKEND_PASSWORD": PASSWORD,
                "TRAINER_PASSWORD": TRAINER_PASSWORD,
                "BACKENDS": "2",
            },
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def ask(self, path: str) -> Answer:
        """As Label Studio asks, at /setup or /predict."""
        body = {"project": "1.1699999999", "schema": LABEL_CONFIG, "label_config": LABEL_CONFIG}
        began = time.monotonic()
        answer = requests.post(self.url + path, json=body | {"tasks": []}, auth=AUTH, timeout=60)
        said = Answer(began, time.monotonic(), answer.status_code, str(answer.json().get("model_version")))
        self.answers.append(said)
        return said

    def serves(self, version: str) -> bool:
        try:
            health = requests.get(f"{self.url}/health", timeout=10).json()
        except requests.ConnectionError:
            return False
        return bool((health["projects"].get("1") or {}).get("version") == version)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home.below(tmp_path / "home")
    made.add_version()
    return made


@pytest.fixture
def both(home: Home) -> Iterator[list[Backend]]:
    """A quick one and a slow one, both serving v0000."""
    made = [Backend(home.settings.labelloop_home, pause_s) for pause_s in (0.0, SLOW_S)]
    try:
        for one in made:
            wait_until(lambda one=one: one.serves("v0000"), START_S)
        yield made
    finally:
        for one in made:
            one.stop()


def test_none_answers_with_a_former_version_once_one_has_named_the_next(
    home: Home, both: list[Backend]
) -> None:
    """The last move is a roll-back."""
    moves = ["v0000", "v0002", "v0001"]
    for _ in moves[1:]:
        home.add_version(promote=False)
    done = threading.Event()

    def go_on_asking(one: Backend, path: str) -> None:
        while not done.is_set():
            one.ask(path)
            time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(go_on_asking, one, path) for one in both for path in ("/setup", "/predict")]
        try:
            for version in moves[1:]:
                home.registry.project(1).promote(version)
                wait_until(lambda version=version: all(one.serves(version) for one in both))
        finally:
            done.set()
        for future in asking:
            future.result()
    answers = [answer for one in both for answer in one.answers]
    assert {answer.status for answer in answers} == {200}
    for number, version in enumerate(moves[1:], start=1):
        told = min(answer.ended for answer in answers if answer.version in moves[number:])
        late = [answer for answer in answers if answer.version in moves[:number] and answer.began > told]
        assert not late, f"{len(late)} requests were answered by {late[0].version} after {version} was named"
    assert {answer.version for answer in answers} == set(moves)


def test_one_that_stood_still_while_the_others_changed_does_not_answer_with_the_former(
    home: Home, both: list[Backend]
) -> None:
    quick, slow = both
    assert slow.ask("/predict").version == "v0000"
    slow.process.send_signal(signal.SIGSTOP)
    home.add_version()
    wait_until(lambda: quick.serves("v0001"))
    assert quick.ask("/setup").version == "v0001"
    slow.process.send_signal(signal.SIGCONT)
    assert (slow.ask("/predict").status, slow.answers[-1].version) == (200, "v0001")


def test_one_that_starts_anew_does_not_name_a_version_before_the_others_have_left_the_former(
    home: Home, both: list[Backend]
) -> None:
    """It loads at once what was promoted a moment ago."""
    _, slow = both
    home.add_version()
    third = Backend(home.settings.labelloop_home)
    try:
        wait_until(lambda: third.serves("v0001"), START_S)
        assert slow.ask("/predict").version == "v0001"
    finally:
        third.stop()
