"""A LABELLOOP_HOME with a backend on it, for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.backend_home import Home


@pytest.fixture
def bare_home(tmp_path: Path) -> Iterator[Home]:
    """No model yet."""
    home = Home.below(tmp_path)
    yield home
    home.stop.set()


@pytest.fixture
def home(bare_home: Home) -> Home:
    """Project 1 has v0000."""
    bare_home.add_version()
    return bare_home
