"""What is not packed: what mixes tokens, and what would show padding."""

import numpy as np
import onnx_ir as ir
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.ir.dims import dims_of
from graphs.unpadding.padding_free import PaddingFreePass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, to_bytes
from tests.graphs.encoders import (
    EDGES,
    HEADS,
    WIDTH,
    EncoderBuilder,
    Style,
    batch_of,
    canonical,
    encoder,
    pooled,
    run_on,
)
from tests.graphs.unpadding.test_padding_free import assert_same, free_of_padding, layouts, pushed


def _convolution(b, x):
    turned = b.op("Conv", b.op("Transpose", x, perm=[0, 2, 1]), b.weight(WIDTH, WIDTH, 3), pads=[1, 1])
    return b.op("Transpose", b.shaped(f"batch {WIDTH} seq", "Identity", turned), perm=[0, 2, 1])


def _unmasked_attention(b, x):
    query = b.heads(x, HEADS)
    return b.merged(b.shaped(f"batch {HEADS} seq 4", "Attention", query, query, query))


def _attention_under_a_soft_mask(b, x):
    soft = b.op("Where", b.allowed(), b.scalar(0), b.scalar(-1.0))
    query = b.heads(x, HEADS)
    return b.merged(b.shaped(f"batch {HEADS} seq 4", "Attention", query, query, query, soft))


def _mean_of_the_sequence(b, x):
    return b.op("Add", x, b.op("ReduceMean", x, b.ints(1), keepdims=1))


def _softmax_over_tokens(b, x):
    return b.op("Softmax", x, axis=1)


def _running_sum(b, x):
    return b.op("CumSum", x, b.scalar(1, np.int64), reverse=1)


def _neighbour(b, x):
    rest, first = (b.op("Slice", x, b.ints(i), b.ints(j), b.ints(1)) for i, j in ((1, 2**62), (0, 1)))
    return b.shaped(f"batch seq {WIDTH}", "Concat", rest, first, axis=1)


def _gram_matrix(b, x):
    flat = b.op("Reshape", x, b.ints(-1, WIDTH))
    gram = b.op("MatMul", b.op("Transpose", flat, perm=[1, 0]), flat)
    return b.op("MatMul", x, b.op("Mul", gram, b.scalar(0.01)))


def _norm_over_tokens(b, x):
    return b.op("LpNormalization", x, axis=1)


def _most_of_the_sequence(b, x):
    return b.op("Sub", x, b.op("ReduceMax", x, b.ints(1), keepdims=1))


def _texts_mixed(b, x):
    return b.op("Add", x, b.op("ReduceMean", x, b.ints(0), keepdims=1))


MIXERS = [make for name, make in list(globals().items()) if name.startswith("_") and name[1].islower()]


@pytest.mark.parametrize("make", MIXERS, ids=lambda make: make.__name__.strip("_"))
@pytest.mark.parametrize("strategy", ["mean", "cls"])
def test_where_padding_reaches_a_token_nothing_is_packed(make, strategy):
    build = EncoderBuilder()
    x = build.layer(build.embeddings(), Style(), build.allowed())
    x = build.layer(build.norm(make(build, x)), Style(), build.allowed())
    model = pooled(canonical(build.finish(x)), strategy)
    batch = EDGES[5]
    noise = batch | {"input_ids": np.where(batch["attention_mask"] > 0, batch["input_ids"], 3)}
    assert not np.allclose(*run_on(model, batch, noise), atol=1e-4), "the premise: padding counts"
    for graph in (model, pushed(model)):
        before = to_bytes(graph)
        free = PaddingFreePass()
        assert not free(graph).modified
        assert to_bytes(graph) == before
        assert free.result.why and free.result.describe() == f"not packed: {free.result.why}"


def test_a_norm_scaled_by_position_is_left_where_it_is():
    build = EncoderBuilder()
    x = build.layer(build.embeddings(), Style(), build.allowed())
    scale = build.op("Unsqueeze", build.op("Cast", build.positions(), to=FLOAT), build.ints(0, 2))
    x = build.op("LayerNormalization", build.linear(x, WIDTH, WIDTH), build.op("Add", scale, build.weight(WIDTH)))
    before = pooled(canonical(build.finish(build.linear(x, WIDTH, WIDTH))), "mean")
    after, result = free_of_padding(before)
    if result.products:
        norms = [n for n in after.graph if n.op_type == "LayerNormalization"]
        assert ("batch", "seq") in {dims_of(n.outputs[0])[:2] for n in norms}
    assert_same(before, after, *EDGES)


def test_a_norm_whose_other_outputs_are_read_or_left_out_is_packed():
    for names in (["y", "mean"], ["y", "", ""]):
        build = EncoderBuilder()
        x = build.linear(build.embeddings(), WIDTH, WIDTH)
        node = ir.node("LayerNormalization", [x, build.weight(WIDTH)], outputs=[ir.Value(name=name) for name in names])
        build.nodes.append(node)
        y = build.op("Add", *node.outputs) if len(names) == 2 else node.outputs[0]
        before = pooled(build.finish(build.linear(y, WIDTH, WIDTH)), "mean")
        norm = next(n for n in before.graph if n.op_type == "LayerNormalization")
        if len(names) == 3:
            norm.resize_outputs(3)
            for value in norm.outputs[1:]:
                value.name = ""
        after, result = free_of_padding(before)
        assert result.products == 2
        assert_same(before, after, *EDGES)


