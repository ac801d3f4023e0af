from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.measure import schedule

positive = st.floats(1e-5, 1e3)


@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=5), systems=st.integers(1, 6), seed=st.integers(0, 99))
def test_each_round_visits_every_system_of_a_workload_once_before_anything_else(counts, systems, seed):
    turns = list(schedule.turns(counts, systems, seed))
    assert Counter((n, w) for n, w, _ in turns) == {
        (n, w): systems for w, count in enumerate(counts) for n in range(count)
    }
    for start in range(0, len(turns), systems):
        block = turns[start : start + systems]
        assert len({(n, w) for n, w, _ in block}) == 1
        assert sorted(s for _, _, s in block) == list(range(systems))
    numbers = [n for n, _, _ in turns]
    assert numbers == sorted(numbers)


def test_the_order_changes_from_round_to_round_and_comes_back_with_its_seed():
    turns = list(schedule.turns([20], 3, seed=0))
    orders = {tuple(s for _, _, s in turns[i : i + 3]) for i in range(0, 60, 3)}
    assert len(orders) == 6, "every order of three systems should turn up in 20 rounds"
    assert turns == list(schedule.turns([20], 3, seed=0))
    assert turns != list(schedule.turns([20], 3, seed=1))


@given(rounds_s=st.lists(positive, min_size=1, max_size=8), budget=st.floats(0, 1e4))
def test_rounds_keep_to_the_budget_unless_the_fewest_pass_it(rounds_s, budget):
    counts = schedule.rounds(rounds_s, budget)
    assert all(schedule.MIN_ROUNDS <= count <= schedule.MAX_ROUNDS for count in counts)
    needed = sum(count * s for count, s in zip(counts, rounds_s, strict=True))
    assert needed <= max(budget, schedule.MIN_ROUNDS * sum(rounds_s)) * (1 + 1e-9)
    slowest = max(range(len(rounds_s)), key=rounds_s.__getitem__)
    assert counts[slowest] == schedule.MAX_ROUNDS or budget - needed < rounds_s[slowest], "what is left must be spent"


def test_slow_workloads_get_fewer_rounds_and_spare_time_goes_to_them():
    assert schedule.rounds([0.1, 10.0], budget_s=60) == (15, 5)
    assert schedule.rounds([10.0, 0.1], budget_s=60) == (5, 15)
    assert schedule.rounds([0.5, 0.5, 10.0], budget_s=40) == (7, 8, 3)
    assert schedule.rounds([10.0, 30.0], budget_s=60) == (3, 3)


@given(call_s=positive)
def test_a_window_is_long_enough_or_has_many_calls(call_s):
    untimed, timed = schedule.window(call_s)
    assert untimed in (0, 1)
    assert timed == 50 or timed * call_s >= 0.1
    assert timed == 1 or (timed - 1) * call_s < 0.1


def test_a_round_costs_a_pause_and_a_window_for_each_system():
    assert schedule.round_seconds([0.2, 1.0], pause_s=0.5) == 0.5 + 0.2 + 0.5 + 1.0


@given(fixed=st.floats(0.001, 1.0), per_token=st.floats(0.0, 0.1), wanted=st.integers(200, 20000))
def test_two_sizes_tell_the_fixed_time_and_the_time_of_a_token(fixed, per_token, wanted):
    tokens = (16, 128)
    seconds = [fixed + per_token * n for n in tokens]
    assert schedule.estimate(tokens, seconds, wanted) == pytest.approx(fixed + per_token * wanted)


@pytest.mark.parametrize(
    ("tokens", "seconds", "wanted"),
    [
        ([16], [3.0], 3.0),  # one size tells no time of a token
        ([16, 16], [3.0, 4.0], 4.0),  # nor do two workloads of one size
        ([16, 128], [3.0, 2.0], 2.0),  # no token takes less than no time
        ([16, 128], [0.01, 8.0], 80.0),  # and the fixed time is not negative
    ],
)
def test_an_estimate_from_too_little_is_the_least_that_it_can_be(tokens, seconds, wanted):
    assert schedule.estimate(tokens, seconds, 1280) == pytest.approx(wanted)
