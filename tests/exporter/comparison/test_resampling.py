"""Intervals that cover, differences that are paired, and a correction that keeps false alarms rare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.comparison.breakdown import break_down
from exporter.comparison.quality import Quality
from exporter.comparison.resampling import holm, interval, leads, resample
from exporter.comparison.tasks import Labelled
from poolfold.errors import InputError


def mean_of(values: np.ndarray) -> Quality:
    return Quality(len(values), {"metric": lambda draw: float(values[draw].mean())})


def compared(**values: np.ndarray) -> dict[str, np.ndarray]:
    return resample({name: mean_of(of) for name, of in values.items()}, "metric")


def test_holm_as_published() -> None:
    # Holm 1979: 0.01 x 4, then 0.02 x 3, 0.03 x 2, 0.04 x 1, never falling.
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.02}) == pytest.approx(
        {"a": 0.04, "d": 0.06, "c": 0.06, "b": 0.06}
    )
    assert holm({"a": 0.5, "b": 0.6}) == pytest.approx({"a": 1.0, "b": 1.0})


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=8))
def test_holm_only_raises_and_keeps_the_order(p: dict[str, float]) -> None:
    corrected = holm(p)
    assert all(p[name] <= corrected[name] <= 1 for name in p)
    ranked = sorted(p, key=lambda name: p[name])
    assert [corrected[name] for name in ranked] == sorted(corrected.values())


def test_an_interval_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = interval(compared(a=values)["a"])
    width = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - width, abs=0.03)
    assert found.high == pytest.approx(values.mean() + width, abs=0.03)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        of = mean_of(rng.normal(0, 1, 60))
        found = interval(resample({"a": of}, "metric", count=300)["a"])
        covered += found.low <= 0 <= found.high
    assert 88 <= covered <= 99


def test_a_small_lead_that_every_unit_shows_is_significant_although_the_intervals_overlap() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 200)
    drawn = compared(a=hard + 0.05, b=hard + rng.normal(0, 0.05, 200))
    (lead,) = leads(drawn, "a", ["b"])
    assert interval(drawn["a"]).low < interval(drawn["b"]).high
    assert lead.significant
    assert lead.difference.low > 0


def test_the_same_twice_is_no_lead() -> None:
    values = np.random.default_rng(0).normal(size=50)
    (lead,) = leads(compared(a=values, b=values.copy()), "a", ["b"])
    assert (lead.p, lead.significant, lead.difference.value) == (1.0, False, 0.0)


@pytest.mark.slow
def test_false_alarms_are_rare_among_many_that_are_alike() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(60):
        drawn = resample({f"s{i}": mean_of(rng.normal(size=40)) for i in range(5)}, "metric", count=400)
        # Against one fixed beforehand: to take the best first is to look for a lead.
        alarms += any(lead.significant for lead in leads(drawn, "s0", [f"s{i}" for i in range(1, 5)]))
    assert alarms <= 6


def test_all_strategies_are_drawn_alike_and_each_run_alike() -> None:
    values = np.random.default_rng(0).normal(size=30)
    drawn = compared(a=values, b=values + 1)
    np.testing.assert_allclose(drawn["b"] - drawn["a"], 1)
    np.testing.assert_array_equal(drawn["a"], compared(a=values)["a"])


def test_a_metric_that_is_not_defined_is_an_error() -> None:
    with pytest.raises(InputError, match="not defined on these data"):
        interval(np.array([np.nan, 1.0, 1.0]))
    with pytest.raises(InputError, match="not defined on these data"):
        interval(np.array([1.0, np.nan, np.nan, 1.0]))


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
