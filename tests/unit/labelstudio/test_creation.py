from pathlib import Path
from typing import Any

import pytest

from labelloop.studio import StudioError
from provisioner.creation import Creator
from provisioner.state import StateFile


class FakeStudio:
    """Holds at most one thing; `fails` is raised instead of an answer."""

    def __init__(self, fails: StudioError | None = None) -> None:
        self.thing: dict[str, Any] | None = None
        self.posts = 0
        self._fails = fails

    def find(self) -> dict[str, Any] | None:
        return self.thing

    def request(self, method: str, path: str, json: dict[str, Any]) -> dict[str, Any]:
        self.posts += 1
        if self._fails:
            raise self._fails
        self.thing = {**json, "id": 1}
        return self.thing


def creator(studio: FakeStudio, file: StateFile, grace_s: float = 0.0) -> Creator:
    return Creator(studio, file, grace_s)  # type: ignore[arg-type]


def test_what_is_missing_is_made_once(tmp_path: Path) -> None:
    studio, file = FakeStudio(), StateFile(tmp_path / "s.json")
    assert creator(studio, file).find_or_create(studio.find, "/p", lambda: {"a": 1}) == (
        {"a": 1, "id": 1},
        True,
    )
    assert creator(studio, file).find_or_create(studio.find, "/p", dict) == ({"a": 1, "id": 1}, False)
    assert studio.posts == 1 and file.state.creating is None


def test_an_unanswered_request_is_remembered_and_its_result_awaited(tmp_path: Path) -> None:
    studio, file = FakeStudio(StudioError("timed out", 0)), StateFile(tmp_path / "s.json")
    with pytest.raises(StudioError):
        creator(studio, file).find_or_create(studio.find, "/p", dict)
    assert file.state.creating == "/p"

    looks = iter([None, None, {"id": 5}])
    after_the_kill = creator(studio, StateFile(tmp_path / "s.json"), grace_s=30)
    assert after_the_kill.find_or_create(lambda: next(looks), "/p", dict) == ({"id": 5}, False)
    assert studio.posts == 1


def test_a_refused_request_is_over(tmp_path: Path) -> None:
    studio, file = FakeStudio(StudioError("no", 400)), StateFile(tmp_path / "s.json")
    with pytest.raises(StudioError):
        creator(studio, file).find_or_create(studio.find, "/p", dict)
    assert file.state.creating is None


def test_fields_that_cannot_be_made_leave_no_trace(tmp_path: Path) -> None:
    def broken() -> dict[str, Any]:
        raise ValueError("bad label config")

    studio, file = FakeStudio(), StateFile(tmp_path / "s.json")
    with pytest.raises(ValueError, match="bad label config"):
        creator(studio, file).find_or_create(studio.find, "/p", broken)
    assert file.state.creating is None and studio.posts == 0
