"""`make test`, `make bench`, `make faults` and `make load`: what they take and hand on."""

import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from lifecycle.console import Failure
from lifecycle.dev import testing
from lifecycle.home import Home


@pytest.mark.parametrize("given", [{"KILLS": "many"}, {"SEED": "-1"}, {"REPLICAS": "two"}], ids=str)
def test_what_faults_cannot_use_is_refused(home: Home, given: Mapping[str, str]) -> None:
    with pytest.raises(Failure, match=next(iter(given))):
        testing.faults(home, given)


def test_faults_runs_the_whole_suite_by_its_seed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setenv("FAULTS", "")
    monkeypatch.setenv("SEED", "")
    monkeypatch.setattr(testing, "test", lambda home, given: seen.append((given, os.environ["SEED"])))
    testing.faults(home, {"SEED": "7", "RUNTIME": "host"})
    assert seen == [({"TESTS": "tests/faults"}, "7")] and os.environ["FAULTS"] == "all"


def test_faults_takes_the_parts_of_a_loop_past_one_machine(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By other names than a stack's settings have, which tests bring up beside it."""
    seen: list[object] = []
    names = ("FAULTS_DATABASE", "FAULTS_REPLICAS", "FAULTS_BACKENDS")
    for name in ("FAULTS", "DATABASE", *names):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        testing, "test", lambda home, given: seen.append([given["TESTS"], *map(os.environ.get, names)])
    )
    testing.faults(home, {"DATABASE": "postgres", "REPLICAS": "2", "TESTS": "tests/faults/test_parts.py"})
    assert seen == [["tests/faults/test_parts.py", "postgres", "2", None]]
    assert "DATABASE" not in os.environ
    for name in ("FAULTS", *names):
        os.environ.pop(name, None)


def test_load_is_a_section_of_its_own(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mapping[str, str]] = []
    monkeypatch.setattr(testing, "bench", lambda home, given: seen.append(given))
    testing.load(home, {"SECONDS": "60"})
    assert seen[0]["ONLY"] == "load" and seen[0]["SECONDS"] == "60"
    assert seen[0]["OUT"].endswith("build/bench/load")


def test_bench_looks_at_coco_before_it_makes_environments(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(testing, "_run_module", lambda home, module, arguments, what: ran.append(arguments))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cells" / "images").mkdir(parents=True)
    (tmp_path / "cells" / "train.json").touch()
    with pytest.raises(Failure, match=r"COCO=~/cells: found no .*/cells/test\.json"):
        testing.bench(home, {"COCO": "~/cells"})
    (tmp_path / "cells" / "test.json").touch()
    testing.bench(home, {"ONLY": "serving", "COCO": "~/cells"})
    assert ran == [["ONLY=serving", f"COCO={tmp_path}/cells"]]


def test_a_make_of_the_tests_does_not_inherit_this_ones_settings(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Mapping[str, str]] = []

    def pytest_ends_well(command: list[str], env: Mapping[str, str], **options: object) -> object:
        seen.append(env)
        return subprocess.CompletedProcess(command, 0)

    for name in ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"):
        monkeypatch.setenv(name, "TESTS=tests/e2e")
    monkeypatch.setenv("SEED", "7")
    monkeypatch.setattr(testing.venvs, "ensure_labelstudio", lambda home: None)
    monkeypatch.setattr(testing, "environment_with_tools", lambda home: home.venvs / "ml")
    monkeypatch.setattr(testing, "_ensure_chromium", lambda: None)
    monkeypatch.setattr(testing, "_ensure_postgres", lambda: None)
    monkeypatch.setattr(testing.engine, "engine_version", lambda: None)
    monkeypatch.setattr(subprocess, "run", pytest_ends_well)
    testing.test(home, {"TESTS": "tests/e2e"})
    assert seen[-1]["SEED"] == "7" and not {name for name in seen[-1] if name.startswith(("MAKE", "MFLAGS"))}


def test_a_unit_test_that_fails_fails_the_run_after_all_suites(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def only_the_first_fails(command: list[str], **options: object) -> object:
        ran.append(command[1:])
        return subprocess.CompletedProcess(command, 1 if len(ran) == 1 else 0)

    for name in ("lint", "_ensure_chromium", "_ensure_postgres"):
        monkeypatch.setattr(testing, name, lambda *given: None)
    monkeypatch.setattr(testing.venvs, "ensure_labelstudio", lambda home: None)
    monkeypatch.setattr(testing, "environment_with_tools", lambda home: home.venvs / "ml")
    monkeypatch.setattr(testing.engine, "engine_version", lambda: None)
    monkeypatch.setattr(subprocess, "run", only_the_first_fails)
    with pytest.raises(Failure, match="^the unit tests: pytest ended with 1"):
        testing.test(home, {})
    suites = {word for command in ran for word in command if word.startswith("tests/")}
    assert suites == {f"tests/{name}" for name in ("unit", "contract", "integration", "faults", "e2e")}


def test_label_studio_is_installed_while_lint_runs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=20)
    monkeypatch.setattr(testing, "lint", lambda home, given: both.wait())
    monkeypatch.setattr(testing.venvs, "ensure_labelstudio", lambda home: both.wait())
    monkeypatch.setattr(testing, "environment_with_tools", lambda home: home.venvs / "ml")
    monkeypatch.setattr(testing, "_ensure_chromium", lambda: None)
    monkeypatch.setattr(testing, "_ensure_postgres", lambda: None)
    monkeypatch.setattr(testing.engine, "engine_version", lambda: None)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 0))
    testing.test(home, {})


def test_what_could_not_be_installed_beside_lint_ends_the_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_index(home: Home) -> None:
        raise Failure("installing images/labelstudio/requirements.lock failed")

    monkeypatch.setattr(testing, "lint", lambda home, given: None)
    monkeypatch.setattr(testing.venvs, "ensure_labelstudio", no_index)
    monkeypatch.setattr(testing, "environment_with_tools", lambda home: home.venvs / "ml")
    monkeypatch.setattr(subprocess, "run", lambda command, **options: pytest.fail("runs tests"))
    with pytest.raises(Failure, match=r"labelstudio/requirements\.lock"):
        testing.test(home, {})


def on_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, who may install."""
    monkeypatch.setattr(testing.os, "geteuid", lambda: 0)
    monkeypatch.setattr(testing.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(testing.Path, "exists", lambda path: True)


def test_a_package_that_cannot_be_had_stops_no_other_test(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(command: list[str], *, what: str, **options: object) -> None:
        raise Failure(f"{what} failed: no mirror")

    def no_server() -> Path:
        raise Failure("none")

    on_debian(monkeypatch)
    monkeypatch.setattr(testing, "run", unreachable)
    monkeypatch.setattr(testing.programs, "server_folder", no_server)
    testing._ensure_postgres()
    told = capsys.readouterr().out
    assert "apt-get update failed: no mirror" in told and "the tests on PostgreSQL will fail" in told


def test_a_package_waits_for_another_installation_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the daily one, which would make `make test` fail by dpkg's lock."""
    ran: list[list[str]] = []
    on_debian(monkeypatch)
    monkeypatch.setattr(testing, "run", lambda command, **options: ran.append(command))
    assert testing._installed("postgresql", "a test")
    update, install = ran
    assert update[:2] == ["apt-get", "update"], "the lists of a fresh machine are empty"
    assert install[:2] == ["apt-get", "install"] and install[-1] == "postgresql"
    assert "--option=DPkg::Lock::Timeout=300" in install
