"""Batches that the GPU's memory does not hold are halved."""

from collections.abc import Sequence

import pytest
import torch

from labelloop.halving import BatchSize, OutOfMemory, in_batches

CPU = torch.device("cpu")


class Memory:
    """Doubles numbers, at most `holds` at once."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.asked: list[int] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.asked.append(len(numbers))
        if len(numbers) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [2 * number for number in numbers]


def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_as_small(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory, size = Memory(holds=3), BatchSize(8)
    found = list(in_batches(range(10), size, CPU, memory))
    assert [number for _, doubled in found for number in doubled] == list(range(0, 20, 2))
    assert [list(batch) for batch, _ in found][:2] == [[0, 1], [2, 3]]
    assert memory.asked == [8, 4, 2, 2, 2, 2, 2] and size.on(CPU) == 2
    assert "does not hold 8 images at once: 4 from now on" in caplog.text


def test_one_image_that_does_not_fit_is_told_with_the_way_out() -> None:
    with pytest.raises(OutOfMemory, match="does not hold one image.*smaller DETECTOR"):
        list(in_batches([1], BatchSize(8), CPU, Memory(holds=0)))


def test_on_a_cpu_batches_are_what_they_were() -> None:
    memory = Memory(holds=100)
    list(in_batches(range(10), BatchSize(), CPU, memory))
    assert memory.asked == [4, 4, 2]
