"""Where people click who point at an object."""

import numpy as np
from numpy.typing import NDArray

from labelloop.boxes import Floats

OFF_CENTRE = 0.08
"""How far from an object's middle, as a share of its sides (a standard deviation)."""
INSIDE = 0.45
"""No click is farther off, so each is on its object."""

Points = NDArray[np.float64]


def near_middles(xyxy: Floats, draw: np.random.Generator) -> Points:
    """(N, 2): a click on each of N boxes, in pixels. xyxy: (N, 4)."""
    off = np.clip(draw.normal(0.0, OFF_CENTRE, (len(xyxy), 2)), -INSIDE, INSIDE)
    corners = xyxy.astype(np.float64)
    return (corners[:, :2] + corners[:, 2:]) / 2 + off * (corners[:, 2:] - corners[:, :2])
