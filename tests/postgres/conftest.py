"""A stack of its own for each test of this job, under Docker."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stack import Stack, engine_answers


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Not up yet."""
    assert engine_answers(), "no Docker engine answers"
    made = Stack.copy_of_work_tree(tmp_path / "appliance", f"labelloop-pg-{os.getpid()}")
    made.runtime = "docker"
    try:
        yield made
    finally:
        print(made.run("logs", check=False, timeout=60)[-8000:])
        made.run("down", check=False, timeout=180)
