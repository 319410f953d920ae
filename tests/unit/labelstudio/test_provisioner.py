"""The provisioner as `make up` and supervisord see it: exit status, last words, and the state it leaves."""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.answering import Served

from provisioner.__main__ import GIVEN_UP, TOKEN_REFUSED

REPO = Path(__file__).parents[3]


class Answering:
    """A Label Studio that is up, and answers all else in one way."""

    def __init__(self, status: int, answer: Any) -> None:
        self._answer = status, answer

    def answer(self, method: str, path: str, query: Any, body: Any) -> tuple[int, Any]:
        return (200, {"status": "UP"}) if path == "/health" else self._answer


def provision(home: Path, url: str, seconds: float = 1) -> "subprocess.CompletedProcess[str]":
    sources = (REPO / "images/base", REPO / "images/labelstudio")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, sources)),
        "LABELLOOP_HOME": str(home),
        "LABELSTUDIO_URL": url,
        "API_TOKEN": "token",
    }
    command = [sys.executable, "-m", "provisioner", "--wait", str(seconds)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """What an earlier boot left: all was done."""
    file = tmp_path / "volumes" / "labelstudio" / "provisioned.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"project": 1, "title": "labelloop", "done": True}))
    return file


def test_a_token_that_was_reset_is_not_waited_for(tmp_path: Path, state: Path) -> None:
    started = time.monotonic()
    with Served(Answering(401, {"detail": "Invalid token."})) as url:
        ended = provision(tmp_path, url, seconds=30)
    assert ended.returncode == TOKEN_REFUSED and time.monotonic() - started < 20
    assert "`make restart` sets it again" in ended.stderr and "Invalid token" in ended.stderr
    now = json.loads(state.read_text())
    assert not now["done"] and "Invalid token" in now["waiting"]


def test_supervisord_leaves_it_at_that() -> None:
    lines = (REPO / "configs/supervisor/labelstudio.conf").read_text().splitlines()
    [ends] = [line for line in lines if line.startswith("exitcodes=")]
    assert str(TOKEN_REFUSED) in ends.partition("=")[2].split(",")
    assert str(GIVEN_UP) not in ends.partition("=")[2].split(",")


def test_what_it_waits_for_is_in_the_state_and_is_its_last_word(tmp_path: Path, state: Path) -> None:
    with Served(Answering(503, "database is locked")) as url:
        ended = provision(tmp_path, url)
    assert ended.returncode == GIVEN_UP and "database is locked" in ended.stderr.splitlines()[-1]
    now = json.loads(state.read_text())
    assert not now["done"] and "database is locked" in now["waiting"]


def test_a_provisioner_that_breaks_leaves_no_done_behind(tmp_path: Path, state: Path) -> None:
    with Served(Answering(200, [])) as url:
        ended = provision(tmp_path, url, seconds=30)
    assert ended.returncode not in (0, TOKEN_REFUSED)
    now = json.loads(state.read_text())
    assert not now["done"] and now["waiting"] in ended.stderr.splitlines()[-1]


def test_the_reason_of_another_one_that_is_at_work_is_told(tmp_path: Path, state: Path) -> None:
    state.write_text(json.dumps({"waiting": "the ML backend does not answer"}))
    with (state.parent / ".provisioner.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = provision(tmp_path, "http://127.0.0.1:9")
    assert ended.returncode == GIVEN_UP and "the ML backend does not answer" in ended.stderr
