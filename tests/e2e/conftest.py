"""One stack for all end-to-end tests, with pictures of balls and crates."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import shapes, shapes_stack
from support.stack import Stack

ITERATIONS = 180
TEST_S = 3600
# Each file goes on from where the former has brought the stack, the first from one without an image.
ORDER = (
    "test_loop.py",
    "test_screen.py",
    "test_dashboard.py",
    "test_survival.py",
    "test_projects.py",
    "test_security.py",
    "test_doctor.py",
    "test_keep.py",
    "test_docs.py",
)
FIRST = ORDER[0]
ITS_LABELS_AND_VERSIONS = {"test_screen.py", "test_dashboard.py", "test_survival.py"}
"""What needs the images, labels and versions that FIRST leaves."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In ORDER, after all other suites; before them where they run beside, in another of pytest's processes.

    Rounds, boots and builds take longer than the others' tests may.

    Raises:
        UsageError: a file is chosen without the one that it goes on from.
    """

    def place(item: pytest.Item) -> int:
        ours = item.path.parent == Path(__file__).parent
        return 1 + ORDER.index(item.path.name) if ours else 0

    for item in items:
        if place(item):
            item.add_marker(pytest.mark.timeout(TEST_S))
    beside = hasattr(config, "workerinput")
    items.sort(key=lambda item: place(item) or (len(ORDER) + 1 if beside else 0))
    chosen = {item.path.name for item in items if place(item)}
    if FIRST not in chosen and (alone := sorted(chosen & ITS_LABELS_AND_VERSIONS)):
        raise pytest.UsageError(
            f"{', '.join(alone)}: goes on from where {FIRST} brings the stack; name tests/e2e/{FIRST} too"
        )


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Up, provisioned, without any image."""
    made = Stack.copy_of_work_tree(tmp_path_factory.mktemp("appliance"), f"labelloop-e2e-{os.getpid()}")
    try:
        print(shapes_stack.up(made, ITERATIONS=ITERATIONS, RETRAIN_EVERY=0))
        yield made
    finally:
        print(made.run("logs", check=False, timeout=60)[-8000:])
        made.run("down", check=False, timeout=180)


@pytest.fixture(scope="session")
def pictures(stack: Stack) -> dict[str, shapes.Picture]:
    """Thirty-six pictures in volumes/images/shapes, by file name."""
    return shapes.save(stack.images / "shapes", 36)
