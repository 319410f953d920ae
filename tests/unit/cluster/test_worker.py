"""A machine that joins: what keeps its node from starting is said in a line."""

from pathlib import Path

import pytest

from cluster import worker
from cluster.certificates import make_authority
from cluster.place import NoPlace, Place, put
from labelloop.reach import NotReached


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


def test_no_head_is_named_and_one_that_is_away_is_said_to_be(place: Place) -> None:
    with pytest.raises(NoPlace, match="CLUSTER_HEAD"):
        worker.become(place, "")
    with pytest.raises(NotReached, match="127.0.0.1:1 does not answer"):
        worker.become(place, "127.0.0.1:1")
