"""Numbers in int8: the nearest multiples of a slice's own scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from graphs.quantization.numbers import FP8, quantize, smoothing_factors

MATRICES = arrays.arrays(np.float32, (7, 5), elements=st.floats(-1000, 1000, width=32))


@pytest.mark.parametrize("axis", [0, 1])
@given(MATRICES)
def test_each_value_is_within_half_a_step_of_its_own_slice(axis: int, values: np.ndarray) -> None:
    whole, scales = quantize(values, axis)
    assert whole.dtype == np.int8
    assert scales.shape == ((5,) if axis == 0 else (7,))
    steps = scales if axis == 0 else scales[:, None]
    assert (np.abs(whole * steps.astype(np.float64) - values) <= 0.501 * steps).all()
    largest = np.abs(values).max(axis=axis)
    assert (np.abs(whole.astype(np.int64)).max(axis=axis)[largest > 1e-6] == 127).all()
    assert (whole[values == 0] == 0).all()
    assert whole.min() >= -127


def test_a_slice_knows_nothing_of_the_others() -> None:
    values = np.random.default_rng(0).normal(size=(9000, 3)).astype(np.float32)
    for axis in (0, 1):
        other = values.copy()
        other[-1, -1] = 1e6
        before, after = quantize(values, axis)[0], quantize(other, axis)[0]
        changed = (before != after).any(axis=axis)
        assert changed[-1]
        assert not changed[:-1].any()


@given(
    arrays.arrays(np.float32, 6, elements=st.floats(0, 100, width=32)),
    arrays.arrays(np.float32, 6, elements=st.floats(0, 100, width=32)),
    st.floats(0, 1),
)
def test_factors_are_positive_and_even(activations: np.ndarray, weights: np.ndarray, alpha: float) -> None:
    factors = smoothing_factors(activations, weights, alpha)
    assert factors.dtype == np.float32
    assert (factors >= 1e-3).all()
    assert (factors <= 1e3).all()


def test_factors_by_hand() -> None:
    activations, weights = np.array([4.0, 1.0], np.float32), np.array([1.0, 1.0], np.float32)
    np.testing.assert_allclose(smoothing_factors(activations, weights, 0.5), [2**0.5, 2**-0.5], rtol=1e-6)
    np.testing.assert_allclose(activations / smoothing_factors(activations, weights, 1.0), [2, 2], rtol=1e-6)
    weights = np.array([9.0, 1.0], np.float32)
    np.testing.assert_allclose(weights * smoothing_factors(activations, weights, 0.0), [3, 3], rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
@given(MATRICES)
def test_fp8_has_three_bits_of_fraction_and_nothing_beyond_its_largest(axis: int, values: np.ndarray) -> None:
    whole, scales = quantize(values, axis, FP8)
    assert whole.dtype == FP8.stored
    wide, steps = whole.astype(np.float64), scales if axis == 0 else scales[:, None]
    assert np.isfinite(wide).all()
    assert (np.abs(wide).max(axis=axis)[np.abs(values).max(axis=axis) > 1e-6] == 448).all()
    error = np.abs(wide * steps.astype(np.float64) - values)
    assert (error <= np.abs(values) / 15.9 + 2**-10 * steps).all()


def test_fp8_of_numbers_that_fit_is_exact() -> None:
    values = np.array([0, 1, 1.125, -1.875, 448, -448, 1000, 2**-9], np.float32)
    np.testing.assert_array_equal(FP8.nearest(values).astype(np.float32), [0, 1, 1.125, -1.875, 448, -448, 448, 2**-9])
