"""`make backup` and `make restore` through their verbs, with a stack that only pretends."""

import json
from pathlib import Path

import pytest
from support import kept

from lifecycle import backup as backup_module
from lifecycle import restore as module
from lifecycle import settings
from lifecycle import swap as swap_module
from lifecycle.backup import backup
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.restore import restore
from lifecycle.swap import Swap, undo_interrupted


@pytest.fixture
def stack(home: Home, monkeypatch: pytest.MonkeyPatch) -> kept.PretendedStack:
    kept.fill(home)
    made = kept.PretendedStack(home)
    for each in (module, backup_module):
        monkeypatch.setattr(each, "running_stack", lambda home, settings: made)
    monkeypatch.setattr(module, "up", made.up)
    monkeypatch.setattr(module, "build_ahead", made.build_ahead)
    (home.root / "configs/labels/everyday.xml").write_text("<View/>")
    return made


def archive_of(home: Home, **given: str) -> str:
    before = set(home.backups.glob("labelloop-*"))
    backup(home, given)
    [made] = set(home.backups.glob("labelloop-*")) - before
    return made.name


def work_on(home: Home) -> None:
    """What comes after the backup: labels, a model, another champion, settings, an image."""
    kept.annotate(home, 5)
    (home.volumes / "models/1/v0002").mkdir()
    (home.volumes / "models/1/v0002/card.json").write_text("{}")
    (home.volumes / "models/1/champion").write_text("v0002\n")
    (home.root / "configs/local.env").write_text("RETRAIN_EVERY=1\n")
    (home.root / "configs/labels/face.xml").write_text("<View>changed</View>")


def test_the_state_of_the_backup_comes_back_and_what_it_replaces_is_kept(
    home: Home, stack: kept.PretendedStack, capsys: pytest.CaptureFixture[str]
) -> None:
    before = kept.state(home)
    archive = archive_of(home)
    work_on(home)
    (home.volumes / "images/new.jpg").write_text("new")
    (home.volumes / "models/.gitkeep").touch()
    capsys.readouterr()
    restore(home, {"FILE": archive})
    after = kept.state(home)
    new = {"volumes/images/new.jpg": b"new", "volumes/models/.gitkeep": b""}
    lock = {name: data for name, data in before.items() if not name.endswith(".lock")}
    assert after == lock | new
    assert stack.calls == ["once", "build", "stop", "count", "start"]
    [aside] = home.backups.glob("replaced-*")
    assert kept.annotations(aside / "volumes/labelstudio/label_studio.sqlite3") == 8
    told = f"replaced     volumes/backups/{aside.name}, with 8 annotations, the archive has 3: at least 5"
    assert told in capsys.readouterr().out
    assert (aside / "configs/local.env").read_text() == "RETRAIN_EVERY=1\n"
    assert not list(home.backups.glob(".restoring-*")) and not list(home.backups.glob(".swapping*"))


def test_a_refused_archive_changes_nothing_and_stops_nothing(home: Home, stack: kept.PretendedStack) -> None:
    archive = archive_of(home)
    broken = home.backups / "broken.tar.gz"
    kept.rewrite(home.backups / archive, broken, {"../x": b""})
    before = kept.state(home)
    stack.calls.clear()
    with pytest.raises(Failure, match="a member named"):
        restore(home, {"FILE": str(broken)})
    assert kept.state(home) == before
    assert stack.calls == []


def test_a_stack_that_does_not_start_gets_its_former_state_back(
    home: Home, stack: kept.PretendedStack
) -> None:
    archive = archive_of(home, SECRETS="1")
    work_on(home)
    home.env_file.write_text("API_TOKEN=second\n")
    before = kept.state(home)
    stack.wrong = [Failure("labelstudio is unhealthy")]
    with pytest.raises(Failure, match=r"(?s)labelstudio is unhealthy.*The former state is back and runs"):
        restore(home, {"FILE": archive})
    assert kept.state(home) == before
    assert stack.calls == ["once", "build", "stop", "count", "start", "stop", "count", "start"]


