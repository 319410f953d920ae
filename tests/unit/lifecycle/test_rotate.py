from pathlib import Path

import pytest

from lifecycle import files
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.settings import known, secret_files, settings
from lifecycle.verbs import rotate


class Stack:
    """Runs, or not."""

    def __init__(self, states: dict[str, str]) -> None:
        self._states = states

    def states(self) -> dict[str, str]:
        return self._states


@pytest.fixture
def started(home: Home, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A checkout with secrets whose stack runs; the list grows with every build and every `make up`."""
    settings.complete(home, host_runtime=True, accelerator="cpu")
    secret_files.publish(home, settings.load(home))
    ups: list[str] = []
    monkeypatch.setattr(rotate, "up", lambda home, given: ups.append("up"))
    monkeypatch.setattr(rotate, "build_ahead", lambda home: ups.append("build"))
    monkeypatch.setattr(rotate, "running_stack", lambda home, in_force: Stack({"trainer": "healthy"}))
    return ups


@pytest.mark.parametrize("given", [{}, {"ADMIN": "0"}, {"ADMIN": "1"}])
def test_every_secret_is_new_and_all_else_stays(
    home: Home, started: list[str], given: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = settings.load(home)
    rotate.rotate(home, given)
    after = settings.load(home)
    changed = {name for name in after if after[name] != before.get(name)}
    kept = set() if given.get("ADMIN") == "1" else {"ADMIN_PASSWORD"}
    assert changed == set(known.SECRETS) - kept and before.keys() == after.keys()
    assert started == ["build", "up"]
    said = capsys.readouterr().out
    assert not [name for name in known.SECRETS if after[name] in said]


def test_what_does_not_run_is_not_started(
    home: Home, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate, "running_stack", lambda home, in_force: Stack({}))
    rotate.rotate(home, {})
    assert started == []


def test_what_runs_keeps_its_secrets_until_all_is_built(
    home: Home, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nothing reaches it during the build, or for good where that fails."""
    before = home.env_file.read_text()

    def fail(home: Home) -> bool:
        raise Failure("building the image trainer failed")

    monkeypatch.setattr(rotate, "build_ahead", fail)
    with pytest.raises(Failure, match="building the image"):
        rotate.rotate(home, {})
    assert home.env_file.read_text() == before and started == []


def test_a_run_killed_half_way_is_finished_by_the_next_make_up(
    home: Home, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before .env: all as it was. After it: the files and the containers' label follow .env."""
    before = home.env_file.read_text()

    def killed(path: Path, text: str, mode: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(files, "replace_text", killed)
        rotate.replace_secrets(home, admin=True)
    assert home.env_file.read_text() == before

    stamp = settings.load(home)[secret_files.STAMP]
    rotate.replace_secrets(home, admin=True)
    secret_files.publish(home, settings.load(home))
    now = settings.load(home)
    assert now[secret_files.STAMP] != stamp
    assert {path.name: path.read_text() for path in home.secrets.iterdir()} == {
        **{name: now[name] for name in known.SECRETS},
        **dict.fromkeys(known.GIVEN_SECRETS, ""),
    }


def test_another_word_is_refused(home: Home, started: list[str]) -> None:
    before = home.env_file.read_text()
    with pytest.raises(Failure, match="ADMIN: found 'perhaps', needed 1, true, yes or on"):
        rotate.rotate(home, {"ADMIN": "perhaps"})
    assert home.env_file.read_text() == before


def test_without_secrets_there_is_nothing_to_rotate(home: Home) -> None:
    with pytest.raises(Failure, match="`make up` writes it"):
        rotate.rotate(home, {})
