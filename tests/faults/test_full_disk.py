"""A volume without room: who needs it says so, the champion serves on, and room alone heals."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from faults.conftest import running
from faults.disks import small_disk
from faults.loop import HEALS_WITHIN_S, PROJECT, QuickLoop
from support.stack import wait_for

from labelloop.files import write_text
from trainer.health import health
from trainer.rounds.table import State

pytestmark = [
    pytest.mark.matrix,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system"),
]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], tuple[QuickLoop, Callable[[], Path]]]]:
    """A loop with a small volume of that name."""
    with ExitStack() as stack:

        def make(volume: str) -> tuple[QuickLoop, Callable[[], Path]]:
            fill = stack.enter_context(small_disk(tmp_path / "volumes" / volume))
            return stack.enter_context(contextmanager(running)(tmp_path)), fill

        yield make


@pytest.mark.parametrize("stage", ["snapshot", "training", "evaluation", "promotion"])
@pytest.mark.parametrize("volume", ["rounds", "models"])
def test_a_full_volume_in_a_round(
    small: Callable[[str], tuple[QuickLoop, Callable[[], Path]]], volume: str, stage: str
) -> None:
    """The round waits or fails with that reason; no half version is seen; what serves, serves."""
    loop, fill = small(volume)
    with loop.holding(stage):
        filler = fill()
    time.sleep(3.0)
    assert loop.predict()["model_version"] in ("v0000", "v0001")
    problems = "; ".join(health.look(loop.settings).problems)
    assert f"the disk of {loop.settings.volumes_dir / volume} is full" in problems
    for version in loop.models.versions():
        loop.models.check(version)
    filler.unlink()
    loop.heal()
    [round_] = loop.rounds.history(PROJECT)
    if round_.state is not State.PROMOTED:
        assert round_.state is State.FAILED, round_
        assert "No space left" in (round_.error or "") or "disk is full" in (round_.error or ""), round_
    loop.request_round()
    loop.heal()
    assert loop.rounds.history(PROJECT, 1)[0].state is State.PROMOTED


def test_a_worker_outlives_a_full_disk(small: Callable[[str], tuple[QuickLoop, Callable[[], Path]]]) -> None:
    """It says nothing for want of room, but is not ended by it again and again."""
    loop, fill = small("rounds")
    pid = loop.processes["worker"].pid
    filler = fill()
    wait_for("the reason in the log", lambda: "no sign of life could be given" in loop.log, HEALS_WITHIN_S)
    assert loop.processes["worker"].poll() is None
    filler.unlink()
    loop.heal()
    assert loop.processes["worker"].pid == pid


def test_a_file_that_found_no_room_is_named_and_as_it_was(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as fill:
        path = tmp_path / "disk" / "champion"
        write_text(path, "v0001\n")
        fill()
        with pytest.raises(OSError, match="champion") as raised:
            write_text(path, "v0002\n" * 10_000)
        assert raised.value.errno == errno.ENOSPC
        assert path.read_text() == "v0001\n"
        assert [entry.name for entry in path.parent.iterdir() if entry.name != "filler"] == ["champion"]
