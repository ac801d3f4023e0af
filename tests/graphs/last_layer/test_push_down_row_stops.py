"""Where the push-down ends, and why; and where it would be wrong."""

import numpy as np
import onnx_ir as ir
import pytest

from graphs.last_layer.push_down_row import PushDownRowPass
from tests.graphs.build import FLOAT, run, to_bytes
from tests.graphs.encoders import (
    EDGES,
    HEAD,
    HEADS,
    WIDTH,
    EncoderBuilder,
    Style,
    assert_same_vectors,
    canonical,
    encoder,
    pooled,
    run_on,
)
from tests.graphs.last_layer.test_push_down_row import ROWS, assert_same_after_push, products, pushed

# Poolings that read more than a row.


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        ("mean", "the pooling reads every row"),
        ("max", "the pooling reads every row"),
        ("cls+mean", "reads every row"),
        ("weightedmean+lasttoken", "reads every row"),
        ("cls+lasttoken", "the pooling picks several rows"),
    ],
)
def test_a_pooling_of_several_rows_moves_nothing_and_says_why(strategy, why):
    model = pooled(canonical(encoder(Style())), strategy)
    before = to_bytes(model)
    after, result = pushed(model)
    assert to_bytes(after) == before
    assert result.nodes == result.attentions == 0
    assert why in result.stops[0].why
    assert result.describe().startswith("not moved: ")


def test_a_further_output_of_hidden_states_moves_nothing():
    model = pooled(canonical(encoder(Style())))
    hidden = next(n for n in model.graph if n.op_type == "GatherND").inputs[0]
    model.graph.outputs.append(hidden)
    before = to_bytes(model)
    after, result = pushed(model)
    assert to_bytes(after) == before
    assert [stop.why for stop in result.stops] == ["it is an output"]


def test_an_output_of_the_last_layer_s_inner_states_stops_there():
    build = EncoderBuilder()
    x = build.layer(build.embeddings(), Style(), build.allowed())
    shown = build.op("Gelu", build.linear(x, WIDTH, WIDTH), name="shown")
    model = canonical(build.finish(build.norm(build.linear(shown, WIDTH, WIDTH))))
    before = pooled(model)
    before.graph.outputs.append(next(n for n in before.graph if n.name == "n_shown").outputs[0])
    after, result = pushed(before)
    assert [(stop.value, stop.why) for stop in result.stops] == [("shown", "it is an output")]
    for a, b in zip(run(before, EDGES[4]), run(after, EDGES[4]), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)


# Operators that need more than a row of what they read.


def _residual_of_every_row(b, x):
    return b.op("Add", x, b.op("ReduceMean", x, b.ints(1), keepdims=1)), "reads every row"


def _sum_of_rows(b, x):
    return b.op("CumSum", x, b.scalar(1, np.int64)), "may mix rows"


def _convolution(b, x):
    turned = b.op("Conv", b.op("Transpose", x, perm=[0, 2, 1]), b.weight(WIDTH, WIDTH, 3), pads=[1, 1])
    return b.op("Transpose", b.shaped(f"batch {WIDTH} seq", "Identity", turned), perm=[0, 2, 1]), "may mix rows"


def _softmax_over_rows(b, x):
    return b.op("Softmax", x, axis=1), "goes over the rows"


def _neighbour(b, x):
    last = b.op("Slice", x, b.ints(-1), b.ints(2**62), b.ints(1))
    rest = b.op("Slice", x, b.ints(0), b.ints(-1), b.ints(1))
    return b.shaped(f"batch seq {WIDTH}", "Concat", last, rest, axis=1), "Concat joins rows"


def _reversed(b, x):
    back = b.op("Slice", x, b.ints(-1), b.ints(-(2**62)), b.ints(1), b.ints(-1))
    return b.shaped(f"batch seq {WIDTH}", "Identity", back), "Slice cuts the rows"


def _rows_and_width_mixed(b, x):
    flat = b.shaped(f"batch {WIDTH}*seq", "Reshape", x, b.ints(0, -1))
    turned = b.op("Sub", flat, b.op("ReduceMean", flat, b.ints(1)))
    return b.shaped(f"batch seq {WIDTH}", "Reshape", turned, b.ints(0, -1, WIDTH)), "mixes the rows"


