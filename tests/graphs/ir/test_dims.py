import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.ir.dims import aligned, dims_of, has_token_axes, reshape_operand, same_size

SIZES = {"batch": 2, "seq": 3, "x": 5}
dims = st.lists(st.sampled_from([1, 2, 4, "batch", "seq", "x", "2*batch", "batch*seq"]), max_size=4).map(tuple)


def value(*shape):
    return ir.Value(name="v", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))


def numbers(symbolic):
    return [int(np.prod([SIZES.get(f) or int(f) for f in str(d).split("*")])) for d in symbolic]


def test_dimensions_are_numbers_symbols_or_unknown():
    assert dims_of(value("batch", None, 4)) == ("batch", None, 4)
    assert dims_of(value()) == ()
    assert dims_of(ir.Value(name="v")) is None
    assert dims_of(None) is None


@pytest.mark.parametrize("cut", ["Min(64, seq)", "Min(64,seq)", "Min(seq, 64)", "Min(seq, 10)", "Min(10, seq)"])
def test_a_table_that_is_cut_to_the_sequence_is_as_long(cut):
    assert dims_of(value(1, cut, 8)) == (1, "seq", 8)


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((1, "Min(1, seq)", 8), "a single row is repeated, however long the sequence"),
        ((1, "Min(seq, 1)", 8), "the same"),
        (("batch", "Min(64, seq)", 8), "texts that are cut to 64 tokens do not fail beyond, they are shorter"),
        ((1, "Max(64, seq)", 8), "never shorter than 64"),
        ((1, "Min(64, batch)", 8), "another symbol"),
        ((1, "Min(64, seq) + 1", 8), "one more"),
        ((1, "Min(64, 2*seq)", 8), "twice as long"),
    ],
)
def test_what_only_looks_like_a_cut_table_stays_what_it_says(shape, why):
    assert dims_of(value(*shape)) == shape, why


def test_fewer_axes_are_ones_in_front():
    assert aligned((4, "seq"), 4) == (1, 1, 4, "seq")
    assert aligned(("seq",), 1) == ("seq",)


@given(dims, dims)
def test_the_same_size_is_said_only_where_it_is_true(a, b):
    if same_size(a, b):
        assert np.prod(numbers(a)) == np.prod(numbers(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("batch", 4, "seq"), ("seq", 2, "batch", 2)),
        (("2*batch", "seq"), (2, "batch*seq")),
        ((1, "seq", 1), ("seq",)),
        (("seq - 1", 2), (2, "seq - 1")),
        ((), (1,)),
    ],
)
def test_the_order_and_the_grouping_of_dimensions_do_not_matter(a, b):
    assert same_size(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((None,), (None,)),
        (("batch", None), ("batch", None)),
        (("batch",), ("seq",)),
        (("2*seq - 1",), (2, "seq - 1")),
        (("2*seq + batch*4",), (2, "seq + batch", 4)),
        (("Max(2*seq, 4)",), ("Max(2", "seq, 4)")),
        (("seq", "seq"), ("seq",)),
        ((2, "seq"), ("seq",)),
    ],
)
def test_what_may_differ_is_not_the_same_size(a, b):
    assert not same_size(a, b)


@given(dims, dims)
def test_a_reshape_by_the_operand_gives_the_dimensions_asked_for(source, target):
    operand = reshape_operand(source, target)
    before, after = numbers(source), numbers(target)
    if operand is None or np.prod(before) != np.prod(after):
        return
    resolved = [before[i] if n == 0 else n for i, n in enumerate(operand)]
    assert np.zeros(before).reshape(resolved).shape == tuple(after)


@pytest.mark.parametrize(
    ("source", "target", "operand"),
    [
        (("batch", "seq", 8), ("batch", "seq", 2, 4), [0, 0, 2, 4]),
        (("batch", 2, "seq", 4), ("batch", "seq", 8), [0, -1, 8]),
        (("batch", "seq", 8), ("batch*seq", 8), [-1, 8]),
        (("batch", None, 8), ("batch", None, 8), [0, -1, 8]),
        (("seq",), (1, "seq"), [1, -1]),
        (("batch", "seq"), ("seq", "batch"), None),
        ((8, "seq"), ("seq", None), None),
        (("batch", 0), (0, "batch"), None),
    ],
)
def test_an_operand_copies_or_infers_at_most_one(source, target, operand):
    assert reshape_operand(source, target) == operand


def test_token_axes_are_the_first_two():
    assert has_token_axes(value("batch", "seq"))
    assert has_token_axes(value("batch", "seq", 8))
    assert not has_token_axes(value("seq", "batch"))
    assert not has_token_axes(value("batch"))
    assert not has_token_axes(None)
