import math

import numpy as np
import pytest

from graphs.mask.mask_program import CannotRunError
from tests.graphs.build import FLOAT, INT64
from tests.graphs.mask.mask_programs import LOWEST, MaskBuilder, program

SOME = np.array([[1, 1, 0], [0, 1, 1]])


def made(make, **options):
    build = MaskBuilder()
    return program(make(build), build, **options)


def tokens_of(mask):
    return np.broadcast_to(mask[:, None, :] > 0, (*mask.shape, mask.shape[1]))


@pytest.mark.parametrize(
    "make",
    [
        lambda b: b.tokens(),
        lambda b: b.spread(b.tokens()),
        lambda b: b.additive(b.tokens()),
        lambda b: b.additive(b.tokens(), -1e4),
        lambda b: b.op("Expand", b.tokens(), b.ints(1, 3, 1, 1)),
    ],
)
def test_what_is_allowed_is_said_for_each_text_query_and_key(make):
    np.testing.assert_array_equal(made(make).allowed(SOME), tokens_of(SOME))


def test_inverted_is_the_opposite():
    np.testing.assert_array_equal(made(lambda b: b.tokens(), inverted=True).allowed(SOME), ~tokens_of(SOME))


@pytest.mark.parametrize(
    "make",
    [
        lambda b: b.additive(b.tokens(), -1.0),
        lambda b: b.op("Where", b.tokens(), b.scalar(1), b.scalar(LOWEST)),
        lambda b: b.op("Where", b.tokens(), b.scalar(0), b.scalar(np.nan)),
        lambda b: b.op("Mul", b.additive(b.tokens()), b.constant("by", np.array([0.0, 1.0]).reshape(1, 2, 1, 1))),
    ],
)
def test_what_does_more_than_to_switch_off_is_not_said(make):
    assert made(make).allowed(SOME) is None


def test_a_mask_without_a_batch_is_the_same_for_each_text():
    causal = made(lambda b: b.band(None, 0))
    np.testing.assert_array_equal(causal.allowed(SOME), np.broadcast_to(np.tri(3, dtype=bool), (2, 3, 3)))


@pytest.mark.parametrize(
    "make",
    [
        lambda b: b.every(b.tokens(), b.cut(np.tri(8, dtype=bool))),
        lambda b: b.cut(np.tri(8, dtype=bool)),
        lambda b: b.op("Gather", b.constant("table", np.ones(8), np.bool_), b.positions()),
    ],
)
def test_a_sequence_that_is_longer_than_a_table_cannot_be_run(make):
    made_program = made(make)
    assert made_program.allowed(np.ones((1, 8), np.int64)) is not None
    assert 8 in made_program.tables
    with pytest.raises(CannotRunError):
        made_program.allowed(np.ones((1, 9), np.int64))


def test_a_mask_with_an_axis_too_many_cannot_be_run():
    five = made(lambda b: b.op("Unsqueeze", b.tokens(), b.ints(0)))
    with pytest.raises(CannotRunError):
        five.allowed(SOME)


def within(most, shift=0):
    def make(b):
        distance = b.op("Add", b.distances(), b.scalar(shift, np.int64)) if shift else b.distances()
        return b.every(b.tokens(), *b.within(distance, None, most))

    return make


def halved(b):
    return b.op("Less", b.op("Div", b.distances(), b.scalar(2, np.int64)), b.scalar(2, np.int64))


@pytest.mark.parametrize(
    ("make", "least", "most"),
    [
        (lambda b: b.tokens(), 0, 4),
        (within(50), 50, 55),
        (within(50, shift=30), 80, 90),
        (lambda b: b.additive(b.tokens(), -1e9), 0, 4),
        (lambda b: b.op("Mul", b.floats(), b.scalar(-1e9)), 0, 4),
        (lambda b: b.every(b.tokens(), b.cut(np.ones((40, 40), bool))), 40, 50),
        (lambda b: b.op("Greater", b.floats(), b.scalar(0.5)), 0, 4),
        (lambda b: b.op("Greater", b.op("Mul", b.floats(), b.scalar(0.25)), b.scalar(20)), 80, 110),
        (lambda b: b.op("Less", b.op("Add", b.floats(), b.scalar(-1e9)), b.scalar(0)), 1e9, math.inf),
        (lambda b: b.op("Equal", b.additive(b.tokens(), -1e9), b.scalar(-1e9)), 1e9, math.inf),
        (halved, math.inf, math.inf),
        (lambda b: b.op("CumSum", b.floats(), b.scalar(3, np.int64)), math.inf, math.inf),
    ],
)
def test_the_reach_is_where_the_last_number_has_had_its_effect(make, least, most):
    assert least <= made(make).reach <= most


def test_the_reach_is_unknown_where_an_input_is():
    build = MaskBuilder()
    memory = build.input("memory", FLOAT, "batch", "memories", 8)
    size = build.op("Concat", build.op("Shape", memory, start=0, end=1), build.ints(1, 1, -1), axis=0)
    assert program(build.op("Cast", build.op("Reshape", build.mask, size), to=9), build).reach == math.inf


def test_only_the_mask_s_own_nodes_are_taken():
    build = MaskBuilder()
    other = build.input("other", INT64, "unknown")
    build.op("Add", other, other)
    assert program(build.tokens(), build).reach < 5