def _width_and_rows_swapped(b, x):
    shape = b.op("Concat", b.op("Shape", x, start=0, end=1), b.ints(WIDTH, -1), axis=0)
    swapped = b.shaped(f"batch {WIDTH} seq", "Reshape", x, shape)
    return b.op("Transpose", swapped, perm=[0, 2, 1]), "mixes the rows"


def _batch_and_rows_swapped(b, x):
    """As many texts as tokens would hide it; other batches do not."""
    sizes = b.op("Shape", x, start=1, end=2), b.op("Shape", x, start=0, end=1), b.ints(WIDTH)
    swapped = b.shaped(f"seq batch {WIDTH}", "Reshape", x, b.op("Concat", *sizes, axis=0))
    return b.op("Transpose", swapped, perm=[1, 0, 2]), "moves the batch"


def _batch_moved(b, x):
    turned = b.op("Transpose", x, perm=[1, 0, 2])
    return b.op("Transpose", b.op("Gelu", turned), perm=[1, 0, 2]), "moves the batch"


def _next_text(b, x):
    last = b.op("Slice", x, b.ints(-1), b.ints(2**62), b.ints(0))
    rest = b.op("Slice", x, b.ints(0), b.ints(-1), b.ints(0))
    return b.shaped(f"batch seq {WIDTH}", "Concat", last, rest, axis=0), "Concat joins rows"


def _text_by_index(b, x):
    index = b.op("Mul", b.op("Cast", b.op("ReduceMax", b.mask, b.ints(1), keepdims=0), to=7), b.scalar(0, np.int64))
    index.shape = ir.Shape(["batch"])
    return b.op("Gather", x, index, axis=0), "takes from the batch"


def _rows_by_index(b, x):
    """Rows in another order, the same for every text."""
    back = b.op(
        "Sub",
        b.op("Sub", b.op("Squeeze", b.op("Shape", x, start=1, end=2), b.ints(0)), b.scalar(1, np.int64)),
        b.positions(),
    )
    return b.shaped(f"batch seq {WIDTH}", "Gather", x, back, axis=1), "same rows of every text"


def _rows_by_an_index_with_an_axis(b, x):
    at = b.op("Unsqueeze", b.positions(), b.ints(0))
    four = b.shaped(f"batch 1 seq {WIDTH}", "Gather", x, at, axis=1)
    return b.op("Squeeze", four, b.ints(1)), "same rows of every text"


def _elements_by_index(b, x):
    wide = b.op(
        "Add", b.op("Mul", b.op("Cast", x, to=7), b.scalar(0, np.int64)), b.op("Unsqueeze", b.positions(), b.ints(1))
    )
    return b.op("GatherElements", x, wide, axis=2), ""


def _second_output_of_the_norm(b, x):
    return _norm_with_outputs(b, x, "both"), "gives its mean or deviation"


def _scale_of_each_position(b, x):
    scale = b.op("Unsqueeze", b.op("Cast", b.positions(), to=FLOAT), b.ints(0, 2))
    wide = b.op("Add", scale, b.weight(WIDTH))
    return b.op("LayerNormalization", x, wide), "numbers of its own"


def _scale_of_each_text(b, x):
    first = b.op("Slice", x, b.ints(0), b.ints(1), b.ints(1))
    return b.op("RMSNormalization", x, first), "numbers of its own"


def _causal_by_attribute(b, x):
    query = b.heads(x, HEADS)
    return b.merged(
        b.shaped(f"batch {HEADS} seq {HEAD}", "Attention", query, query, query, is_causal=1)
    ), "causal by attribute"


def _three_axes_of_attention(b, x):
    mixed = b.op("Attention", x, x, x, q_num_heads=HEADS, kv_num_heads=HEADS)
    return b.shaped(f"batch seq {WIDTH}", "Identity", mixed), "is not over [batch, heads, seq, head]"


