"""Means and standard deviations of figures over runs."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (None for a single value) of n values."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """The spread of the values that are not None; None without such values."""
        present = [value for value in values if value is not None and math.isfinite(value)]
        if not present:
            return None
        sd = float(np.std(present, ddof=1)) if len(present) > 1 else None
        return cls(float(np.mean(present)), sd, len(present))


def plain(values: Iterable[float | None]) -> dict[str, Any] | None:
    """The spread of the values as JSON."""
    spread = Spread.of(values)
    return asdict(spread) if spread else None
