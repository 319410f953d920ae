"""Files overwritten, cut short or gone: the loop heals without a hand, or says which file it is and why."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.loop import HEALS_WITHIN_S, PROJECT, QuickLoop
from support.fake_learning import made_snapshot
from support.stack import wait_for

from labelloop.registry import RegistryError
from trainer.dataset import split
from trainer.dataset.snapshot import SnapshotError, take
from trainer.health import health
from trainer.rounds import heartbeat
from trainer.rounds.folder import JOB, SNAPSHOT
from trainer.rounds.table import Round, Rounds, State
from trainer.training.job import Job, JobError

pytestmark = pytest.mark.matrix

GARBAGE = b"\x00\xffgarbage\n" * 800


@dataclass(frozen=True)
class Damage:
    name: str
    do: Callable[[Path], object]

    def __str__(self) -> str:
        return self.name


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


OVERWRITTEN = Damage("overwritten", lambda path: path.write_bytes(GARBAGE))
EMPTY = Damage("empty", lambda path: path.write_bytes(b""))
HALF = Damage("half", cut)
GONE = Damage("gone", lambda path: path.unlink())
EVERY = pytest.mark.parametrize("damage", [OVERWRITTEN, EMPTY, HALF, GONE], ids=str)


def promoted(loop: QuickLoop) -> Round:
    """A round from its request to its end."""
    loop.request_round()
    loop.heal()
    newest = loop.rounds.history(PROJECT, 1)[0]
    assert newest.state is State.PROMOTED, newest
    return newest


def restart(loop: QuickLoop) -> None:
    for name in ("worker", "backend"):
        loop.end(name, signal.SIGKILL)


@EVERY
def test_the_champion_pointer_heals_to_the_version_it_named(own_loop: QuickLoop, damage: Damage) -> None:
    """Also after a rollback: not simply the newest."""
    promoted(own_loop)
    promoted(own_loop)
    own_loop.models.promote("v0001")
    own_loop.heal()
    damage.do(own_loop.models.path / "champion")
    restart(own_loop)
    wait_for("the pointer", lambda: served(own_loop) == "v0001", HEALS_WITHIN_S, every=0.1)
    own_loop.heal()
    promoted(own_loop)


@pytest.mark.parametrize("name", ["card.json", "config.py", "weights.pth"])
@EVERY
def test_a_damaged_champion_gives_way_to_the_version_before(
    own_loop: QuickLoop, damage: Damage, name: str
) -> None:
    promoted(own_loop)
    damage.do(own_loop.models.folder("v0001") / name)
    own_loop.end("backend", signal.SIGKILL)
    wait_for("v0000 in service", lambda: served(own_loop) == "v0000", HEALS_WITHIN_S, every=0.1)
    assert f"v0001/{name}" in own_loop.log and "v0000 takes its place" in own_loop.log
    with pytest.raises(RegistryError, match=name):
        own_loop.models.check("v0001")
    wait_for("all to be well", lambda: not own_loop.trouble(), HEALS_WITHIN_S, every=0.1)


def test_without_any_whole_version_there_is_a_new_starting_model(own_loop: QuickLoop) -> None:
    OVERWRITTEN.do(own_loop.models.folder("v0000") / "weights.pth")
    restart(own_loop)
    wait_for("a new starting model", lambda: served(own_loop) == "v0001", HEALS_WITHIN_S, every=0.1)
    assert "v0000" in own_loop.models.versions(), "what is damaged is kept, and its name not given again"


def served(loop: QuickLoop) -> str | None:
    try:
        return str(loop.predict()["model_version"])
    except OSError:
        return None


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "before it starts"])
@pytest.mark.parametrize("damage", [OVERWRITTEN, EMPTY, HALF], ids=str)
def test_a_damaged_table_of_rounds_is_begun_anew_and_said(
    own_loop: QuickLoop, damage: Damage, running: bool
) -> None:
    """The history is lost; a new round has a number, and so a folder, of its own."""
    before = promoted(own_loop)
    with sqlite3.connect(own_loop.rounds.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    if not running:
        own_loop.processes["worker"].kill()
        own_loop.processes["worker"].wait()
    for suffix in ("-wal", "-shm"):
        own_loop.rounds.path.with_name(f"rounds.sqlite3{suffix}").unlink(missing_ok=True)
    damage.do(own_loop.settings.rounds_dir / "rounds.sqlite3")
    time.sleep(1.0 if running else 0.0)
    own_loop.heal()
    after = promoted(own_loop)
    assert after.id > before.id
    assert after.version == "v0002"
    if damage is not EMPTY:
        assert own_loop.rounds.damaged(), "the old table is there still"


@pytest.mark.parametrize("damage", [OVERWRITTEN, EMPTY, HALF], ids=str)
def test_a_damaged_index_of_images_is_made_anew(own_loop: QuickLoop, damage: Damage) -> None:
    damage.do(own_loop.settings.rounds_dir / "images.sqlite3")
    with own_loop.holding("import"):
        pass
    own_loop.heal()
    assert own_loop.studio.files == own_loop.studio.synced
    assert not list(own_loop.settings.rounds_dir.glob("images.sqlite3.damaged*"))


@EVERY
def test_a_damaged_evaluation_is_made_again(own_loop: QuickLoop, damage: Damage) -> None:
    with own_loop.holding("promotion"):
        own_loop.end("worker", signal.SIGKILL)
        damage.do(own_loop.rounds.folder(1) / "evaluation.json")
    own_loop.heal()
    assert own_loop.rounds.get(1).state is State.PROMOTED
    assert own_loop.models.versions() == ["v0000", "v0001"]


@pytest.mark.parametrize("damage", [OVERWRITTEN, EMPTY, HALF], ids=str)
def test_a_damaged_snapshot_fails_the_round_and_names_the_file(own_loop: QuickLoop, damage: Damage) -> None:
    folder = own_loop.rounds.folder(1)
    made_snapshot().write(folder)
    damage.do(folder / SNAPSHOT)
    with pytest.raises(SnapshotError, match=r"snapshot\.json is damaged.*make retrain"):
        take(None, PROJECT, own_loop.settings, folder, lambda share, text: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", [OVERWRITTEN, EMPTY, HALF], ids=str)
def test_a_damaged_job_names_the_file(tmp_path: Path, damage: Damage) -> None:
    (tmp_path / JOB).write_text('{"project_id": 1, "detector": "yolox_nano"}')
    damage.do(tmp_path / JOB)
    with pytest.raises(JobError, match=r"job\.json is damaged.*make retrain"):
        Job.load(tmp_path)


@pytest.mark.parametrize("damage", [OVERWRITTEN, EMPTY, HALF], ids=str)
def test_a_damaged_split_gives_way_to_its_copy(tmp_path: Path, damage: Damage) -> None:
    """Nothing that was trained on comes to the hold-out."""
    path = tmp_path / split.SPLIT_FILE
    sides = split.settle(path, [f"{number:064d}" for number in range(20)], 20)
    damage.do(path)
    assert split.load(path) == sides
    more = split.settle(path, [f"{number:064d}" for number in range(40)], 20)
    assert {digest: more[digest] for digest in sides} == sides
    assert json.loads(path.read_text())["sides"] == more
    damage.do(path)
    damage.do(path.with_name(f".{path.name}"))
    with pytest.raises(split.SplitError, match=r"split\.json is damaged"):
        split.load(path)


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
def test_a_clock_that_jumps(own_loop: QuickLoop, ahead_s: float) -> None:
    """A sign of life of another time is none; a live worker's next one is good."""
    own_loop.send("worker", signal.SIGSTOP)
    path = own_loop.settings.rounds_dir / "worker.json"
    beat = json.loads(path.read_bytes())
    path.write_text(json.dumps(beat | {"at": time.time() + ahead_s}))
    found = heartbeat.read(own_loop.settings.rounds_dir)
    assert health.worker_problems(found), "a worker that stands still is not taken for a live one"
    own_loop.send("worker", signal.SIGCONT)
    own_loop.heal()


def test_images_from_the_future_are_imported(own_loop: QuickLoop) -> None:
    with own_loop.holding("import"):
        for image in own_loop.settings.images_dir.iterdir():
            os.utime(image, (time.time() + 86400, time.time() + 86400))
    own_loop.heal()
    assert own_loop.studio.files == own_loop.studio.synced


def test_a_second_trainer_on_the_volume_ends_and_says_why(own_loop: QuickLoop) -> None:
    own_loop.processes["second"] = own_loop.processes.pop("worker")
    own_loop.start("worker")
    assert own_loop.processes["worker"].wait(HEALS_WITHIN_S) == 3
    assert "another worker runs on this volume" in own_loop.log
    own_loop.processes["worker"] = own_loop.processes.pop("second")
    promoted(own_loop)


def test_a_new_table_numbers_on_behind_the_folders(tmp_path: Path) -> None:
    (tmp_path / "00041").mkdir()
    assert Rounds(tmp_path).request(PROJECT, "test")[0].id == 42
