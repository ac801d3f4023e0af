"""Paired bootstrap: how sure a value is, and what the data say of one strategy's lead over another.

The same units are drawn for every strategy, so that what is hard for all of them cancels out. A difference is given the
interval that its standard error over the draws makes with Student's t, wider in two ways:

- All pairs of strategies share one 95 %, by Bonferroni's correction: which of them leads is chosen by the same data.
- Of a metric that is a mean over units, four units that were not seen are counted in, two for either side: where two
  strategies do alike on each of 20 queries, they may still differ on one in ten. Without these, most such strategies
  would be called level. A correlation moves with every pair, and needs none.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, ch. 13; Hesterberg 2014, What Teachers Should Know
about the Bootstrap, on percentiles of small samples; Agresti and Coull 1998 on the four units; Schuirmann 1987 on
equivalence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.comparison.quality import Quality
from poolfold.errors import InputError

DRAWS = 2000
FEWER_DRAWS = 500
"""Enough for an interval by which nothing is decided."""

AHEAD, LEVEL, NOT_SETTLED = "ahead", "level", "not settled"

_ALPHA = 0.05
_UNSEEN = 4
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

    difference: its interval covers the true one in 95 % of cases, for all pairs of strategies at once.
    p: two-sided, corrected in the same way: below 5 % where the interval leaves out zero.
    significant: whether the whole interval is above zero.
    outcome: LEVEL where the whole interval is within the margin, even if it is above zero; otherwise AHEAD where it is
        above zero; otherwise NOT_SETTLED.
    more: about how many more units would settle it, were the difference to stay as it is; None where it is settled.
    """

    over: str
    difference: Interval
    p: float
    significant: bool
    outcome: str
    more: int | None


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


def interval(values: npt.NDArray[np.float64], units: int, *, mean: bool = True) -> Interval:
    """The first is the value; the others tell how far it moves from draw to draw of so many units.

    Percentiles of the draws, further out for few units by what Student's t is wider than a normal distribution. `mean`
    as for `leads`.

    Raises:
        InputError: the metric is not defined on these data, or on next to none of their draws.
    """
    from scipy import stats

    defined = _defined(values)
    value = float(values[0])
    critical = float(stats.t.ppf(1 - _ALPHA / 2, units - 1))
    tail = 100 * float(stats.norm.sf(critical * math.sqrt(units / (units - 1))))
    low, high = (float(bound) for bound in np.percentile(defined, [tail, 100 - tail]))
    if mean and low == high:  # every unit alike: those not seen may differ
        reach = critical * math.sqrt(_UNSEEN) / units
        low, high = max(value - reach, -1.0), min(value + reach, 1.0)
    return Interval(value, low, high)


def leads(
    values: Mapping[str, npt.NDArray[np.float64]], of: str, units: int, margin: float, *, mean: bool = True
) -> tuple[Lead, ...]:
    """One strategy's lead over each other one.

    Args:
        values: of every strategy that was compared, as `resample` gives them.
        of: the one that leads; it may have been chosen by its value.
        units: that were drawn from.
        margin: a difference of less counts as none, in the metric's own scale.
        mean: whether the metric is a mean over units, of which a few that differ may not have been seen.

    Raises:
        InputError: as `interval`.
    """
    pairs = len(values) * (len(values) - 1) // 2
    unseen = _UNSEEN if mean else 0
    others = [name for name in values if name != of]
    return tuple(_lead(name, values[of] - values[name], units, margin, pairs, unseen) for name in others)


def _lead(over: str, differences: npt.NDArray[np.float64], units: int, margin: float, pairs: int, unseen: int) -> Lead:
    from scipy import stats

    spread = float(_defined(differences).std())
    difference, variance = float(differences[0]), spread**2 * units * units / (units - 1)
    critical = float(stats.t.ppf(1 - _ALPHA / 2 / pairs, units - 1))
    error = math.sqrt(variance / units + unseen / units**2)
    shown = Interval(difference, difference - critical * error, difference + critical * error)
    significant = shown.low > 0
    within = max(shown.high, -shown.low) < margin
    outcome = LEVEL if within else AHEAD if significant else NOT_SETTLED
    more = None
    if outcome == NOT_SETTLED:
        # Half the interval's width that puts it above zero or within the margin, whichever comes first; and the number
        # of units at which critical * sqrt(variance / n + unseen / n^2) is that.
        wanted = max(abs(difference), margin - abs(difference))
        square = critical**2 * variance
        needed = (square + math.sqrt(square**2 + 4 * unseen * (critical * wanted) ** 2)) / (2 * wanted**2)
        more = _two_digits(needed - units)
    p = min(1.0, 2 * pairs * float(stats.t.sf(abs(difference) / error, units - 1))) if error else 1.0
    return Lead(over, shown, p, significant, outcome, more)


def _defined(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The draws on which a metric is defined."""
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or len(defined) < len(values) / 2:
        raise InputError(
            "a metric is not defined on these data: nearly all scores are the same. Add pairs with other scores."
        )
    return defined


def _two_digits(number: float) -> int:
    """Rounded up to two digits: more would claim what nobody knows."""
    scale: int = 10 ** max(0, math.floor(math.log10(max(number, 1.0))) - 1)
    return max(1, math.ceil(number / scale) * scale)
