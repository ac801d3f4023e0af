"""Masks that look like a form and are none."""

import numpy as np
import onnx_ir as ir
import pytest

from tests.graphs.build import FLOAT
from tests.graphs.mask.mask_programs import BOOL, LOWEST, MaskBuilder, program
from tests.graphs.mask.test_mask_form import FORMS, form_of


def _soft(b):
    return b.additive(b.tokens(), -1.0)


def _barely_soft(b):
    return b.additive(b.tokens(), -9999.0)


def _rewarded(b):
    return b.op("Where", b.tokens(), b.scalar(1), b.scalar(LOWEST))


def _multiplied(b):
    return b.floats()


def _by_head(b):
    slopes = b.constant("slopes", np.array([0.0, 1.0]).reshape(1, 2, 1, 1))
    return b.op("Mul", b.additive(b.tokens(), -1e9), slopes)


def _one_head_differs(b):
    allowed = b.op("Expand", b.tokens(), b.ints(1, 3, 1, 1))
    heads = b.constant("heads", np.array([True, True, False]).reshape(1, 3, 1, 1), np.bool_)
    return b.op("Or", allowed, heads)


def _hole_at_a_place(b):
    at = b.positions()
    here = b.op("Equal", b.op("Unsqueeze", at, b.ints(1)), b.scalar(9, np.int64))
    there = b.op("Equal", b.op("Unsqueeze", at, b.ints(0)), b.scalar(4, np.int64))
    return b.every(b.tokens(), b.op("Not", b.op("And", here, there)))


def _hole_at_a_distance(b):
    return b.every(b.tokens(), b.op("Not", b.op("Equal", b.distances(), b.scalar(7, np.int64))))


def _only_itself_missing(b):
    return b.every(b.tokens(), b.op("Not", b.op("Equal", b.distances(), b.scalar(0, np.int64))))


def _first_token_always(b):
    first = b.op("Equal", b.op("Unsqueeze", b.positions(), b.ints(0)), b.scalar(0, np.int64))
    near = b.within(b.distances(), None, 6)[0]
    return b.every(b.tokens(), b.op("Or", first, near))


def _blocks_of_a_table(b):
    table = np.arange(40)[:, None] // 8 == np.arange(40) // 8
    return b.every(b.tokens(), b.cut(table))


def _blocks_by_division(b):
    at = b.op("Div", b.positions(), b.scalar(4, np.int64))
    return b.every(b.tokens(), b.op("Equal", b.op("Unsqueeze", at, b.ints(1)), b.op("Unsqueeze", at, b.ints(0))))


def _linear_bias(b):
    bias = b.op("Mul", b.op("Cast", b.op("Abs", b.distances()), to=FLOAT), b.scalar(-0.5))
    return b.op("Add", b.additive(b.tokens(), -1e9), bias)


def _everything_where_a_row_is_empty(b):
    count = b.op("ReduceSum", b.floats(), b.ints(3))
    return b.op("Or", b.tokens(), b.op("Equal", count, b.scalar(0)))


def _everything_where_a_query_has_nothing(b):
    allowed = b.additive(b.every(b.tokens(), *b.within(b.distances(), 0, None)), -1e9)
    nothing = b.op("Less", b.op("ReduceMax", allowed, b.ints(3)), b.scalar(-1))
    return b.op("Where", nothing, b.scalar(0), allowed)


def _nothing_at_seven_tokens(b):
    seven = b.op("Equal", b.op("ReduceSum", b.floats(), b.ints(3)), b.scalar(7))
    return b.every(b.tokens(), b.op("Not", seven))


def _the_first_text_for_all(b):
    return b.op("Cast", b.op("Unsqueeze", b.op("Gather", b.mask, b.ints(0), axis=0), b.ints(1, 2)), to=BOOL)


def _keys_of_the_neighbour(b):
    shifted = b.op("Concat", b.op("Slice", b.mask, b.ints(1), b.ints(2**31), b.ints(1)), axis=1)
    last = b.op("Slice", b.mask, b.ints(-1), b.ints(2**31), b.ints(1))
    return b.op("Cast", b.op("Unsqueeze", b.op("Concat", shifted, last, axis=1), b.ints(1, 2)), to=BOOL)


def _queries_only(b):
    return b.op("Unsqueeze", b.op("Cast", b.mask, to=BOOL), b.ints(1, 3))


def _either(b):
    return b.op("Or", b.tokens(), _queries_only(b))


def _no_mask(b):
    return b.op("Or", b.tokens(), b.op("Not", b.tokens()))


def _nothing(b):
    return b.op("And", b.tokens(), b.op("Not", b.tokens()))


def _window_beyond_the_longest(b):
    return b.every(b.tokens(), *b.within(b.distances(), None, 9000))


def _window_by_division(b):
    far = b.op("Div", b.distances(), b.scalar(64, np.int64))
    return b.every(b.tokens(), *b.within(far, None, 64))


