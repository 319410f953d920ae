"""Batches in page-locked memory, out of which a GPU copies by itself while the process goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmcv.parallel import DataContainer
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory


class Pinnable(DataContainer):  # type: ignore[misc]  # mmcv is untyped
    """A DataContainer whose tensors torch's loader can put into page-locked memory; mmcv's it passes by."""

    @classmethod
    def of(cls, container: DataContainer, data: Any) -> "Pinnable":
        """One like `container`, around other data."""
        return cls(data, container.stack, container.padding_value, container.cpu_only, container.pad_dims)

    def pin_memory(self) -> "Pinnable":
        """Called by torch's loader, on a thread of its own. What stays on the CPU is left as it is."""
        if self.cpu_only:
            return self
        return Pinnable.of(self, pin_memory(self.data))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Collated:
    """Makes a batch of Pinnables, by a function that makes one of DataContainers."""

    collate: Callable[[Any], Any]

    def __call__(self, samples: list[Any]) -> dict[str, Pinnable]:
        return {name: Pinnable.of(value, value.data) for name, value in self.collate(samples).items()}


def pin(loader: "DataLoader[Any]") -> None:
    """Has a loader that mmdet has built, and that was not asked for a batch yet, give page-locked batches."""
    loader.collate_fn = _Collated(loader.collate_fn)
    loader.pin_memory = True
