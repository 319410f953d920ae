"""A swarm of two nodes, for all tests of this job."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stack import engine_answers
from support.two_nodes import Swarm, swarm_of_two


@pytest.fixture(scope="session")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    assert engine_answers(), "no Docker engine answers"
    folder: Path = tmp_path_factory.mktemp("swarm")
    with swarm_of_two(folder) as made:
        yield made
