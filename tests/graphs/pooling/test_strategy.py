import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.pooling.strategy import PoolingMode, parse_strategy, pool, strategy_name

HIDDEN = np.array([[[9, 9], [1, 4], [9, 9], [3, 2]]], np.float32)
MASK = np.array([[0, 1, 0, 1]])  # left padding, and a hole


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("cls", [1, 4]),
        ("lasttoken", [3, 2]),
        ("max", [3, 4]),
        ("mean", [2, 3]),
        ("mean_sqrt_len_tokens", [4 / np.sqrt(2), 6 / np.sqrt(2)]),
        ("weightedmean", [(1 * 1 + 3 * 3) / 4, (1 * 4 + 3 * 2) / 4]),  # the hole counts as distance
    ],
)
def test_every_mode_has_the_answer_worked_out_by_hand(mode, expected):
    np.testing.assert_allclose(pool(HIDDEN, MASK, parse_strategy(mode)), [expected], rtol=1e-6)


def test_concatenation_keeps_the_order_of_the_modes():
    np.testing.assert_array_equal(pool(HIDDEN, MASK, parse_strategy("max+cls")), [[3, 4, 1, 4]])


def test_a_row_without_tokens_gives_zeros_even_where_the_hidden_state_is_nan():
    hidden = np.full((1, 3, 2), np.nan, np.float32)
    np.testing.assert_array_equal(pool(hidden, np.zeros((1, 3), int), tuple(PoolingMode)), np.zeros((1, 12)))


@given(st.permutations(list(PoolingMode)), st.integers(1, len(PoolingMode)))
def test_a_name_parses_back_to_its_strategy(modes, count):
    strategy = tuple(modes[:count])
    assert parse_strategy(strategy_name(strategy)) == strategy


@pytest.mark.parametrize(
    ("name", "said"), [("splade", "splade"), ("", "''"), ("mean+", "''"), ("mean+mean", "twice"), ("MEAN", "MEAN")]
)
def test_a_wrong_name_is_refused_and_named(name, said):
    with pytest.raises(ValueError, match="pooling") as error:
        parse_strategy(name)
    assert said in str(error.value)
