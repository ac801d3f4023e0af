"""Costs are believed no better than they were seen; the ladder stops within the allowance, and crosses a switch."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.parity.ladder import SHORT, Call, Costs, base, climb, fit, rungs

LIMITS = st.integers(3, 40_000)
SWITCHES = st.integers(0, 9_000)
SECONDS = st.floats(1e-6, 1e4)


@given(st.builds(Costs, SECONDS, SECONDS, st.floats(1, 1e5)), st.integers(1, 64), st.integers(1, 40_000))
def test_more_never_takes_less(costs: Costs, rows: int, length: int) -> None:
    assert costs.least_s <= costs.seconds(rows, length) <= costs.seconds(rows + 1, length)
    assert costs.seconds(rows, length) <= costs.seconds(rows, length + 1)


@pytest.mark.parametrize("turn", [700.0, 3000.0])
def test_costs_of_two_lengths_foretell_a_third(turn: float) -> None:
    true = Costs(token_s=0.001, turn=turn)
    calls = [Call(32, 8, 3.0), Call(8, 40, 0.3), *(Call(1, n, true.seconds(1, n)) for n in (256, 512))]
    assert fit(calls).seconds(1, 8192) == pytest.approx(true.seconds(1, 8192))


def test_the_first_call_which_warms_up_does_not_count() -> None:
    assert fit([Call(32, 8, 60.0), Call(32, 8, 0.5)]) == fit([Call(32, 8, 0.5)])


def test_what_was_not_seen_is_taken_for_dear() -> None:
    one = fit([Call(8, 16, 1.0), Call(1, 256, 2.0)])
    assert one.seconds(1, 512) > 2 * one.seconds(1, 256)
    level = fit([Call(8, 16, 1.0), Call(1, 256, 2.0), Call(1, 512, 4.0)])
    assert level.seconds(1, 16_384) > 32 * 4.0, "no attention shows at 512 tokens, and some is expected beyond"
    assert fit([]) == Costs()


@given(st.lists(st.builds(Call, st.integers(1, 32), st.integers(1, 9000), SECONDS), max_size=9))
def test_any_calls_give_costs(calls: list[Call]) -> None:
    assert 0 < fit(calls).seconds(1, 1) < float("inf")


@given(LIMITS, SWITCHES)
def test_rungs_rise_to_the_limit_and_hold_the_switch(limit: int, switch: int) -> None:
    lengths = rungs(limit, switch)
    assert list(lengths) == sorted(set(lengths))
    assert lengths[-1] == limit
    assert (switch in lengths) == (0 < switch <= limit)
    assert all(after <= 2 * before for before, after in itertools.pairwise(lengths) if before >= SHORT)


@given(LIMITS, SWITCHES, SECONDS, SECONDS)
def test_a_ladder_stays_within_the_seconds_and_more_seconds_never_prove_less(
    limit: int, switch: int, seconds: float, more: float
) -> None:
    lengths, costs = rungs(limit, switch), Costs(token_s=1e-3, turn=900)
    start = base(lengths, switch, lambda n: True)

    def reached(allowed: float) -> int:
        return climb(start, lengths, lambda n: costs.seconds(1, n) <= allowed, lambda n: None)

    assert reached(seconds) <= reached(seconds + more)
    assert reached(seconds) == start or costs.seconds(1, reached(seconds)) <= seconds
    assert reached(float("inf")) == limit


@given(LIMITS, SWITCHES)
def test_the_switch_is_crossed_where_the_limit_and_the_memory_reach_it(limit: int, switch: int) -> None:
    lengths = rungs(limit, switch)
    assert base(lengths, switch, lambda n: True) >= min(limit, SHORT)
    assert (base(lengths, switch, lambda n: True) >= switch) == (switch <= max(limit, min(limit, SHORT)))
    assert base(lengths, switch, lambda n: False) == base(lengths, 0, lambda n: True) == min(limit, SHORT)


def test_a_rung_that_took_longer_than_foretold_is_not_proven() -> None:
    ran: list[int] = []
    assert climb(128, (128, 256, 512), lambda n: n not in ran, ran.append) == 128
    assert ran == [256]
