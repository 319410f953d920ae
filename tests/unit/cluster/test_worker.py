"""A machine that joins: what keeps its node from starting is said in a line."""

from pathlib import Path

import pytest

from cluster import worker
from cluster.certificates import make_authority
from cluster.place import NoPlace, Place, put
from labelloop.reach import NotReached, Stranger


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "cluster", "127.0.0.1", 7000, tmp_path / "CLUSTER_TOKEN", tmp_path)
    authority = make_authority()
    put(made.authority, authority.certificate)
    put(made.authority_key, authority.key)
    made.token_file.write_text("token")
    return made


@pytest.mark.parametrize("missing", ["ca.pem", "ca.key", "CLUSTER_TOKEN"])
def test_a_file_that_is_missing_is_named(place: Place, missing: str) -> None:
    for path in (place.folder / missing, place.token_file.parent / missing):
        path.unlink(missing_ok=True)
    with pytest.raises(NoPlace, match=f"{missing} is not there. `make join`"):
        worker.become(place, "127.0.0.1:1")


def test_without_a_head_nothing_is_waited_for(place: Place) -> None:
    with pytest.raises(NoPlace, match="CLUSTER_HEAD"):
        worker.become(place, "")


def test_a_head_that_is_away_is_waited_for_and_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[Exception | str] = [NotReached("away")] * 3 + ["10.0.0.5:6379"]

    def greet(head: str, authority: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("labelloop.reach.greet", greet)
    assert worker.wait_for("big.lan:6379", "authority", pause_s=0.0) == "10.0.0.5:6379"
    assert capsys.readouterr().out == "waiting: away\n"


def test_a_stranger_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def greet(head: str, authority: str) -> str:
        raise Stranger("another authority")

    monkeypatch.setattr("labelloop.reach.greet", greet)
    with pytest.raises(Stranger):
        worker.wait_for("big.lan:6379", "authority", pause_s=0.0)
