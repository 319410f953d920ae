"""`make import`: what is asked of the command in the stack."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.verbs import table as verbs


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (["import"], None)),
        ({"AGAIN": "1", "PROJECT": "2"}, (["import", "--again"], "2")),
        ({"AGAIN": "0"}, (["import"], None)),
    ],
)
def test_deleted_ones_are_asked_for_only_where_a_person_says_so(
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
    verbs.VERBS["import"].check("import", given)
    verbs.VERBS["import"].run(Home(tmp_path), given)
    assert asked == [expected]


def test_a_word_that_is_no_yes_or_no_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="AGAIN"):
        verbs.VERBS["import"].run(Home(tmp_path), {"AGAIN": "perhaps"})
