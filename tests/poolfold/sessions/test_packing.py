import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from poolfold.sessions.packing import token_positions


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.integers(0, 1)))
def test_the_positions_are_those_of_the_tokens_and_the_first_place(mask: np.ndarray):
    (positions,) = token_positions(mask)
    assert positions.dtype == np.int64
    expected = [i for i, one in enumerate(mask.reshape(-1)) if one or i == 0]
    assert positions.tolist() == expected


def test_the_mask_is_left_as_it_was():
    mask = np.array([[0, 1], [0, 0]])
    assert token_positions(mask).tolist() == [[0, 1]]
    assert mask.tolist() == [[0, 1], [0, 0]]


def test_a_mask_that_is_a_view_is_read_in_its_own_order():
    mask = np.array([[1, 1, 0], [0, 1, 1]])[:, ::-1]
    assert token_positions(mask).tolist() == [[0, 1, 2, 3, 4]]
