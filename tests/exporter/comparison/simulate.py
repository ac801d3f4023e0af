"""How often a verdict is wrong, on data whose true difference is known: the table in docs/pooling.md.

    python -m tests.exporter.comparison.simulate     1,000 comparisons for each row; some minutes

A verdict is wrong where it calls a strategy ahead that is not, or two level that differ by the margin or more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from exporter.comparison.recommendation import Timed, decide
from exporter.comparison.resampling import AHEAD, LEVEL, Interval, Lead, draws, leads

Values = dict[str, npt.NDArray[np.float64]]
Rule = Callable[[Values, str, int, float, bool], Sequence[Lead]]

SHARES = (0.0, 0.5, 1.0, 2.0)
"""True differences, as shares of the margin."""
_AT_ONCE = 50
_DRAWS = 1000
"""Of a comparison's 2,000 draws: enough for a standard error."""


@dataclass(frozen=True)
class Setting:
    """Data of a kind; the first strategy is truly ahead of the others, which are alike.

    moves: by how much a unit differs where it does; 0 for a rank correlation.
    rare: the share of units on which another strategy does better than the first.
    """

    name: str
    units: int
    margin: float
    moves: float
    rare: float = 0.0
    strategies: int = 2


SETTINGS = (
    Setting("ndcg@10 of 500 queries", 500, 0.02, moves=0.37, rare=0.05),
    Setting("ndcg@10 of 2,000 queries, four strategies", 2000, 0.02, moves=0.37, rare=0.05, strategies=4),
    Setting("accuracy of 4,000 triplets", 4000, 0.01, moves=1.0, rare=0.02),
    Setting("accuracy of 600 triplets, one strategy never the better", 600, 0.01, moves=1.0),
    Setting("accuracy of 20 texts", 20, 0.01, moves=1.0, rare=0.02),
    Setting("spearman of 300 pairs", 300, 0.05, moves=0.0),
    Setting("spearman of 20 pairs", 20, 0.05, moves=0.0),
)


def as_compared(values: Values, best: str, units: int, margin: float, mean: bool) -> Sequence[Lead]:
    """The rule that ships."""
    return leads(values, best, units, margin, mean=mean)


def naive(values: Values, best: str, units: int, margin: float, mean: bool) -> Sequence[Lead]:
    """What is not significant is level: by percentiles of the draws, as for one comparison with each other strategy."""
    found = []
    others = [name for name in values if name != best]
    for name in others:
        tail = 2.5 / len(others)
        low, high = np.percentile(values[best][1:] - values[name][1:], [tail, 100 - tail])
        difference = Interval(float(values[best][0] - values[name][0]), float(low), float(high))
        found.append(Lead(name, difference, 0.0, bool(low > 0), AHEAD if low > 0 else LEVEL, None))
    return found


def verdicts(
    setting: Setting, share: float, simulations: int, rules: Sequence[Rule]
) -> list[tuple[Mapping[str, int], float]]:
    """By each rule, outcomes of comparisons, and the share of them in which a statement is wrong."""
    outcomes: list[Counter[str]] = [Counter() for _ in rules]
    wrong = [0] * len(rules)
    true = {f"s{number}": setting.margin * share * (number == 0) for number in range(setting.strategies)}
    for values in _simulated(setting, setting.margin * share, simulations):
        best = max(values, key=lambda name: values[name][0])
        for number, rule in enumerate(rules):
            found = rule(values, best, setting.units, setting.margin, setting.moves != 0)
            verdict = decide(
                *("metric", best, found, best, Timed()), untrained=(), margin=setting.margin, unit=("unit", "units")
            )
            outcomes[number][str(verdict.outcome)] += 1
            wrong[number] += any(_wrong(lead, true[best] - true[lead.over], setting.margin) for lead in found)
    return [(counted, errors / simulations) for counted, errors in zip(outcomes, wrong, strict=True)]


def _wrong(lead: Lead, true: float, margin: float) -> bool:
    if lead.outcome == AHEAD:
        return true <= 0
    return lead.outcome == LEVEL and abs(true) >= margin - 1e-9


def _simulated(setting: Setting, true: float, simulations: int) -> Iterator[Values]:
    units, strategies = setting.units, setting.strategies
    rng = np.random.default_rng([units, strategies, round(true * 1e6)])
    drawn = np.array(list(draws(units, _DRAWS)))
    if not setting.moves:
        yield from (_correlations(rng, units, true, drawn) for _ in range(simulations))
        return
    # A mean over drawn units, for many comparisons in one product.
    counts = np.stack([np.bincount(draw, minlength=units) for draw in (np.arange(units), *drawn)])
    weights = (counts / units).astype(np.float32)
    worse, better = setting.rare + true / setting.moves, setting.rare
    for start in range(0, simulations, _AT_ONCE):
        size = (units, min(_AT_ONCE, simulations - start) * strategies)
        chance = rng.random(size, dtype=np.float32)
        moved = (chance < better).astype(np.float32) - (chance > 1 - worse)
        moved[:, ::strategies] = 0.0
        means = (weights @ moved).astype(np.float64) * setting.moves
        for place in range(0, size[1], strategies):
            yield {f"s{number}": means[:, place + number] for number in range(strategies)}


def _correlations(rng: np.random.Generator, units: int, true: float, drawn: npt.NDArray[np.int64]) -> Values:
    """Scores and cosines from a normal distribution whose Spearman's correlations are 0.8 and 0.8 less `true`."""
    r = [2 * np.sin(np.pi * rho / 6) for rho in (0.8, 0.8 - true)]
    covariance = np.array([[1, r[0], r[1]], [r[0], 1, 0.95], [r[1], 0.95, 1]])
    of = np.linalg.cholesky(covariance) @ rng.normal(size=(3, units))
    draw = np.vstack([np.arange(units), drawn[:300]])
    ranks = [stats.rankdata(each[draw], axis=1) for each in of]
    ranks = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    scores, *cosines = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in ranks]
    return {f"s{number}": (scores * each).sum(axis=1) for number, each in enumerate(cosines)}


def main() -> None:
    """Print the table."""
    rows = ["| data | margin | true difference | level | ahead | not settled | wrong | wrong by the naive rule |"]
    rows.append("| --- " * 8 + "|")
    for setting in SETTINGS:
        for share in SHARES:
            (outcomes, wrong), (_, misled) = verdicts(setting, share, 1000, (as_compared, naive))
            shown = " | ".join(f"{outcomes.get(name, 0) / 10:.1f} %" for name in ("level", "ahead", "not settled"))
            what = f"{setting.name} | {setting.margin:g} | {setting.margin * share:g}"
            rows.append(f"| {what} | {shown} | {100 * wrong:.1f} % | {100 * misled:.1f} % |")
    print("\n".join(rows))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