def _norm_with_outputs(b, x, used):
    """LayerNormalization with its mean, which is used, unused or left out."""
    names = {"both": ["y", "mean"], "unused": ["y", "mean", "deviation"], "left out": ["y", "", ""]}[used]
    node = ir.node("LayerNormalization", [x, b.weight(WIDTH)], outputs=[ir.Value(name=name) for name in names])
    b.nodes.append(node)
    return b.op("Add", node.outputs[0], node.outputs[1]) if used == "both" else node.outputs[0]


MIXERS = [make for name, make in list(globals().items()) if name.startswith("_") and name[1].islower()]
MIXERS = [make for make in MIXERS if callable(make) and make is not _norm_with_outputs]


@pytest.mark.parametrize("make", MIXERS, ids=lambda make: make.__name__.strip("_"))
@pytest.mark.parametrize("strategy", ROWS)
def test_what_needs_every_row_keeps_them_and_the_reason_is_told(make, strategy):
    """The mixer stands between a layer and a feed-forward, which moves; what is in front of the mixer does not."""
    build = EncoderBuilder()
    mixed, why = make(build, build.norm(build.linear(build.embeddings(), WIDTH, WIDTH)))
    x = build.norm(build.op("Add", mixed, build.feed_forward(mixed, Style())))
    result, model = assert_same_after_push(build.finish(x), strategy)
    assert any(why in stop.why for stop in result.stops), result.stops
    assert products(model) == ({"seq": 1, 1: 2} if why else {1: 3})


@pytest.mark.parametrize("used", ["unused", "left out"])
def test_a_norm_whose_other_outputs_nobody_reads_moves(used):
    build = EncoderBuilder()
    x = _norm_with_outputs(build, build.linear(build.embeddings(), WIDTH, WIDTH), used)
    before = pooled(build.finish(build.linear(x, WIDTH, WIDTH)))
    norm = next(n for n in before.graph if n.op_type == "LayerNormalization")
    if used == "left out":
        norm.resize_outputs(3)
        for value in norm.outputs[1:]:
            value.name = ""
    after, result = pushed(before)
    assert result.stops[0].why == "it is an input"
    (a,), (b,) = run_on(before, EDGES[4]), run_on(after, EDGES[4])
    assert_same_vectors(b, a)


# Where it would be wrong.


def _no_batch_dims(model, pick):
    pick.attributes.pop("batch_dims")


def _other_batch_dims(model, pick):
    pick.attributes["batch_dims"] = ir.AttrInt64("batch_dims", 0)


def _four_axes(model, pick):
    pick.inputs[0].shape = ir.Shape(["batch", 2, "seq", 8])


def _cut_texts(model, pick):
    pick.inputs[0].shape = ir.Shape(["batch", "Min(64, seq)", 16])


def _rows_first(model, pick):
    pick.inputs[0].shape = ir.Shape(["seq", "batch", 16])


def _unknown_rank(model, pick):
    pick.inputs[0].shape = None


def _two_indices(model, pick):
    pick.inputs[1].shape = ir.Shape(["batch", 2])


def _unknown_index(model, pick):
    pick.inputs[1].shape = None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_no_batch_dims, "batch_dims 1, got None"),
        (_other_batch_dims, "batch_dims 1, got"),
        (_four_axes, "one row of"),
        (_cut_texts, "one row of"),
        (_rows_first, "one row of"),
        (_unknown_rank, "got None"),
        (_two_indices, "by index"),
        (_unknown_index, "by index None"),
    ],
)
def test_what_is_no_row_of_token_vectors_is_refused_and_left_alone(change, said):
    model = pooled(canonical(encoder(Style())))
    change(model, next(node for node in model.graph if node.op_type == "GatherND"))
    before = to_bytes(model)
    with pytest.raises(ir.passes.PreconditionError, match=said):
        PushDownRowPass()(model)
    assert to_bytes(model) == before


def test_an_encoder_that_is_not_pooled_is_left_alone():
    model = canonical(encoder(Style()))
    before = to_bytes(model)
    push = PushDownRowPass()
    assert not push(model).modified
    assert to_bytes(model) == before
