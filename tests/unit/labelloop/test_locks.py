"""Locks between processes on one volume."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelloop import locks
from labelloop.locks import FOREVER, Busy, holders_note, holding, take


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "lock"
    with holding(path):
        words = f"{path} is locked by process {os.getpid()}$"
        with pytest.raises(Busy, match=words) as refused, holding(path):
            pass
        assert refused.value.note == holders_note(path) == str(os.getpid())
    assert holders_note(path) is None
    assert path.read_text() == "", "what a former holder noted says nothing of the next one"


def test_a_note_of_ones_own_is_what_the_refused_read(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path, note="a backup, since noon"):
        with pytest.raises(Busy) as refused, holding(path):
            pass
        assert refused.value.note == holders_note(path) == "a backup, since noon"


def test_a_holder_without_a_note_is_a_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path, note=""):
        assert holders_note(path) == ""
        with pytest.raises(Busy, match=r"process \?"), holding(path):
            pass


def test_nobody_holds_a_lock_that_is_not_there(tmp_path: Path) -> None:
    assert holders_note(tmp_path / "lock") is None
    assert not (tmp_path / "lock").exists()


def test_the_error_of_the_block_is_not_taken_for_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of the block"), holding(tmp_path / "lock"):
        raise OSError("of the block")
    with holding(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("wait_s", [30.0, FOREVER])
def test_a_lock_is_free_once_its_holder_was_killed(tmp_path: Path, wait_s: float) -> None:
    path = tmp_path / "lock"
    code = "import sys, time; from labelloop.locks import holding; from pathlib import Path\n"
    code += "with holding(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with path.open("a") as file:
            assert not take(file)
            began = time.monotonic()
            assert not take(file, 0.2) and time.monotonic() - began >= 0.2
            assert not take(file, 60.0, lambda: True), "it was told to stop"
            holder.kill()
            assert take(file, wait_s)


def test_every_lock_of_ours_is_taken_in_one_module() -> None:
    repo = Path(__file__).parents[3]
    sources = [path for top in ("images", "compose") for path in (repo / top).rglob("*.py")]
    locking = [path for path in sources if "flock(" in path.read_text(encoding="utf-8")]
    assert locking == [Path(locks.__file__)]
