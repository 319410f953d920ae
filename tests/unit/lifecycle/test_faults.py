"""`make faults` and `make load`: what they take and hand on."""

import os
from collections.abc import Mapping

import pytest

from lifecycle import testing
from lifecycle.console import Failure
from lifecycle.home import Home


@pytest.mark.parametrize("given", [{"KILLS": "many"}, {"SEED": "-1"}], ids=str)
def test_what_faults_cannot_use_is_refused(home: Home, given: Mapping[str, str]) -> None:
    with pytest.raises(Failure, match=next(iter(given))):
        testing.faults(home, given)


def test_faults_runs_the_whole_suite_by_its_seed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setenv("FAULTS", "")
    monkeypatch.setenv("SEED", "")
    monkeypatch.setattr(testing, "test", lambda home, given: seen.append((given, os.environ["SEED"])))
    testing.faults(home, {"SEED": "7"})
    assert seen == [({"TESTS": "tests/faults"}, "7")] and os.environ["FAULTS"] == "all"


def test_load_is_a_section_of_its_own(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mapping[str, str]] = []
    monkeypatch.setattr(testing, "bench", lambda home, given: seen.append(given))
    testing.load(home, {"SECONDS": "60"})
    assert seen[0]["ONLY"] == "load" and seen[0]["SECONDS"] == "60"
    assert seen[0]["OUT"].endswith("build/bench/load")