def _window_by_logarithm(b):
    distance = b.op("Cast", b.op("Max", b.distances(), b.scalar(1, np.int64)), to=FLOAT)
    return b.every(b.tokens(), b.op("Less", b.op("Log", distance), b.scalar(6)))


def _window_by_small_steps(b):
    steps = b.op("Cast", b.distances(), to=FLOAT)
    for _ in range(4):
        steps = b.op("Mul", steps, b.scalar(0.1))
    return b.every(b.tokens(), b.op("LessOrEqual", steps, b.scalar(2)))


def _window_in_eight_bits(b):
    distance = b.op("Cast", b.distances(), to=FLOAT)
    return b.every(b.tokens(), b.op("GreaterOrEqual", b.op("Cast", distance, to=3), b.constant("zero", 0, np.int8)))


def _window_in_a_fill(b):
    full = b.op("ConstantOfShape", b.op("Shape", b.ids, start=1, end=2), value=_tensor(9000))
    return b.every(b.tokens(), b.op("LessOrEqual", b.distances(), full))


def _window_between_huge_numbers(b):
    far = b.op("Add", b.distances(), b.scalar(2**40, np.int64))
    return b.every(b.tokens(), *b.within(far, None, 2**40 + 100))


def _window_beyond_huge_floats(b):
    far = b.op("Add", b.op("Cast", b.distances(), to=11), b.scalar(2.0**40, np.float64))
    return b.every(b.tokens(), b.op("LessOrEqual", far, b.scalar(2.0**40 + 100, np.float64)))


def _window_that_is_selected(b):
    window = b.op("Where", b.tokens(), b.scalar(20000.0), b.scalar(30000.0))
    return b.every(b.tokens(), b.op("LessOrEqual", b.op("Cast", b.distances(), to=FLOAT), window))


def _small_step_that_is_selected(b):
    step = b.op("Where", b.tokens(), b.scalar(1e-4), b.scalar(2e-4))
    scaled = b.op("Mul", b.op("Cast", b.distances(), to=FLOAT), step)
    return b.every(b.tokens(), b.op("LessOrEqual", scaled, b.scalar(1)))


def _small_step_as_a_difference(b):
    zero = b.op("Mul", b.op("Cast", b.distances(), to=FLOAT), b.scalar(0))
    step = b.op("Sub", b.op("Add", zero, b.scalar(1 + 2**-13)), b.scalar(1))
    scaled = b.op("Mul", b.op("Cast", b.distances(), to=FLOAT), step)
    return b.every(b.tokens(), b.op("LessOrEqual", scaled, b.scalar(1)))


def _window_by_doubling(b):
    window = b.op("Add", b.op("Sub", b.distances(), b.distances()), b.scalar(3, np.int64))
    for _ in range(12):
        window = b.op("Add", window, window)
    return b.every(b.tokens(), b.op("LessOrEqual", b.distances(), window))


def _tables_in_a_row(b):
    tables = [b.constant(f"row_{n}", np.full(20, n == 0 or n == 1), np.bool_) for n in range(3)]
    rest = b.op("Less", b.positions(), b.scalar(0, np.int64))
    end = b.op("Shape", b.ids, start=1, end=2)
    keys = b.op("Slice", b.op("Concat", *tables, rest, axis=0), b.ints(0), end, b.ints(0))
    return b.every(b.tokens(), keys)


def _by_dividing_the_length(b):
    half = b.op("Div", b.op("Shape", b.ids, start=1, end=2), b.ints(2))
    return b.every(b.tokens(), b.op("LessOrEqual", b.distances(), half))


def _one_length_differs(b):
    special = b.op("Equal", b.op("Shape", b.ids, start=1, end=2), b.ints(9))
    return b.op("Or", b.tokens(), special)


def _random(b):
    return b.every(b.tokens(), b.op("Greater", b.op("RandomUniformLike", b.floats()), b.scalar(0.5)))


def _tensor(number):
    return ir.tensor(np.array([number], np.int64))


NEAR_MISSES = [value for name, value in sorted(globals().items()) if name.startswith("_") and name[1].islower()]
NEAR_MISSES = [make for make in NEAR_MISSES if callable(make) and make is not _tensor]


@pytest.mark.parametrize("make", NEAR_MISSES, ids=lambda make: make.__name__.strip("_"))
def test_what_is_no_form_is_not_found(make):
    assert form_of(make) is None


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_a_near_miss_differs_from_every_form(n):
    """The near misses would be wrong as whatever form: they are no tests of modesty."""
    mask = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    for make in (_either, _queries_only, _the_first_text_for_all, _keys_of_the_neighbour, _only_itself_missing):
        build = MaskBuilder()
        got = program(make(build), build).allowed(mask)
        different = [form for form in FORMS if not np.array_equal(got, form.allowed(mask))]
        assert n == 1 or len(different) == len(FORMS)
