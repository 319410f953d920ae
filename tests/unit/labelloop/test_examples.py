"""The examples in the vocabulary's docstrings."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["batches", "boxes", "labels", "ranges", "regions", "schedule"])
def test_an_example_does_as_it_says(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"labelloop.{name}"))
    assert found.attempted and not found.failed
