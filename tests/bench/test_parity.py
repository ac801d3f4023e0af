import numpy as np
import pytest

from bench.goals import LIMITS, smallest_cosine

ROWS = np.array([[1, 0], [0, 2], [3, 4]], np.float32)


def test_the_length_of_a_vector_does_not_count():
    assert smallest_cosine([ROWS], [ROWS * 7]) == pytest.approx(1.0, abs=1e-7)


def test_one_bad_row_of_any_batch_shows():
    turned = ROWS.copy()
    turned[2] = [4, 3]
    assert smallest_cosine([ROWS, turned], [ROWS, ROWS]) == pytest.approx(24 / 25)


def test_rows_in_another_order_fail():
    assert smallest_cosine([ROWS[[1, 0, 2]]], [ROWS]) == 0.0 < min(LIMITS.values())


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_what_is_no_direction_is_refused(value):
    broken = ROWS.copy()
    broken[1] = value
    with pytest.raises(ValueError, match="row 1 of 3 is not finite, or is zero"):
        smallest_cosine([broken], [ROWS])


def test_a_missing_row_is_refused():
    with pytest.raises(ValueError, match=r"\[2, 2\], expected \[3, 2\]"):
        smallest_cosine([ROWS[:2]], [ROWS])
    with pytest.raises(ValueError, match="zip"):
        smallest_cosine([ROWS], [ROWS, ROWS])
