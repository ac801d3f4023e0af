import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolfold.sessions.outputs import refusals, refused_rows

VALUES = [0.0, -0.0, 1.0, -0.5, 1e-6, 6e-8, 1e-30, 60000.0, -60000.0, 3e38, np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(rows=st.lists(st.lists(st.sampled_from(VALUES), min_size=3, max_size=3), max_size=4))
def test_a_row_is_refused_where_a_value_is_not_finite_or_all_are_zero(dtype, rows):
    with np.errstate(over="ignore"):
        vectors = np.array(rows, dtype).reshape(len(rows), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {reason.split(" ")[0]: places.tolist() for reason, places in refusals(vectors)}
    infinite = [i for i, row in enumerate(vectors) if not all(np.isfinite(value) for value in row)]
    zero = [i for i, row in enumerate(vectors) if all(value == 0 for value in row)]
    assert found == {name: places for name, places in (("not", infinite), ("zero", zero)) if places}
    assert np.flatnonzero(refused_rows(vectors)).tolist() == sorted({*infinite, *zero})
