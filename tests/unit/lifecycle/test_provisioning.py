"""`make up` says what has come of it: success only where the provisioner ended well just now."""

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial

import pytest

from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.settings.settings import Settings
from lifecycle.shell import watch
from lifecycle.verbs import up as module
from lifecycle.verbs.up import up


class Stack:
    """Starts at once; its provisioner is the program `does`, or ends as `ends` says. Whenever somebody looks,
    the file `looks` grows by a character.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self.ends = (0, "")
        self.does = ""
        self.settings = Settings(
            {"PORT": "8080", "BIND": "127.0.0.1", "DASHBOARD_PORT": "8081", "ADMIN_EMAIL": "admin@x"}
        )

    def start(self) -> None:
        pass

    def provision(self, seconds: int, look: Callable[[], None]) -> tuple[int, str]:
        if self.does:
            program = [sys.executable, "-c", self.does]
            return watch(program, partial(self._looked, look), cwd=self._home.root, every=0.05)
        return self.ends

    def _looked(self, look: Callable[[], None]) -> None:
        look()
        with (self._home.root / "looks").open("a") as looks:
            looks.write(".")


@pytest.fixture
def stack(home: Home, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack that an earlier boot has provisioned."""
    made = Stack(home)

    def prepare(home: Home, given: Mapping[str, str], on_use: object) -> tuple[Stack, Settings]:
        return made, made.settings

    monkeypatch.setattr(module, "_prepare", prepare)
    monkeypatch.setattr(module.version, "note", lambda home: None)
    state(home, project=7, done=True)
    return made


def state(home: Home, **said: object) -> None:
    home.provisioned.parent.mkdir(parents=True, exist_ok=True)
    home.provisioned.write_text(json.dumps(said))


def test_a_provisioner_that_ends_well_is_the_end(
    home: Home, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    up(home, {})
    said = capsys.readouterr().out
    assert "project 7: labels, image storage and ML backend are connected" in said and "is up" in said


@pytest.mark.parametrize(
    ("labellers", "told"), [(False, True), (True, False), (None, False)], ids=["none", "some", "not known"]
)
def test_who_labels_alone_is_told_how_others_get_in(
    home: Home, stack: Stack, labellers: bool | None, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    state(home, project=7, done=True, labellers=labellers)
    up(home, {})
    line = "gets a link from http://localhost:8080/organization, Add Members"
    assert (line in capsys.readouterr().out) is told


def test_addresses_are_those_that_proxies_give(
    home: Home, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    public = {"PUBLIC_URL": "https://labels.example", "PUBLIC_DASHBOARD_URL": "https://loop.example"}
    stack.settings |= public
    state(home, project=7, done=True, labellers=False)
    up(home, {})
    said = capsys.readouterr().out
    assert "https://loop.example\n" in said and "https://labels.example/organization" in said
    assert "localhost" not in said


@pytest.mark.parametrize(
    "ends, why",
    [
        ((4, "not provisioned: API_TOKEN was reset"), "not set up: API_TOKEN was reset"),
        ((1, "KeyError: 'results'"), "not set up: KeyError: 'results'"),
        ((126, ""), "not set up: the provisioner ended with 126"),
    ],
)
def test_one_that_fails_is_a_failure_whatever_an_earlier_boot_left(
    home: Home, stack: Stack, ends: tuple[int, str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.ends = ends
    with pytest.raises(Failure, match=why):
        up(home, {})
    assert "are connected" not in capsys.readouterr().out


def test_a_name_in_admins_that_nobody_has_is_told(
    home: Home, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    state(home, project=7, done=True, unknown_admins=["ann@x.org", "eve@x.org"])
    up(home, {})
    said = capsys.readouterr().out
    assert "ADMINS names nobody of Label Studio: ann@x.org, eve@x.org." in said and "is up" in said


def test_a_label_config_that_was_refused_is_the_reason(home: Home, stack: Stack) -> None:
    state(home, project=7, done=True, problem="would orphan annotations")
    stack.ends = (3, "would orphan annotations")
    with pytest.raises(Failure, match="would orphan annotations.*with the labels it had"):
        up(home, {})


def test_what_the_provisioner_waits_for_is_said_once_while_it_waits(
    home: Home, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    state(home, waiting="the ML backend does not answer")
    (home.root / "looks").touch()
    stack.does = """
import sys, time
while len(open("looks").read()) < 3: time.sleep(0.01)
print("more")
sys.exit("not provisioned: no backend")
"""
    with pytest.raises(Failure, match="not set up: no backend"):
        up(home, {})
    assert capsys.readouterr().out.count("waiting: the ML backend does not answer") == 1
