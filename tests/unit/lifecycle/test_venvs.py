"""The host runtime's environments: made once, by one `make` at a time. What pip would do is only recorded."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.stack import wait_for

from lifecycle.build import pip, venvs
from lifecycle.console import Failure
from lifecycle.home import Home

WITHIN_S = 20.0


def record(monkeypatch: pytest.MonkeyPatch, run: Callable[..., None]) -> None:
    """Has `run` called instead of every program that an installation runs."""
    for module in (venvs, pip):
        monkeypatch.setattr(module, "run", run)


@pytest.fixture
def checkout(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """With what the environments are made from, all of it empty."""
    monkeypatch.setattr(venvs, "find_python", lambda: "python3.11")
    for package in venvs.PACKAGES:
        (home.root / package).mkdir(parents=True)
        for name in ("pyproject.toml", "requirements.lock"):
            (home.root / package / name).touch()
    return home


def test_the_second_of_two_makes_waits_and_finds_the_environment_made(
    checkout: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []
    said: list[str] = []
    at_work, go_on = threading.Event(), threading.Event()

    def run(command: Sequence[str], what: str, **options: object) -> None:
        made.append(what)
        python = checkout.venvs / "labelstudio/bin/python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        at_work.set()
        assert go_on.wait(WITHIN_S)

    def waiting() -> bool:
        said.append(capsys.readouterr().out)
        return "waiting" in "".join(said)

    record(monkeypatch, run)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(venvs.ensure_labelstudio, checkout)
        assert at_work.wait(WITHIN_S)
        second = pool.submit(venvs.ensure_labelstudio, checkout)
        try:
            wait_for("the second make to wait", waiting, WITHIN_S, every=0.05)
        finally:
            go_on.set()
        assert first.result(WITHIN_S) == second.result(WITHIN_S) == checkout.venvs / "labelstudio"
    told = "".join(said) + capsys.readouterr().out
    assert "another make installs this environment; waiting for it to end" in told
    assert "environment unchanged" in told
    assert sum("making the environment" in what for what in made) == 1


def test_what_failed_is_made_anew(checkout: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def run(command: Sequence[str], what: str, **options: object) -> None:
        made.append(what)
        Path(checkout.venvs / "labelstudio/bin").mkdir(parents=True, exist_ok=True)
        (checkout.venvs / "labelstudio/bin/python").touch()
        if what.startswith("installing images") and len(made) < 4:
            raise Failure(what)

    record(monkeypatch, run)
    with pytest.raises(Failure, match="installing"):
        venvs.ensure_labelstudio(checkout)
    venvs.ensure_labelstudio(checkout)
    venvs.ensure_labelstudio(checkout)
    assert sum("making the environment" in what for what in made) == 2


def test_a_current_environment_serves_where_nothing_may_be_written(
    checkout: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another user, or on a read-only disk."""
    python = checkout.venvs / "labelstudio/bin/python"

    def run(command: Sequence[str], what: str, **options: object) -> None:
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    record(monkeypatch, run)
    venvs.ensure_labelstudio(checkout)
    lock = checkout.venvs / ".labelstudio.lock"
    lock.unlink()
    lock.mkdir()  # which nobody can open for writing, root neither
    venvs.ensure_labelstudio(checkout)
    (checkout.root / "images/labelstudio/requirements.lock").write_text("another==1")
    with pytest.raises(Failure, match=r"\.labelstudio\.lock.*LABELLOOP_VENVS"):
        venvs.ensure_labelstudio(checkout)


def test_an_environment_is_current_until_a_lock_changes(
    checkout: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: Sequence[str], what: str, **options: object) -> None:
        for name in ("labelstudio", "ml"):
            (checkout.venvs / name / "bin").mkdir(parents=True, exist_ok=True)
            (checkout.venvs / name / "bin/python").touch()

    record(monkeypatch, run)
    monkeypatch.setattr(venvs.wheel, "host_wheels", lambda *arguments: ["mmcv.whl"])
    assert not venvs.are_current(checkout, "cpu", None)
    venvs.ensure_labelstudio(checkout)
    venvs.ensure_ml(checkout, "cpu", None)
    assert venvs.are_current(checkout, "cpu", None)
    assert not venvs.are_current(checkout, "cuda", "9.0")
    (checkout.root / "images/labelstudio/requirements.lock").write_text("another==1")
    assert not venvs.are_current(checkout, "cpu", None)
