"""Rows of tensors that have no batch, fewer axes than what reads them, or rows along two axes."""

import numpy as np
import onnx_ir as ir
import pytest

from tests.graphs.build import FLOAT
from tests.graphs.encoders import (
    BOOL,
    HEAD,
    HEADS,
    LOWEST,
    WIDTH,
    EncoderBuilder,
)
from tests.graphs.last_layer.test_push_down_row import ROWS, assert_same_after_push, products


def _bias_of(b, dims):
    """A bias by query and key, without heads, in as many axes as wanted."""
    scores = b.op("Cast", b.op("Abs", b.distances()), to=FLOAT)
    scores = b.op("Mul", scores, b.scalar(-0.7))
    bias = b.op("Add", scores, b.op("Cast", b.op("Unsqueeze", b.positions(), b.ints(1)), to=FLOAT))
    return b.op("Unsqueeze", bias, b.ints(*range(dims - 2))) if dims > 2 else bias


@pytest.mark.parametrize("axes", [2, 3, 4])
@pytest.mark.parametrize("attention", ["operator", "products"])
def test_a_bias_of_fewer_axes_is_picked_by_the_query_s_row(axes, attention):
    """A row of [1, seq, seq] is [batch, 1, seq], which four axes would read as one for each head."""
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    query, key, value = (build.heads(build.linear(x, WIDTH, WIDTH), HEADS) for _ in range(3))
    bias = _bias_of(build, axes)
    if attention == "operator":
        mixed = build.shaped(f"batch {HEADS} seq {HEAD}", "Attention", query, key, value, bias)
    else:
        scores = build.op("MatMul", query, build.op("Transpose", key, perm=[0, 1, 3, 2]))
        mixed = build.op("MatMul", build.op("Softmax", build.op("Add", scores, bias)), value)
    model = build.finish(build.linear(build.merged(mixed), WIDTH, WIDTH))
    for strategy in ROWS:
        result, after = assert_same_after_push(model, strategy)
        assert result.attentions == 1
        assert products(after) == {"seq": 3, 1: 2}


def test_a_product_of_fewer_axes_is_picked_with_all_of_them():
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    keys = build.op("Transpose", build.heads(x, HEADS), perm=[0, 1, 3, 2])
    queries = build.op(
        "Add",
        build.weight(1, 1, HEAD),
        build.op("Cast", build.op("Unsqueeze", build.positions(), build.ints(0, 2)), to=FLOAT),
    )
    mixed = build.op("MatMul", build.op("Softmax", build.op("MatMul", queries, keys)), build.heads(x, HEADS))
    result, after = assert_same_after_push(build.finish(build.linear(build.merged(mixed), WIDTH, WIDTH)), "lasttoken")
    assert result.attentions == 1
    assert products(after) == {"seq": 1, 1: 1}


def test_heads_squeezed_by_a_reshape_keep_the_keys():
    """[batch, 1, seq, seq] -> [batch, seq, seq]: with one query, the third axis is no longer as long as the fourth."""
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    one = build.op("Unsqueeze", x, build.ints(1))
    scores = build.op("MatMul", one, build.op("Transpose", one, perm=[0, 1, 3, 2]))
    flat = build.shaped("batch seq seq", "Reshape", scores, build.op("Concat", *(
        build.op("Shape", build.ids, start=i, end=i + 1) for i in (0, 1, 1)
    ), axis=0))  # fmt: skip
    mixed = build.op("MatMul", build.op("Softmax", flat), x)
    result, _ = assert_same_after_push(build.finish(build.linear(mixed, WIDTH, WIDTH)), "lasttoken")
    assert result.attentions == 1


def test_rows_wanted_along_two_axes_stay_whole():
    """The last row as a query, and the last row as a key."""
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    square = build.op("MatMul", x, build.op("Transpose", x, perm=[0, 2, 1]))
    both = build.op("Add", square, build.op("Transpose", build.op("Gelu", square), perm=[0, 2, 1]))
    result, _ = assert_same_after_push(build.finish(build.op("MatMul", build.op("Softmax", both), x)), "lasttoken")
    assert any("along several axes, [1, 2]" in stop.why for stop in result.stops)


def test_texts_that_are_one_tensor_for_all_are_picked_with_a_batch():
    """Positions alone lead to the row: it gets the batch when it is picked."""
    build = EncoderBuilder()
    table = build.op("Gather", build.weight(30, WIDTH), build.op("Unsqueeze", build.positions(), build.ints(0)))
    gate = build.op("Sigmoid", build.op("MatMul", table, build.weight(WIDTH, WIDTH)))
    x = build.linear(build.op("Mul", build.embeddings(), gate), WIDTH, WIDTH)
    result, after = assert_same_after_push(build.finish(x), "lasttoken")
    assert any(stop.why == "it is the same for every text" for stop in result.stops)
    assert products(after) == {"seq": 1, 1: 1}


def test_what_a_branch_reads_is_read_whole():
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)

    def branch(name, op, *inputs, **attributes):
        out = ir.Value(name=f"{name}_out", type=ir.TensorType(FLOAT))
        return ir.Graph([], [out], nodes=[ir.node(op, inputs, attributes, outputs=[out], name=f"n_{name}")], name=name)

    many = build.op("Greater", build.op("ReduceSum", build.mask, keepdims=0), build.scalar(5, np.int64))
    mean = branch("mean", "ReduceMean", x, build.ints(1), keepdims=1)
    most = branch("most", "ReduceMax", x, build.ints(1), keepdims=1)
    chosen = build.shaped(f"batch 1 {WIDTH}", "If", many, then_branch=mean, else_branch=most)
    model = build.finish(build.linear(build.op("Add", x, chosen), WIDTH, WIDTH))
    result, after = assert_same_after_push(model, "lasttoken")
    assert products(after) == {"seq": 1, 1: 1}
    assert any(
        stop.why in ("ReduceMean n_mean reads every row", "ReduceMax n_most reads every row") for stop in result.stops
    )


def test_a_mask_of_three_axes_has_its_batch_in_front():
    """Scores [batch, seq, seq] and a mask [batch, 1, seq]: the first axis is no axis of heads."""
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    scores = build.op("MatMul", x, build.op("Transpose", x, perm=[0, 2, 1]))
    tokens = build.op("Unsqueeze", build.op("Cast", build.mask, to=BOOL), build.ints(1))
    off = build.op("Where", tokens, build.scalar(0), build.scalar(LOWEST))
    mixed = build.op("MatMul", build.op("Softmax", build.op("Add", scores, off)), x)
    result, _ = assert_same_after_push(build.finish(mixed), "lasttoken")
    assert result.attentions == 1
