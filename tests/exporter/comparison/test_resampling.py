"""Intervals that cover, differences that are paired, and outcomes that are rarely wrong."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.comparison.breakdown import break_down
from exporter.comparison.quality import Quality
from exporter.comparison.resampling import AHEAD, LEVEL, NOT_SETTLED, Lead, interval, leads, resample
from exporter.comparison.tasks import Labelled
from poolfold.errors import InputError


def mean_of(values: np.ndarray) -> Quality:
    return Quality(len(values), {"metric": lambda draw: float(values[draw].mean())})


def compared(**values: np.ndarray) -> dict[str, np.ndarray]:
    return resample({name: mean_of(of) for name, of in values.items()}, "metric")


def test_an_interval_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = interval(compared(a=values)["a"], 400)
    width = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - width, abs=0.03)
    assert found.high == pytest.approx(values.mean() + width, abs=0.03)


@pytest.mark.parametrize("units", [20, 60])
def test_intervals_cover_the_truth_about_as_often_as_they_say(units: int) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        drawn = resample({"a": mean_of(rng.normal(0, 1, units))}, "metric", count=300)["a"]
        found = interval(drawn, units)
        covered += found.low <= 0 <= found.high
    assert 184 <= covered <= 198


def test_an_interval_of_units_that_are_all_alike_is_not_a_point() -> None:
    # Nineteen in twenty texts right are often twenty of twenty.
    found = interval(compared(a=np.ones(20))["a"], 20)
    assert (round(found.low, 2), found.value, found.high) == (0.79, 1.0, 1.0)


def lead(units: int, margin: float = 0.01, *, mean: bool = True, **values: np.ndarray) -> Lead:
    (found,) = leads(compared(**values), "a", units, margin, mean=mean)
    return found


def test_a_small_lead_that_every_unit_shows_is_real_although_the_intervals_overlap() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 200)
    values = {"a": hard + 0.05, "b": hard + rng.normal(0, 0.05, 200)}
    drawn = compared(**values)
    assert interval(drawn["a"], 200).low < interval(drawn["b"], 200).high
    found = lead(200, **values)
    assert (found.significant, found.outcome, found.more) == (True, AHEAD, None)
    assert found.difference.low > 0
    assert found.p < 0.05
    # The same, where so much counts as nothing: the lead stays real.
    within = lead(200, margin=0.1, **values)
    assert (within.significant, within.outcome) == (True, LEVEL)


def test_the_same_twice_is_no_lead_and_level_only_where_enough_was_seen() -> None:
    values = np.random.default_rng(0).integers(0, 2, 1000).astype(float)
    for units, outcome in ((20, NOT_SETTLED), (300, NOT_SETTLED), (400, LEVEL)):
        found = lead(units, a=values[:units], b=values[:units].copy())
        assert (found.p, found.significant, found.difference.value, found.outcome) == (1.0, False, 0.0, outcome)
    assert lead(20, mean=False, a=values[:20], b=values[:20].copy()).outcome == LEVEL


@pytest.mark.parametrize(("shift", "spread"), [(0.02, 0.3), (0.0, 0.1), (0.004, 0.1), (0.3, 1.2)])
def test_so_many_more_units_would_settle_it(shift: float, spread: float) -> None:
    noise = np.random.default_rng(0).normal(size=40)
    noise = (noise - noise.mean()) / noise.std() * spread
    first = lead(40, a=noise + shift, b=np.zeros(40))
    assert first.outcome == NOT_SETTLED
    assert first.more is not None

    def with_more(share: float) -> str:
        assert first.more is not None
        units = round(40 + first.more * share)
        # The same mean and spread over more units; their draws by the central limit, since there may be many.
        draws = shift + np.random.default_rng(1).normal(size=2001) * spread / np.sqrt(units)
        draws[0] = shift
        (found,) = leads({"a": draws, "b": np.zeros(2001)}, "a", units, 0.01)
        return found.outcome

    assert with_more(1.1) in (AHEAD, LEVEL)
    assert with_more(0.6) == NOT_SETTLED


def test_all_pairs_share_the_5_percent() -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=100) for name in "abcd"}
    alone = leads(compared(a=values["a"], b=values["b"]), "a", 100, 0.01)[0]
    among = leads(compared(**values), "a", 100, 0.01)[0]
    width, wider = (found.difference.high - found.difference.low for found in (alone, among))
    # Six pairs: 1 - 0.05 / 12 of Student's t with 99 degrees of freedom, over 1 - 0.05 / 2.
    assert wider / width == pytest.approx(2.693 / 1.984, abs=0.002)
    assert among.p == pytest.approx(min(1.0, 6 * alone.p))


def test_all_strategies_are_drawn_alike_and_each_run_alike() -> None:
    values = np.random.default_rng(0).normal(size=30)
    drawn = compared(a=values, b=values + 1)
    np.testing.assert_allclose(drawn["b"] - drawn["a"], 1)
    np.testing.assert_array_equal(drawn["a"], compared(a=values)["a"])


def test_a_metric_that_is_not_defined_is_an_error() -> None:
    with pytest.raises(InputError, match="not defined on these data"):
        interval(np.array([np.nan, 1.0, 1.0]), 10)
    with pytest.raises(InputError, match="not defined on these data"):
        interval(np.array([1.0, np.nan, np.nan, 1.0]), 10)


def test_parts_have_their_own_values() -> None:
    words = [" ".join("x" * (1 + i)) for i in range(40)]
    task = Labelled(tuple(words), ("a", "b") * 20, {"language": ("en",) * 25 + ("de",) * 12 + ("fr",) * 3})
    right = np.array([1.0] * 25 + [0.0] * 15)
    parts = break_down(task, {"s": mean_of(right)}, "metric")
    by_language = {part.name: (part.units, part.values["s"].value) for part in parts if part.by == "language"}
    # Three French texts tell nothing.
    assert by_language == {"en": (25, 1.0), "de": (12, 0.0)}
    by_length = [(part.name, part.units) for part in parts if part.by == "words"]
    assert by_length == [("1 to 14", 14), ("15 to 27", 13), ("28 to 40", 13)]
    assert sum(part.values["s"].value * part.units for part in parts if part.by == "words") == pytest.approx(25)
