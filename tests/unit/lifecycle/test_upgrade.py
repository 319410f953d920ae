"""`make upgrade` and `make reset` through their verbs, with a stack that only pretends."""

import sys
from collections.abc import Mapping, Sequence

import pytest
from support import kept

from lifecycle import engine
from lifecycle import reset as reset_module
from lifecycle import restore as restore_module
from lifecycle import upgrade as module
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.reset import reset
from lifecycle.unpack import verify
from lifecycle.upgrade import upgrade


@pytest.fixture
def stack(home: Home, monkeypatch: pytest.MonkeyPatch) -> kept.PretendedStack:
    kept.fill(home)
    made = kept.PretendedStack(home)
    for each in (module, restore_module, reset_module):
        monkeypatch.setattr(each, "running_stack", lambda home, settings: made)
    monkeypatch.setattr(module, "up", made.up)
    monkeypatch.setattr(module, "build_ahead", made.build_ahead)
    monkeypatch.setattr(module.volumes, "prepare_volumes", lambda home, settings: None)
    monkeypatch.setenv("ACCELERATOR", "cpu")
    monkeypatch.setenv("RUNTIME", "host")
    return made


@pytest.fixture
def tagged(monkeypatch: pytest.MonkeyPatch, stack: kept.PretendedStack) -> list[tuple[str, str]]:
    """`docker tag` commands, source and target; there is no image of the ML backend."""
    tags: list[tuple[str, str]] = []

    def docker(command: Sequence[str]) -> str | None:
        assert list(command[:2]) == ["docker", "tag"]
        if "mlbackend:cpu" in command[2]:
            return None
        tags.append((command[2], command[3]))
        return ""

    monkeypatch.setenv("RUNTIME", "docker")
    monkeypatch.setattr(engine, "trouble", lambda: None)
    monkeypatch.setattr(module, "answer", docker)
    return tags


def test_an_upgrade_builds_stops_backs_up_and_starts(home: Home, stack: kept.PretendedStack) -> None:
    upgrade(home, {})
    assert stack.calls == ["build", "stop", "once", "start"]
    assert len(list(home.backups.glob("labelloop-*"))) == 1


def test_an_upgrade_that_does_not_start_goes_back_without_a_label_lost(
    home: Home, stack: kept.PretendedStack
) -> None:
    """3 annotations, 5 more during the build, 2 in the new version before it is given up."""
    stack.labelled_in = {"build": 5, "once": 100, "count": 100}
    stack.wrong = [Failure("labelstudio is unhealthy")]

    def label_and_fail(home: Home, given: Mapping[str, str]) -> None:
        stack.labelled_in["start"] = 2
        try:
            stack.start()
        finally:
            del stack.labelled_in["start"]

    before = kept.state(home)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "up", label_and_fail)
        with pytest.raises(Failure, match=r"(?s)labelstudio is unhealthy.*former state .* is back") as failed:
            upgrade(home, {})
    assert stack.calls == ["build", "stop", "once", "start", "stop", "count", "start"]
    [archive] = home.backups.glob("labelloop-*")
    assert verify(archive).counts["annotations"] == 8
    before.pop("volumes/rounds/worker.lock")
    assert kept.state(home) == before | {"annotations": b"8"}
    [replaced] = home.backups.glob("replaced-*")
    assert kept.annotations(replaced / "volumes/labelstudio/label_studio.sqlite3") == 10
    told = str(failed.value)
    assert f"volumes/backups/{replaced.name}, with 10 annotations, the archive has 8: at least 2 came" in told
    assert "`git checkout`" in told


def test_a_start_that_breaks_off_goes_back_too(home: Home, stack: kept.PretendedStack) -> None:
    """A health check that hangs, say."""
    stack.wrong = [TimeoutError()]
    with pytest.raises(Failure, match=r"(?s)former state .* is back"):
        upgrade(home, {})


