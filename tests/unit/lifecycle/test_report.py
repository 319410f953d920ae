"""`make report`: the name and the project are handed on."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lifecycle.home import Home
from lifecycle.verbs import table as verbs


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (["report"], None)),
        ({"FILE": "june.html", "PROJECT": "2"}, (["report", "--file", "june.html"], "2")),
    ],
)
def test_the_name_and_the_project_are_handed_on(
    given: dict[str, str],
    expected: tuple[list[str], str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[list[str], str | None]] = []

    class Stack:
        def labelloop(self, arguments: Sequence[str], project: str | None) -> None:
            asked.append((list(arguments), project))

    monkeypatch.setattr(verbs, "running_stack", lambda home, settings: Stack())
    verbs.VERBS["report"].run(Home(tmp_path), given)
    assert asked == [expected]
