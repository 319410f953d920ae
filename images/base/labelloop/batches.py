"""Splits sequences into batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in their order, in batches of `size`; the last batch may be smaller.

    >>> list(batches("abcde", 2))
    ['ab', 'cd', 'e']
    """
    return (items[start : start + size] for start in range(0, len(items), size))


def weighed_batches(
    items: Iterable[T], size: int, weight: Callable[[T], int], at_most: int
) -> Iterator[list[T]]:
    """The items in their order, in batches of at most `size` items whose weights sum to at most `at_most`.

    An item that alone weighs more than `at_most` is a batch by itself.
    """
    batch: list[T] = []
    total = 0
    for item in items:
        its_own = weight(item)
        if batch and (len(batch) == size or total + its_own > at_most):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += its_own
    if batch:
        yield batch
