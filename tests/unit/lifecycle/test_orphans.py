import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.runtime import orphans

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """A program with the mark that takes no notice of SIGTERM."""
    program = subprocess.Popen(
        [sys.executable, "-c", STUBBORN],
        env={**os.environ, orphans.MARK: str(folder)},
        stdout=subprocess.PIPE,
    )
    assert program.stdout is not None
    program.stdout.readline()
    return program


def test_a_checkouts_orphans_are_ended_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "GRACE_SECONDS", 0.5)
    mine, another = start(tmp_path / "mine"), start(tmp_path / "mine2")
    try:
        assert orphans.find(tmp_path / "mine") == [mine.pid]
        orphans.end(tmp_path / "mine")
        assert mine.wait(5) == -9
        assert another.poll() is None
        assert orphans.find(tmp_path / "mine") == []
    finally:
        for program in (mine, another):
            program.kill()
            program.wait()
