"""`apply_head` is the definition: against answers worked out by hand, and against torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphs.pooling.head import (
    Activation,
    Cut,
    Dense,
    Head,
    Normalize,
    Truncate,
    apply_head,
    cut_head,
    cut_of,
)

WEIGHT = np.array([[1, 2], [0, -1]], np.float32)
BIAS = np.array([0.5, 1], np.float32)
VECTORS = np.array([[1, -1]], np.float32)
LINEAR = [1 - 2 + 0.5, 1 + 1]  # WEIGHT @ [1, -1] + BIAS


def test_a_dense_layer_by_hand():
    np.testing.assert_array_equal(apply_head(VECTORS, (Dense(WEIGHT, BIAS, Activation.IDENTITY),)), [LINEAR])
    np.testing.assert_array_equal(apply_head(VECTORS, (Dense(WEIGHT, None, Activation.IDENTITY),)), [[-1, 1]])
    with_input = Dense(WEIGHT, BIAS, Activation.RELU, "identity")
    np.testing.assert_array_equal(apply_head(VECTORS, (with_input,)), [[0 + 1, 2 - 1]])
    projected = Dense(WEIGHT, BIAS, Activation.RELU, np.array([[3, 0], [0, 3]], np.float32))
    np.testing.assert_array_equal(apply_head(VECTORS, (projected,)), [[0 + 3, 2 - 3]])


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (Activation.TANH, math.tanh),
        (Activation.SIGMOID, lambda x: 1 / (1 + math.exp(-x))),
        (Activation.RELU, lambda x: max(x, 0)),
        (Activation.GELU, lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2)))),
        (Activation.SILU, lambda x: x / (1 + math.exp(-x))),
    ],
)
def test_activations_by_hand(activation, expected):
    got = apply_head(VECTORS, (Dense(WEIGHT, BIAS, activation),))
    np.testing.assert_allclose(got, [[expected(x) for x in LINEAR]], rtol=1e-6)


def test_a_sigmoid_far_out_does_not_overflow():
    far = np.array([[-1e4, 1e4]], np.float32)
    identity = np.eye(2, dtype=np.float32)
    with np.errstate(all="raise"):
        got = apply_head(far, (Dense(identity, None, Activation.SIGMOID),))
    np.testing.assert_array_equal(got, [[0, 1]])


def test_a_sigmoid_near_zero_keeps_its_digits():
    far = np.array([[-42.0, -45.0]], np.float32)
    got = apply_head(far, (Dense(np.eye(2, dtype=np.float32), None, Activation.SIGMOID),))
    np.testing.assert_allclose(got, [[math.exp(-42), math.exp(-45)]], rtol=1e-6)


def test_modules_apply_in_order_and_truncation_is_not_normalised_again():
    vectors = np.array([[3, 4, 0]], np.float32)
    np.testing.assert_allclose(apply_head(vectors, (Normalize(), Truncate(2))), [[0.6, 0.8]], rtol=1e-6)
    np.testing.assert_array_equal(apply_head(vectors, (Truncate(1), Normalize())), [[1]])


def test_no_head_gives_the_vectors_themselves_and_a_zero_row_stays_zero():
    vectors = np.array([[0, 0], [1e-20, 0]], np.float32)
    got = apply_head(vectors, ())
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, vectors)
    np.testing.assert_allclose(apply_head(vectors, (Normalize(),)), [[0, 0], [1e-8, 0]], rtol=1e-6)


@example(activation=Activation.SIGMOID, seed=37, scale=30.0)
@settings(deadline=None, max_examples=40)
@given(activation=st.sampled_from(list(Activation)), seed=st.integers(0, 99), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_it_equals_torch(activation, seed, scale):
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    vectors = (rng.normal(size=(3, 6)) * scale).astype(np.float32)
    name = {"Relu": "ReLU", "Gelu": "GELU", "Silu": "SiLU"}.get(activation, str(activation))
    linear = torch.nn.functional.linear(*(torch.from_numpy(x).double() for x in (vectors, weight, bias)))
    expected = torch.nn.functional.normalize(getattr(torch.nn, name)()(linear), dim=1)
    got = apply_head(vectors, (Dense(weight, bias, activation), Normalize()))
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("head", "cut", "expected"),
    [
        ((Normalize(),), Cut(8), (Normalize(), Truncate(8), Normalize())),
        ((Normalize(),), Cut(8, renormalize=False), (Normalize(), Truncate(8))),
        ((), Cut(8), (Truncate(8),)),
        ((Normalize(), Truncate(16)), Cut(8), (Normalize(), Truncate(8), Normalize())),
        ((Normalize(), Truncate(16)), Cut(16, renormalize=False), (Normalize(), Truncate(16))),
        ((Normalize(), Truncate(16)), Cut(), (Normalize(), Truncate(16))),
    ],
)
def test_a_cut_replaces_the_one_that_was_there_and_is_read_again(head: Head, cut: Cut, expected: Head) -> None:
    assert cut_head(head, cut) == expected
    assert cut_head(head, cut_of(expected)) == expected