def test_a_state_that_cannot_be_counted_is_kept_and_named_all_the_same(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage_and_fail(home: Home, given: Mapping[str, str]) -> None:
        home.database.write_bytes(b"migrated")
        raise Failure("labelstudio is unhealthy")

    monkeypatch.setattr(module, "up", damage_and_fail)
    with pytest.raises(Failure, match=r"replaced-\S+, with annotations that can't be counted .*has 3"):
        upgrade(home, {})
    [replaced] = home.backups.glob("replaced-*")
    assert (replaced / "volumes/labelstudio/label_studio.sqlite3").read_bytes() == b"migrated"


def test_the_former_images_keep_a_name_and_get_theirs_back(
    home: Home, stack: kept.PretendedStack, tagged: list[tuple[str, str]]
) -> None:
    stack.wrong = [Failure("unhealthy")]
    with pytest.raises(Failure, match=r"(?s)The former images run on the former state"):
        upgrade(home, {})
    assert tagged == [
        ("labelloop/labelstudio", "labelloop/labelstudio:previous"),
        ("labelloop/trainer:cpu", "labelloop/trainer:previous"),
        ("labelloop/labelstudio:previous", "labelloop/labelstudio"),
        ("labelloop/trainer:previous", "labelloop/trainer:cpu"),
    ]


def test_a_build_that_fails_leaves_what_runs(
    home: Home, stack: kept.PretendedStack, tagged: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(home: Home) -> bool:
        raise Failure("building the image trainer failed")

    monkeypatch.setattr(module, "build_ahead", fail)
    with pytest.raises(Failure, match=r"(?s)building the image.*what ran runs on"):
        upgrade(home, {})
    assert stack.calls == [] and stack.running
    assert tagged[-1] == ("labelloop/trainer:previous", "labelloop/trainer:cpu")


def test_without_a_backup_what_ran_runs_again(
    home: Home, stack: kept.PretendedStack, tagged: list[tuple[str, str]]
) -> None:
    home.database.write_bytes(b"no database")
    with pytest.raises(Failure, match=r"(?s)not a database.*Nothing was upgraded; what ran runs again"):
        upgrade(home, {})
    assert stack.calls == ["build", "stop", "once", "start"]
    assert tagged[-1] == ("labelloop/trainer:previous", "labelloop/trainer:cpu")


def test_an_environment_that_cannot_be_made_anew_leaves_the_state_as_it_was(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the host runtime, where it is built behind the backup."""

    def fail(home: Home, given: Mapping[str, str]) -> None:
        raise Failure("installing images/trainer/requirements.lock failed")

    before = kept.state(home)
    monkeypatch.setattr(module, "build_ahead", lambda home: False)
    monkeypatch.setattr(module, "build", fail)
    with pytest.raises(Failure, match=r"(?s)requirements.lock failed.*The state is as it was.*git checkout"):
        upgrade(home, {})
    assert stack.calls == ["stop", "once"]
    assert kept.state(home) == before and not list(home.backups.glob("replaced-*"))


def test_a_stop_that_fails_upgrades_nothing(
    home: Home, stack: kept.PretendedStack, tagged: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise Failure("stopping the stack failed")

    monkeypatch.setattr(stack, "stop", fail)
    with pytest.raises(Failure, match=r"(?s)stopping the stack failed.*what ran runs again"):
        upgrade(home, {})
    assert stack.calls == ["build", "start"]
    assert tagged[-1] == ("labelloop/trainer:previous", "labelloop/trainer:cpu")


def test_without_a_backup_what_was_down_stays_down(home: Home, stack: kept.PretendedStack) -> None:
    home.database.write_bytes(b"no database")
    stack.running = False
    with pytest.raises(Failure, match=r"(?s)not a database.*Nothing was upgraded\."):
        upgrade(home, {})
    assert stack.calls == ["build", "once"]


def test_a_reset_backs_up_and_leaves_images_secrets_and_settings(
    home: Home, stack: kept.PretendedStack, capsys: pytest.CaptureFixture[str]
) -> None:
    before = kept.state(home)
    reset(home, {"YES": "1"})
    told = capsys.readouterr().out
    assert "cells: 3 annotations" in told and "2 versions in 1 projects" in told
    assert kept.state(home) == {
        name: data for name, data in before.items() if name.startswith(("volumes/images", "configs", ".env"))
    }
    assert stack.calls == ["count", "stop", "once"]
    assert len(list(home.backups.glob("labelloop-*"))) == 1


def test_a_reset_without_a_backup_has_to_be_asked_for(home: Home, stack: kept.PretendedStack) -> None:
    reset(home, {"YES": "1", "BACKUP": "0"})
    assert stack.calls == ["count", "stop"]


def test_nothing_is_deleted_when_the_backup_fails(home: Home, stack: kept.PretendedStack) -> None:
    home.database.write_bytes(b"no database")
    with pytest.raises(Failure, match="not a database"):
        reset(home, {"YES": "1"})
    assert (home.volumes / "models/1/champion").exists()
    assert stack.running


def test_what_people_label_until_the_stop_is_in_the_backup_of_a_reset(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(prompt: str) -> str:
        kept.annotate(home, 1)  # while the word is typed
        return "" if "Back" in prompt else "reset"

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", answer)
    reset(home, {})
    [archive] = home.backups.glob("labelloop-*")
    assert verify(archive).counts["annotations"] == 5
    assert not home.database.exists()


def test_a_reset_wants_a_terminal(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(Failure, match="no terminal"):
        reset(home, {})
    assert stack.calls == []


@pytest.mark.parametrize(("answers", "calls"), [(["", "no"], ["count"]), (["n", "yes"], ["count"])])
def test_a_reset_wants_its_word(
    home: Home,
    stack: kept.PretendedStack,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[str],
    calls: list[str],
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answers.pop(0))
    before = kept.state(home)
    with pytest.raises(Failure, match="found another word"):
        reset(home, {})
    assert kept.state(home) == before
    assert stack.calls == calls


def test_an_end_of_input_resets_nothing(
    home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_d(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", ctrl_d)
    before = kept.state(home)
    with pytest.raises(Failure, match=r"found no answer.*Nothing is deleted\."):
        reset(home, {})
    assert kept.state(home) == before


def test_the_word_resets(home: Home, stack: kept.PretendedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["", "reset"]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answers.pop(0))
    reset(home, {})
    assert not home.database.exists()
    assert stack.calls == ["count", "stop", "once"]
