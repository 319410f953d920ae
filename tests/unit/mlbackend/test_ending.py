"""What a backend that is told to end still answers, under its own gunicorn."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.ports import free_port
from support.stack import wait_for

REPO = Path(__file__).parents[3]
_APP = """
import time

def app(environ, start):
    time.sleep(2.5 if environ["PATH_INFO"] == "/slow" else 0)
    start("200 OK", [("Content-Length", "5")])
    return [b"boxes"]
"""


class Backend:
    """A small program under the backend's gunicorn."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process, self._port = process, port

    def ask(self, path: str = "/") -> str:
        """Over a connection of its own; what was wrong, where there was no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=20) as answer:
                return str(answer.read().decode())
        except OSError as error:
            return repr(error)


@contextmanager
def backend(folder: Path, backends: str) -> Iterator[Backend]:
    (folder / "small.py").write_text(_APP)
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(REPO / "images" / name) for name in ("base", "mlbackend")),
        "MLBACKEND_BIND": f"127.0.0.1:{port}",
        "BACKENDS": backends,
    }
    config = REPO / "configs" / "gunicorn" / "mlbackend.py"
    command = [sys.executable, "-m", "gunicorn", "--config", str(config), "small:app"]
    process = subprocess.Popen(command, cwd=folder, env=environment)
    made = Backend(process, port)
    try:
        wait_for("its first answer", lambda: made.ask() == "boxes", 60, every=0.1)
        yield made
    finally:
        process.kill()
        process.wait(20)


def test_one_of_several_answers_a_while_who_did_not_hear_yet_that_it_ends(tmp_path: Path) -> None:
    """Where a name leads is known on other nodes a moment later than where the old one is told to end."""
    with backend(tmp_path, "2") as old:
        old.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        said = []
        while time.monotonic() < told + 1.5:
            said.append(old.ask())
            time.sleep(0.02)
        assert set(said) == {"boxes"}
        assert old.ask("/slow") == "boxes", "one that came last is waited for"
        assert old.process.wait(20) == 0


@pytest.mark.parametrize("backends", ["", "1"])
def test_a_single_one_ends_at_once(tmp_path: Path, backends: str) -> None:
    with backend(tmp_path, backends) as old:
        old.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert old.process.wait(20) == 0
        assert time.monotonic() < began + 2.0