def test_what_a_branch_reads_is_unpacked_for_it():
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)

    def branch(name, op):
        out = ir.Value(name=f"{name}_out", type=ir.TensorType(FLOAT))
        return ir.Graph([], [out], nodes=[ir.node(op, [x], outputs=[out], name=f"n_{name}")], name=name)

    many = build.op("Greater", build.op("ReduceSum", build.mask, keepdims=0), build.scalar(5, np.int64))
    chosen = build.shaped(
        f"batch seq {WIDTH}",
        "If",
        many,
        then_branch=branch("soft", "Sigmoid"),
        else_branch=branch("hard", "HardSigmoid"),
    )
    before = pooled(build.finish(build.linear(build.op("Mul", x, chosen), WIDTH, WIDTH)), "mean")
    after, _ = free_of_padding(before)
    assert_same(before, after, *EDGES)


def test_texts_and_positions_are_broadcast_to_their_tokens():
    """[1, seq, width] by the column of a token, [batch, 1, width] by its text, [seq, width] by its column."""
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    at = build.op("Cast", build.positions(), to=FLOAT)
    column = build.op("Mul", build.op("Unsqueeze", at, build.ints(0, 2)), build.weight(WIDTH))
    flat = build.op("Mul", build.op("Unsqueeze", at, build.ints(1)), build.weight(WIDTH))
    count = build.op("ReduceSum", build.op("Cast", build.mask, to=FLOAT), build.ints(1), keepdims=1)
    text = build.op("Mul", build.op("Unsqueeze", count, build.ints(2)), build.weight(WIDTH))
    shown = build.op("Unsqueeze", build.op("Cast", build.mask, to=9), build.ints(2))
    for value in (column, flat, text):
        x = build.op("Add", x, value)
    x = build.op("Where", shown, x, build.scalar(0))
    before = pooled(build.finish(build.linear(x, WIDTH, WIDTH)), "mean")
    after, result = free_of_padding(before)
    assert layouts(after) == {(1, "tokens"): 2}
    assert result.packs == 5
    assert_same(before, after, *EDGES)


def test_texts_that_are_cut_are_not_laid_out_like_the_mask():
    """[batch, min(6, seq), width]: places in the batch are others than in the attention_mask."""
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    cut = build.shaped(f"batch Min(6,seq) {WIDTH}", "Slice", x, build.ints(0), build.ints(6), build.ints(1))
    for _ in range(2):
        weight = build.weight(WIDTH, WIDTH)
        cut = build.shaped(f"batch Min(6,seq) {WIDTH}", "MatMul", cut, weight)
    output = build.shaped(f"batch {WIDTH}", "ReduceMax", cut, build.ints(1), keepdims=0)
    model = build.model(output)
    cleanup(model)
    before = model.clone()
    PaddingFreePass()(model)
    cut_products = [n for n in model.graph if n.op_type == "MatMul" and "Min(6,seq)" in (dims_of(n.outputs[0]) or ())]
    assert len(cut_products) == 2
    assert_same(before, model, batch_of(np.ones((2, 9))), batch_of(np.tri(9)))


def test_a_region_without_a_product_stays():
    build = EncoderBuilder()
    model = pooled(build.finish(build.norm(build.embeddings())), "mean")
    free = PaddingFreePass()
    assert not free(model).modified
    assert free.result.why == "no token-wise matrix product"


# Where it would be wrong.


def test_an_encoder_that_is_not_pooled_would_show_its_padding_and_is_refused():
    model = canonical(encoder(Style()))
    before = to_bytes(model)
    with pytest.raises(ir.passes.PreconditionError, match="last_hidden_state"):
        PaddingFreePass()(model)
    assert to_bytes(model) == before


def test_a_further_output_of_hidden_states_or_of_unknown_shape_is_refused():
    model = pooled(canonical(encoder(Style())), "mean")
    hidden = next(n for n in model.graph if n.op_type == "LayerNormalization").outputs[0]
    model.graph.outputs.append(hidden)
    with pytest.raises(ir.passes.PreconditionError, match="would show them"):
        PaddingFreePass()(model)
    model.graph.outputs.pop()
    model.graph.outputs[0].shape = None
    with pytest.raises(ir.passes.PreconditionError, match="would show them"):
        PaddingFreePass()(model)


@pytest.mark.parametrize("dims", [None, ("batch", 1, 1, "seq"), ("b", "s"), (2, 8)])
def test_a_mask_of_other_dimensions_is_refused(dims):
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", "seq", 8)
    if dims is not None:
        mask = build.input("attention_mask", INT64, *dims)
        x = build.op("Mul", x, build.op("Cast", build.op("ReduceSum", mask), to=FLOAT))
    output = build.op("ReduceSum", x, build.constant("axes", [1], np.int64), keepdims=0)
    output.shape = ir.Shape(["batch", 8])
    with pytest.raises(ir.passes.PreconditionError, match=r"\[batch, seq\], got"):
        PaddingFreePass()(build.model(output))
