"""The examples in docstrings."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "labelloop.batches",
        "labelloop.boxes",
        "labelloop.labels",
        "labelloop.layout",
        "labelloop.ranges",
        "labelloop.regions",
        "labelloop.schedule",
        "trainer.dashboard.pages",
        "trainer.judging.effort",
        "trainer.rounds.asking",
        "trainer.words",
    ],
)
def test_an_example_does_as_it_says(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed
