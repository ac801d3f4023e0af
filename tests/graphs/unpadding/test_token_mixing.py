"""Graphs in which padding reaches a token, one way each, and their twins in which it cannot."""

import numpy as np
import onnx_ir as ir
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.unpadding.padding_free import PaddingFreePass
from graphs.unpadding.token_mixing import unhidden_padding
from graphs.unpadding.token_rules import token_inputs
from tests.graphs.build import INT64, GraphBuilder, ops, run

WIDTH = 4
RNG = np.random.default_rng(0)
LOWEST = np.finfo(np.float32).min


class Encoder:
    """input_ids -> Gather -> MatMul, [batch, seq, 4]; `pooled` sums the tokens that the mask shows."""

    def __init__(self) -> None:
        self.build = build = GraphBuilder()
        self.ids, self.mask = (
            build.input("input_ids", INT64, "batch", "seq"),
            build.input("attention_mask", INT64, "batch", "seq"),
        )
        table = build.constant("table", RNG.normal(size=(30, WIDTH)))
        self.hidden = self.linear(build.op("Gather", table, self.ids))

    def linear(self, value: ir.Value) -> ir.Value:
        weight = self.build.constant(f"w{len(self.build.constants)}", RNG.normal(size=(WIDTH, WIDTH)))
        return self.build.op("MatMul", value, weight)

    def axes(self, *axes: int) -> ir.Value:
        return self.build.constant(f"axes{len(self.build.constants)}", axes, np.int64)

    def canonical(self) -> ir.Value:
        """0 and -large, [batch, 1, seq], marked as the canonical mask is."""
        first = len(self.build.nodes)
        token = self.build.op("Cast", self.mask, to=ir.DataType.BOOL)
        zero, lowest = self.build.constant("zero", 0.0), self.build.constant("lowest", LOWEST)
        added = self.build.op("Where", self.build.op("Unsqueeze", token, self.axes(1)), zero, lowest)
        for node in self.build.nodes[first:]:
            node.metadata_props["poolfold.stage"] = "mask"
        return added

    def attention(self, query: ir.Value, key: ir.Value, mask: ir.Value | None, softmax_axis: int = -1) -> ir.Value:
        op = self.build.op
        scores = op("MatMul", query, op("Transpose", key, perm=[0, 2, 1]))
        if mask is not None:
            scores = op("Add", scores, mask)
        return op("MatMul", op("Softmax", scores, axis=softmax_axis), key)

    def pooled(self, value: ir.Value) -> ir.Model:
        op, first = self.build.op, len(self.build.nodes)
        mask = op("Unsqueeze", op("Cast", self.mask, to=ir.DataType.FLOAT), self.axes(-1))
        total = op("ReduceSum", op("Mul", value, mask), self.axes(1), keepdims=0, name="sentence_embedding")
        for node in self.build.nodes[first:]:
            node.metadata_props["poolfold.stage"] = "pooling"
        model = self.build.model(total)
        cleanup(model)
        return model


def masked_attention(e):
    return e.attention(e.hidden, e.linear(e.hidden), e.canonical())


def unmasked_attention(e):
    return e.attention(e.hidden, e.linear(e.hidden), None)


def softmax_over_the_queries(e):
    return e.attention(e.hidden, e.linear(e.hidden), e.canonical(), softmax_axis=1)


def a_mask_added_behind_the_softmax(e):
    op = e.build.op
    scores = op("Softmax", op("MatMul", e.hidden, op("Transpose", e.hidden, perm=[0, 2, 1])))
    return op("MatMul", op("Add", scores, e.canonical()), e.hidden)


def between(e, change_scores=lambda e, s: s, change_weights=lambda e, w: w):
    """Masked attention with something between the mask and the softmax, or behind the softmax."""
    op = e.build.op
    scores = op("Add", op("MatMul", e.hidden, op("Transpose", e.linear(e.hidden), perm=[0, 2, 1])), e.canonical())
    return op("MatMul", change_weights(e, op("Softmax", change_scores(e, scores))), e.hidden)


def times(number):
    return lambda e, scores: e.build.op("Mul", scores, e.build.constant(f"n{len(e.build.constants)}", number))


def masked_and_scaled(e):
    return between(e, change_scores=times(0.5))


def masked_and_biased(e):
    bias = e.build.constant("bias", RNG.normal(size=(1, 1, 1)))
    return between(e, change_scores=lambda e, scores: e.build.op("Add", scores, bias))


def weights_scaled(e):
    return between(e, change_weights=times(-2.0))


def masked_and_turned_over(e):
    return between(e, change_scores=times(-1.0))


def masked_and_made_small(e):
    return between(e, change_scores=times(1e-38))


def weights_shifted(e):
    one = e.build.constant("shift", 0.5)
    return between(e, change_weights=lambda e, weights: e.build.op("Add", weights, one))


def weights_exponentiated(e):
    return between(e, change_weights=lambda e, weights: e.build.op("Exp", weights))


