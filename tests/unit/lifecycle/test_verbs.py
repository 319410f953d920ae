"""The verbs of `make`: what each takes, and what none takes."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lifecycle import engine
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.settings.known import FROM_ENVIRONMENT
from lifecycle.verbs import table as verbs
from lifecycle.verbs.table import VERBS

REPO = Path(__file__).parents[3]
PARTICULAR = sorted(name for name, verb in VERBS.items() if verb.takes is not None)


@pytest.mark.parametrize("name", PARTICULAR)
def test_a_setting_that_would_do_nothing_is_refused_before_anything_is_done(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPO)
    done: list[Mapping[str, str]] = []
    takes = VERBS[name].takes
    monkeypatch.setitem(VERBS, name, verbs.Verb(lambda home, given: done.append(given), takes))
    assert verbs.main([name, "PROJEKT=2"]) == 1
    told = capsys.readouterr().err
    assert f"make {name}: found PROJEKT, needed " in told and not done
    assert all(setting in told for setting in takes or ())


@pytest.mark.parametrize("name", PARTICULAR)
@pytest.mark.parametrize("setting", ["RUNTIME=host", "LABELLOOP_CACHE=/tmp/cache"])
def test_what_counts_everywhere_is_taken_everywhere(name: str, setting: str) -> None:
    VERBS[name].check(name, dict([setting.split("=")]))


def test_every_setting_is_taken_as_it_is_written() -> None:
    for name, verb in VERBS.items():
        verb.check(name, dict(setting.split("=", 1) for setting in verb.takes or () if "=" in setting))


def test_the_way_out_names_where_settings_go() -> None:
    with pytest.raises(Failure, match="found PORT, needed no setting. `make up NAME=VALUE`"):
        VERBS["down"].check("down", {"PORT": "8081"})


@pytest.mark.parametrize(
    ("name", "resumed"), [("up", True), ("restart", True), ("reset", False), ("logs", False)]
)
def test_an_interrupted_verb_promises_what_make_up_does(
    name: str, resumed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(home: Home, given: verbs.Given) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(REPO)
    monkeypatch.setitem(VERBS, name, replace(VERBS[name], run=interrupted))
    assert verbs.main([name]) == 130
    told = capsys.readouterr().err
    assert "interrupted" in told and ("`make up` carries on" in told) is resumed


@pytest.fixture
def fresh(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A clone that never ran, on a host with an engine, where Compose may not be called."""
    monkeypatch.setenv("RUNTIME", "docker")
    monkeypatch.setattr(engine, "containers", lambda project: [])
    monkeypatch.setattr(engine, "engine_version", lambda: "20.10.24")
    monkeypatch.setattr(engine, "compose", lambda *arguments: pytest.fail("env file not found"))
    return home


def test_a_clone_that_never_ran_has_nothing_to_stop(fresh: Home, capsys: pytest.CaptureFixture[str]) -> None:
    VERBS["down"].run(fresh, {})
    assert "nothing runs" in capsys.readouterr().out


def test_a_clone_that_never_ran_has_no_logs(fresh: Home) -> None:
    with pytest.raises(Failure, match="there are no logs. `make up` starts the stack"):
        VERBS["logs"].run(fresh, {})


def test_where_the_engine_does_not_answer_nothing_is_said_to_be_stopped(
    fresh: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "engine_version", lambda: None)
    monkeypatch.setattr(engine, "compose", lambda *arguments: ["false"])
    with pytest.raises(Failure, match="stopping the stack failed"):
        VERBS["down"].run(fresh, {})


def test_the_makefile_has_every_verb() -> None:
    lines = (REPO / "Makefile").read_text(encoding="utf-8").splitlines()
    targets = {line.partition(":")[0] for line in lines if ": ##" in line}
    assert targets == {*VERBS, "help"}


def taken_from_the_environment() -> set[str]:
    """What Compose looks up: each ${NAME} of our files, each NAME: without a value, and names of its own."""
    text = "".join((REPO / path).read_text() for path in ("docker-compose.yml", "compose/gpu.yml"))
    own = {
        f"COMPOSE_{name}" for name in ("FILE", "PATH_SEPARATOR", "PROFILES", "ENV_FILES", "DISABLE_ENV_FILE")
    }
    return own | set(re.findall(r"\$\{?(\w+)", text)) | set(re.findall(r"^ +([A-Z_]+):$", text, re.MULTILINE))


def test_what_the_shell_exports_does_not_win_over_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or Compose would publish on other ports and addresses than were checked and are printed."""
    monkeypatch.chdir(REPO)
    names = taken_from_the_environment()
    assert {"BIND", "PORT", "PUID", "THREADS", "SUBNET", "NO_PROXY"} < names
    for name in names:
        monkeypatch.setenv(name, "the shell's")
    left: set[str] = set()
    monkeypatch.setitem(VERBS, "down", verbs.Verb(lambda home, given: left.update(names & set(os.environ))))
    assert verbs.main(["down"]) == 0
    builds = {"PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "CA_PEM"}
    assert left == builds | (names & set(FROM_ENVIRONMENT))