def test_what_people_did_in_a_state_that_then_fails_is_kept_and_named(
    home: Home, stack: kept.PretendedStack
) -> None:
    """They label until the stop, which counts to the former state, and in the restored one for a while."""
    archive = archive_of(home)
    stack.labelled_in = {"build": 4, "start": 2, "once": 100, "count": 100}
    stack.wrong = [Failure("the trainer is unhealthy")]
    with pytest.raises(Failure, match="The former state is back and runs") as failed:
        restore(home, {"FILE": archive})
    assert kept.annotations(home.database) == 3 + 4 + 2, "of the former state, and it runs again"
    [failed_state] = home.backups.glob("replaced-*")
    assert kept.annotations(failed_state / "volumes/labelstudio/label_studio.sqlite3") == 3 + 2
    assert f"{failed_state.name}, with 5 annotations, the archive has 3: at least 2 came" in str(failed.value)


def test_a_build_that_fails_stops_nothing(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(home: Home) -> bool:
        raise Failure("building the image trainer failed")

    archive = archive_of(home)
    before = kept.state(home)
    monkeypatch.setattr(module, "build_ahead", fail)
    with pytest.raises(Failure, match="building the image"):
        restore(home, {"FILE": archive})
    assert stack.calls == ["once"] and kept.state(home) == before


def test_an_archive_may_mend_settings_that_nothing_can_be_built_with(
    home: Home, stack: kept.PretendedStack
) -> None:
    archive = archive_of(home)
    home.local_settings.write_text("RETRAIN_EVERY=often\n")
    restore(home, {"FILE": archive})
    assert home.local_settings.read_text() == "RETRAIN_EVERY=9\n"
    assert stack.calls == ["once", "stop", "count", "start"]


@pytest.mark.parametrize("step", [0, 1, 3, 5])
def test_a_way_back_killed_at_any_step_is_ended_by_the_next_command(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    archive = archive_of(home)
    work_on(home)
    before = kept.state(home)
    stack.wrong = [Failure("labelstudio is unhealthy")]
    moves, move, undo = 0, swap_module._move, Swap.undo

    def killed(source: Path, target: Path) -> None:
        nonlocal moves
        if moves == step:
            raise SystemExit
        moves += 1
        move(source, target)

    def undo_killed(swap: Swap, home: Home, keep: Path | None = None) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(swap_module, "_move", killed)
            undo(swap, home, keep)

    with monkeypatch.context() as patched, pytest.raises((SystemExit, Failure)):
        patched.setattr(Swap, "undo", undo_killed)
        restore(home, {"FILE": archive})
    undo_interrupted(home)
    assert kept.state(home) == before
    assert not undo_interrupted(home)
    [replaced] = home.backups.glob("replaced-*")
    assert kept.annotations(replaced / "volumes/labelstudio/label_studio.sqlite3") == 3


def test_settings_that_cannot_be_read_do_not_bar_the_way_back(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = home.backups / archive_of(home)
    bad = kept.rewrite(archive, home.backups / "bad.tar.gz", {"configs/local.env": b"not a setting\n"})
    before = kept.state(home)
    monkeypatch.setattr(module, "up", lambda home, given: settings.load(home) and stack.start())
    with pytest.raises(Failure, match=r"(?s)found 'not a setting'.*The former state is back and runs"):
        restore(home, {"FILE": str(bad)})
    assert kept.state(home) == before
    assert stack.calls == ["once", "build", "stop", "count", "count", "start"]


def test_a_former_state_that_does_not_start_either_is_said(home: Home, stack: kept.PretendedStack) -> None:
    archive = archive_of(home)
    stack.wrong = [Failure("one"), Failure("two")]
    with pytest.raises(Failure, match=r"(?s)one.*back but does not start: two"):
        restore(home, {"FILE": archive})


def test_without_secrets_in_the_archive_env_stays(home: Home, stack: kept.PretendedStack) -> None:
    archive = archive_of(home)
    home.env_file.write_text("PORT=9\nAPI_TOKEN=second\n")
    restore(home, {"FILE": archive})
    assert home.env_file.read_text() == "PORT=9\nAPI_TOKEN=second\n"


def test_secrets_come_back_but_the_hosts_ports_stay(home: Home, stack: kept.PretendedStack) -> None:
    archive = archive_of(home, SECRETS="1")
    home.env_file.write_text("PORT=9\nAPI_TOKEN=second\n")
    restore(home, {"FILE": archive})
    assert home.env_file.read_text() == "PORT=9\nAPI_TOKEN=first\n"


def test_images_in_the_archive_come_back_and_others_stay(home: Home, stack: kept.PretendedStack) -> None:
    archive = archive_of(home, IMAGES="1")
    (home.volumes / "images/a.jpg").unlink()
    (home.volumes / "images/b.jpg").write_text("later")
    restore(home, {"FILE": archive})
    assert (home.volumes / "images/a.jpg").read_text() == "mine"
    assert (home.volumes / "images/b.jpg").read_text() == "later"


def test_a_fresh_checkout_takes_an_archive_over(
    home: Home, stack: kept.PretendedStack, tmp_path: Path
) -> None:
    archive = home.backups / archive_of(home, SECRETS="1", IMAGES="1")
    before = kept.state(home)
    elsewhere = archive.rename(tmp_path / "kept.tar.gz")
    kept.without_state(home)
    restore(home, {"FILE": str(elsewhere)})
    lost = {".env", "volumes/rounds/worker.lock"}
    assert {name: data for name, data in kept.state(home).items() if name not in ("kept.tar.gz", ".env")} == {
        name: data for name, data in before.items() if name not in lost
    }
    assert "API_TOKEN=first" in home.env_file.read_text()


def test_a_swap_that_fails_midway_is_undone(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_of(home)
    work_on(home)
    before = kept.state(home)
    move = swap_module._move

    def fail(source: Path, target: Path) -> None:
        if source.name == "models" and ".restoring" in str(source):
            raise OSError("the disk is gone")
        move(source, target)

    monkeypatch.setattr(swap_module, "_move", fail)
    with pytest.raises(Failure, match="the disk is gone"):
        restore(home, {"FILE": archive})
    assert kept.state(home) == before


@pytest.mark.parametrize("step", range(8))
def test_a_swap_killed_at_any_step_is_undone_by_the_next_command(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    archive = archive_of(home)
    work_on(home)
    before = kept.state(home)
    moves = 0
    move = swap_module._move

    def killed(source: Path, target: Path) -> None:
        nonlocal moves
        if moves == step:
            raise SystemExit
        moves += 1
        move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(swap_module, "_move", killed)
        patched.setattr(Swap, "undo", lambda self, home: None)
        with pytest.raises(SystemExit):
            restore(home, {"FILE": archive})
    assert undo_interrupted(home)
    assert kept.state(home) == before
    assert not undo_interrupted(home)


def test_a_state_on_another_disk_is_refused_before_anything_is_stopped(
    home: Home, stack: kept.PretendedStack, tmp_path: Path
) -> None:
    archive = archive_of(home)
    (home.volumes / "models").rename(tmp_path / "elsewhere")
    (home.volumes / "models").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Failure, match="a link"):
        restore(home, {"FILE": archive})
    assert stack.calls == ["once", "build"] and stack.running
    assert not list(home.backups.glob(".restoring-*"))


def test_what_to_restore_has_to_be_named(home: Home, stack: kept.PretendedStack) -> None:
    archive = archive_of(home)
    with pytest.raises(Failure, match=f"needed FILE=volumes/backups/{archive}"):
        restore(home, {})
    with pytest.raises(Failure, match="no such file"):
        restore(home, {"FILE": "none.tar.gz"})


def test_a_backup_says_what_it_left_out(
    home: Home, stack: kept.PretendedStack, capsys: pytest.CaptureFixture[str]
) -> None:
    backup(home, {})
    told = capsys.readouterr().out
    assert "3 annotations" in told and "2 models" in told
    assert "left out     volumes/images" in told and ".env" in told


def test_a_backup_that_fails_says_why(home: Home, stack: kept.PretendedStack) -> None:
    home.database.write_bytes(b"no database")
    with pytest.raises(Failure, match="not a database"):
        backup(home, {})


def test_the_note_of_a_swap_names_what_moved(home: Home, tmp_path: Path) -> None:
    """A later version of labelloop may have to undo it."""
    kept.fill(home)
    staged = home.backups / ".restoring-1"
    (staged / "volumes/labelstudio").mkdir(parents=True)
    swap = Swap.plan(home, staged, home.backups / "replaced-1")
    swap.do(home)
    assert json.loads(json.dumps(swap.__dict__))["aside"] == "replaced-1"
    assert (home.backups / "replaced-1/volumes/models/1/champion").exists()
