"""Paired bootstrap: how sure a value is, and whether one strategy's lead over another is more than chance.

The same units are drawn for every strategy, so that what is hard for all of them cancels out. Differences of one
strategy to several others are tested together: Holm's correction keeps the chance of any false alarm below 5 %.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, ch. 13 and 16; Holm 1979.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.comparison.quality import Quality
from poolfold.errors import InputError

DRAWS = 2000
FEWER_DRAWS = 500
"""Enough for an interval by which nothing is decided."""

_LEVEL = 0.05
_SEED = 0


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Lead:
    """One strategy's lead over another on a metric.

    p: two-sided, after Holm's correction over all leads tested together.
    significant: whether p is below 5 % and the lead above zero.
    """

    over: str
    difference: Interval
    p: float
    significant: bool


def draws(units: int, count: int = DRAWS) -> Iterator[npt.NDArray[np.int64]]:
    """Drawn units, int64 [units] each; the same each time."""
    rng = np.random.default_rng(_SEED)
    return (rng.integers(0, units, units) for _ in range(count))


def resample(
    qualities: Mapping[str, Quality], metric: str, units: npt.NDArray[np.int64] | None = None, count: int = DRAWS
) -> dict[str, npt.NDArray[np.float64]]:
    """A metric of each strategy on the units, then on every draw of them, float64 [1 + count]; None: all units."""
    every = np.arange(next(iter(qualities.values())).units) if units is None else units
    return {
        name: np.array(
            [
                quality.metrics[metric](every),
                *(quality.metrics[metric](every[draw]) for draw in draws(len(every), count)),
            ]
        )
        for name, quality in qualities.items()
    }


def interval(values: npt.NDArray[np.float64]) -> Interval:
    """The first is the value; the others tell how far it moves from draw to draw.

    Raises:
        InputError: the metric is not defined on these data, or on next to none of their draws.
    """
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or len(defined) < len(values) / 2:
        raise InputError(
            "a metric is not defined on these data: nearly all scores are the same. Add pairs with other scores."
        )
    low, high = np.percentile(defined, [100 * _LEVEL / 2, 100 * (1 - _LEVEL / 2)])
    return Interval(float(values[0]), float(low), float(high))


def leads(values: Mapping[str, npt.NDArray[np.float64]], of: str, over: Sequence[str]) -> tuple[Lead, ...]:
    """One strategy's lead over each of several others, tested together."""
    differences = {name: values[of] - values[name] for name in over}
    raw = {name: _p(difference[1:]) for name, difference in differences.items()}
    corrected = holm(raw)
    return tuple(
        Lead(
            name,
            difference := interval(differences[name]),
            corrected[name],
            corrected[name] < _LEVEL and difference.value > 0,
        )
        for name in over
    )


def _p(differences: npt.NDArray[np.float64]) -> float:
    """Twice the share of draws on the rarer side of zero; never zero, since draws are finitely many."""
    defined = differences[~np.isnan(differences)]
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """P-values corrected for being several: the smallest times their number, the next times one less, never falling."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        largest = max(largest, min(1.0, p[name] * (len(p) - rank)))
        corrected[name] = largest
    return corrected
