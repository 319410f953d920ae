"""Whether the machines of a cluster see the same volumes/."""

from pathlib import Path

import pytest

from trainer.cluster.marker import MARKER, NoShare, look_at_marker, seen_here


def test_a_marker_is_made_once_and_seen_by_who_sees_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = tmp_path / "volumes" / "rounds"
    rounds.mkdir(parents=True)
    mark = seen_here(rounds)
    assert seen_here(rounds) == mark and mark.id
    monkeypatch.setenv("LABELLOOP_HOME", str(tmp_path))
    mark.compare("two", look_at_marker())


def test_a_machine_that_sees_another_folder_is_named(tmp_path: Path) -> None:
    mark = seen_here(tmp_path)
    with pytest.raises(NoShare, match=r"^two does not see the same volumes/ .*: /x/\.cluster is not there"):
        mark.compare("two", ("", "/x/.cluster"))
    with pytest.raises(NoShare, match=rf"is of another volumes/ \(beef\), and {tmp_path / MARKER} here says"):
        mark.compare("two", ("beef", "/x/.cluster"))
