"""A median and its spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Quartiles:
    """A median over rounds and its spread: a quarter of the rounds lie below `q1`, a quarter above `q3`."""

    q1: float
    median: float
    q3: float


def quartiles(values: Sequence[float]) -> Quartiles:
    """Median and quartiles, by linear interpolation."""
    q1, median, q3 = (float(q) for q in np.percentile(values, [25, 50, 75]))
    return Quartiles(q1, median, q3)