def weights_replaced(e):
    tenth = e.build.constant("tenth", 0.1)

    def replaced(e, weights):
        return e.build.op("Where", e.build.op("Less", weights, tenth), tenth, weights)

    return between(e, change_weights=replaced)


def a_bias_in_the_mask(e):
    bias = e.build.constant("bias", RNG.normal(size=(1, 1, 1)))
    return e.attention(e.hidden, e.linear(e.hidden), e.build.op("Add", bias, e.canonical()))


def a_mean_over_the_tokens(e):
    return e.linear(e.build.op("Add", e.hidden, e.build.op("ReduceMean", e.hidden, e.axes(1), keepdims=1)))


def a_running_sum(e):
    return e.linear(e.build.op("CumSum", e.hidden, e.build.constant("along", 1, np.int64), reverse=1))


def neighbours_by_convolution(e):
    op = e.build.op
    kernel = e.build.constant("kernel", RNG.normal(size=(WIDTH, WIDTH, 3)))
    turned = op("Conv", op("Transpose", e.hidden, perm=[0, 2, 1]), kernel, pads=[1, 1])
    return e.linear(op("Transpose", turned, perm=[0, 2, 1]))


def the_next_token(e):
    op = e.build.op
    start, end, axis = e.axes(1), e.axes(2**62), e.axes(1)
    rest = op("Slice", e.hidden, start, end, axis)
    first = op("Slice", e.hidden, e.axes(0), e.axes(1), e.axes(1))
    return e.linear(op("Concat", rest, first, axis=1))


def a_normalisation_over_the_tokens(e):
    return e.linear(e.build.op("LpNormalization", e.hidden, axis=1, p=2))


HIDDEN = [masked_attention, masked_and_scaled, masked_and_biased, weights_scaled, a_bias_in_the_mask]
SHOWS = [
    unmasked_attention,
    softmax_over_the_queries,
    a_mask_added_behind_the_softmax,
    masked_and_turned_over,
    masked_and_made_small,
    weights_shifted,
    weights_exponentiated,
    weights_replaced,
    a_mean_over_the_tokens,
    a_running_sum,
    neighbours_by_convolution,
    the_next_token,
    a_normalisation_over_the_tokens,
]


def regions(model):
    return {
        node for node in model.graph if token_inputs(node) is not None and "poolfold.stage" not in node.metadata_props
    }


def feeds(ids_of_padding):
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    return {"input_ids": np.where(mask > 0, 7, ids_of_padding), "attention_mask": mask}


@pytest.mark.parametrize("make", HIDDEN, ids=lambda make: make.__name__)
def test_padding_that_no_token_sees(make):
    encoder = Encoder()
    model = encoder.pooled(make(encoder))
    assert unhidden_padding(model.graph, regions(model)) == []
    # The premise, in numbers: other padding, the same vectors.
    np.testing.assert_array_equal(run(model, feeds(3))[0], run(model, feeds(11))[0])
    wanted = run(model, feeds(3))[0]
    assert PaddingFreePass()(model).modified
    cleanup(model)
    assert "NonZero" in ops(model)
    np.testing.assert_allclose(run(model, feeds(3))[0], wanted, atol=1e-5)


@pytest.mark.parametrize("make", SHOWS, ids=lambda make: make.__name__)
def test_padding_that_a_token_sees_is_named_and_nothing_is_packed(make):
    encoder = Encoder()
    model = encoder.pooled(make(encoder))
    # The premise, in numbers: other padding, other vectors.
    assert not np.allclose(run(model, feeds(3))[0], run(model, feeds(11))[0])
    (reason, *_) = unhidden_padding(model.graph, regions(model))
    assert "along its tokens" in reason
    free = PaddingFreePass()
    assert not free(model).modified
    assert free.result.describe() == f"not packed: {reason}"
    assert "NonZero" not in ops(model)


def test_a_mask_of_another_make_is_not_trusted():
    """Only the canonical mask is known to hide padding; one that merely looks like it may hold anything."""
    encoder = Encoder()
    model = encoder.pooled(masked_attention(encoder))
    for node in model.graph:
        if node.metadata_props.get("poolfold.stage") == "mask":
            node.metadata_props.clear()
    assert unhidden_padding(model.graph, regions(model))


@pytest.mark.parametrize(("mask", "expected"), [("canonical", 0), ("none", 2)])
def test_an_attention_operator_hides_padding_by_its_mask_alone(mask, expected):
    encoder = Encoder()
    op = encoder.build.op
    heads = encoder.build.op("Unsqueeze", encoder.hidden, encoder.axes(1))
    masks = [op("Unsqueeze", encoder.canonical(), encoder.axes(1))] if mask == "canonical" else []
    for node in encoder.build.nodes[-1:]:
        if masks:
            node.metadata_props["poolfold.stage"] = "mask"
    mixed = op("Squeeze", op("Attention", heads, heads, heads, *masks), encoder.axes(1))
    model = encoder.pooled(encoder.linear(mixed))
    assert len(unhidden_padding(model.graph, regions(model))) == expected
