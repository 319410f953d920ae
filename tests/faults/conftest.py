"""Faults against real processes. `make faults SEED=… KILLS=…` runs all of them, `make test` a seeded few."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.loop import QuickLoop, SlowStudio

WHOLE = os.environ.get("FAULTS") == "all"
SEED = int(os.environ.get("SEED") or (time.time_ns() % 100_000 if WHOLE else 20))
KILLS = int(os.environ.get("KILLS") or (200 if WHOLE else 12))
# The parts of test_parts.py.
DATABASE = os.environ.get("FAULTS_DATABASE") or "sqlite"
REPLICAS, BACKENDS = (int(os.environ.get(f"FAULTS_{name}") or 1) for name in ("REPLICAS", "BACKENDS"))
ROWS_OF_A_SLICE = 8


def pytest_report_header() -> str:
    return f"faults: SEED={SEED} KILLS={KILLS}, {'all' if WHOLE else 'a few'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without FAULTS=all: of the matrix a sample by SEED, and nothing that brings up a whole stack."""
    if WHOLE:
        return
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    matrix = [item for item in ours if item.get_closest_marker("matrix")]
    chosen = set(random.Random(SEED).sample(matrix, min(ROWS_OF_A_SLICE, len(matrix))))
    dropped = [
        item for item in ours if item.get_closest_marker("stack") or (item in matrix and item not in chosen)
    ]
    items[:] = [item for item in items if item not in dropped]
    config.hook.pytest_deselected(items=dropped)


@pytest.fixture
def rng() -> random.Random:
    print(f"SEED={SEED}")
    return random.Random(SEED)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuickLoop]:
    """Up and well, with a starting model."""
    yield from running(tmp_path_factory.mktemp("loop"))


@pytest.fixture
def own_loop(tmp_path: Path) -> Iterator[QuickLoop]:
    """One that a test may damage."""
    yield from running(tmp_path)


def running(home: Path) -> Iterator[QuickLoop]:
    studio = SlowStudio()
    studio.add_project()
    with studio.serve() as studio.url:
        made = QuickLoop(home, studio)
        try:
            made.heal()
            yield made
        finally:
            made.stop()
