from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import push_down_row
from graphs.cleanup import cleanup
from graphs.dims import dims_of
from graphs.push_down_row import PushDownRowPass
from graphs.stage import stage_of
from tests.graphs.build import FLOAT, ops, run, to_bytes
from tests.graphs.encoders import (
    BOOL,
    EDGES,
    HEAD,
    HEADS,
    LOWEST,
    WIDTH,
    EncoderBuilder,
    Style,
    assert_same_vectors,
    batch_of,
    batches,
    canonical,
    encoder,
    pooled,
    run_on,
    styles,
)

ROWS = ("cls", "lasttoken")
AS_MANY_TEXTS_AS_HEADS = batch_of(np.tri(HEADS, 6, 2))
BATCHES = [*EDGES, AS_MANY_TEXTS_AS_HEADS, batch_of(np.tri(WIDTH, 5))]


def pushed(model):
    """A clone with the row pushed down, and what the pass says."""
    model, push = model.clone(), PushDownRowPass()
    assert push(model).modified == bool(push.result.nodes)
    return model, push.result


def assert_same_after_push(hidden_model, strategy="cls"):
    """Push down, compare on every batch; what the pass says and the clean graph."""
    before = pooled(hidden_model, strategy)
    after, result = pushed(before)
    cleanup(after)
    for a, b in zip(run_on(before, *BATCHES), run_on(after, *BATCHES), strict=True):
        assert_same_vectors(b, a)
    return result, after


def products(model):
    """How many rows the products with weights compute, by the graph's own dimensions."""
    weights = [n for n in model.graph if n.op_type == "MatMul" and n.inputs[1].const_value is not None]
    return Counter(dims_of(node.outputs[0])[1] for node in weights)


# What moves.


STYLES = [
    (Style(), {"seq": 8, 1: 4}),
    (Style(block="pre"), {"seq": 8, 1: 4}),
    (Style(block="pre", feed_forward="split"), {"seq": 8, 1: 4}),
    (Style(block="pre", feed_forward="gated"), {"seq": 9, 1: 5}),
    (Style(block="parallel", feed_forward="split"), {"seq": 8, 1: 4}),
    (Style(attention="products", mask="add"), {"seq": 8, 1: 4}),
    (Style(attention="products", mask="where"), {"seq": 8, 1: 4}),
    (Style(position="table"), {"seq": 8, 1: 4}),
    (Style(block="pre", position="rotary"), {"seq": 8, 1: 4}),
    (Style(block="pre", position="rotary2d"), {"seq": 8, 1: 4}),
    (Style(attention="products", position="bias"), {"seq": 8, 1: 4}),
    (Style(attention="products", position="bias3d"), {"seq": 8, 1: 4}),
    (Style(position="bias"), {"seq": 8, 1: 4}),
    (Style(position="bias3d"), {"seq": 8, 1: 4}),
    (Style(grouped=True, position="rotary"), {"seq": 8, 1: 4}),
    (Style(behind=2, ahead=3), {"seq": 8, 1: 4}),
    (Style(behind=None, ahead=0, block="pre"), {"seq": 8, 1: 4}),
    (Style(fused=True), {"seq": 5, 1: 3}),
    (Style(layers=1), {"seq": 2, 1: 4}),
]


@pytest.mark.parametrize(
    ("style", "expected"), STYLES, ids=lambda value: str(value) if isinstance(value, Style) else ""
)
@pytest.mark.parametrize("strategy", ROWS)
def test_the_last_layer_computes_keys_and_values_of_every_token_and_one_row_of_all_else(style, expected, strategy):
    result, model = assert_same_after_push(canonical(encoder(style)), strategy)
    assert products(model) == expected
    assert result.attentions == 1
    norms = [n for n in model.graph if n.op_type == "LayerNormalization" and dims_of(n.outputs[0])[1] == 1]
    assert len(norms) == (2 if style.block != "parallel" else 1)
    (attention,) = (
        n for n in model.graph if n.op_type in ("Attention", "Softmax") and dims_of(n.outputs[0])[2] == 1
    )  # fmt: skip
    if attention.op_type == "Attention":
        assert [dims_of(value)[2] for value in attention.inputs] == [1, "seq", "seq", 1]
    assert any("reads every row" in stop.why for stop in result.stops)
    assert "through the last attention" in result.describe()


def test_without_constant_shapes_or_a_canonical_mask_it_moves_as_far():
    model = pooled(encoder(Style(behind=2, ahead=3)))
    after, result = pushed(model)
    cleanup(after)
    assert result.attentions == 1
    assert products(after) == {"seq": 8, 1: 4}
    for a, b in zip(run_on(model, *BATCHES), run_on(after, *BATCHES), strict=True):
        assert_same_vectors(b, a)


def test_the_graph_says_one_row_before_it_is_cleaned():
    model, result = pushed(pooled(canonical(encoder(Style()))))
    row = [node for node in model.graph if any(1 in (dims_of(v) or ())[1:2] for v in node.outputs)]
    assert result.nodes == 18
    assert len([node for node in row if stage_of(node) not in ("row", "mask", "pooling")]) >= 12
    ir.passes.common.ShapeInferencePass(check_type=True, strict_mode=True, data_prop=True)(model)
    assert products(model) == {"seq": 8, 1: 4}


def test_an_encoder_without_attention_computes_one_row_of_everything():
    build = EncoderBuilder()
    x = build.embeddings()
    for _ in range(3):
        x = build.norm(build.op("Add", x, build.feed_forward(x, Style())))
    result, model = assert_same_after_push(build.finish(x))
    assert products(model) == {1: 6}
    assert [(stop.value, stop.why) for stop in result.stops] == [("input_ids", "it is an input")]
    assert result.attentions == 0
    assert "behind the last attention" in result.describe()


@pytest.mark.parametrize("layers", [1, 2])
def test_a_row_of_a_mask_that_is_repeated_for_every_query_is_there_already(layers):
    result, model = assert_same_after_push(canonical(encoder(Style(layers=layers))))
    attention = next(n for n in model.graph if n.op_type == "Attention" and dims_of(n.outputs[0])[2] == 1)
    assert (attention.inputs[3].producer().op_type, dims_of(attention.inputs[3])) == ("Where", ("batch", 1, 1, "seq"))
    assert ops(model).count("Expand") == layers - 1
    assert not any("mask" in stop.value for stop in result.stops)


def test_a_softmax_that_is_no_attention_is_not_counted_as_one():
    build = EncoderBuilder()
    x = build.op("Softmax", build.linear(build.embeddings(), WIDTH, WIDTH), axis=-1)
    result, _ = assert_same_after_push(build.finish(build.linear(x, WIDTH, WIDTH)))
    assert result.nodes > 3 and result.attentions == 0


# Numbers.


@settings(max_examples=25, deadline=None)
@given(style=styles, strategy=st.sampled_from(ROWS), batch=batches(), clean=st.booleans())
def test_the_same_vectors_for_every_style_and_batch(style, strategy, batch, clean):
    model = encoder(style)
    before = pooled(canonical(model) if clean else model, strategy)
    after, result = pushed(before)
    cleanup(after)
    assert result.attentions == 1
    assert sum(products(after).values()) == sum(products(before).values())
    (a,), (b,) = run_on(before, batch), run_on(after, batch)
    assert_same_vectors(b, a)


def test_another_row_would_show():
    """The negative control of all of the above: the last token in place of the first."""
    model = canonical(encoder(Style()))
    expected, (got, _) = pooled(model, "cls"), pushed(pooled(model, "lasttoken"))
    with pytest.raises(AssertionError):
        for a, b in zip(run_on(expected, *BATCHES), run_on(got, *BATCHES), strict=True):
            assert_same_vectors(b, a)


@pytest.mark.parametrize("strategy", ROWS)
def test_a_row_picked_by_another_index_would_show(strategy):
    model = pooled(canonical(encoder(Style(block="pre"))), strategy)
    after, _ = pushed(model)
    pick = next(n for n in after.graph if n.op_type == "GatherND" and stage_of(n) == "row")
    zero = ir.node("Sub", [pick.inputs[1], pick.inputs[1]], outputs=[ir.Value(name="z", type=pick.inputs[1].type)])
    after.graph.insert_before(pick, zero)
    pick.replace_input_with(1, zero.outputs[0])
    with pytest.raises(AssertionError):
        for a, b in zip(run_on(model, *BATCHES), run_on(after, *BATCHES), strict=True):
            assert_same_vectors(b, a)


def test_a_mask_row_of_another_query_would_show():
    model = pooled(canonical(encoder(Style(behind=2, ahead=0))), "lasttoken")
    after, _ = pushed(model)
    attention = next(n for n in after.graph if n.op_type == "Attention" and dims_of(n.outputs[0])[2] == 1)
    first = after.graph.initializers.get("z") or ir.Value(
        name="z", type=ir.TensorType(ir.DataType.INT64), const_value=ir.tensor(np.array([0]), name="z")
    )
    after.graph.register_initializer(first)
    whole = next(n for n in after.graph if n.op_type == "Attention" and dims_of(n.outputs[0])[2] == "seq").inputs[3]
    wrong = ir.node("Gather", [whole, first], {"axis": 2}, outputs=[ir.Value(name="wrong", type=whole.type)])
    after.graph.insert_before(attention, wrong)
    attention.replace_input_with(3, wrong.outputs[0])
    with pytest.raises(AssertionError):
        for a, b in zip(run_on(model, *BATCHES), run_on(after, *BATCHES), strict=True):
            assert_same_vectors(b, a)


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


# Tensors without a batch, and with fewer axes than what reads them.


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


# The rest of the contract.


@pytest.mark.parametrize("style", [style for style, _ in STYLES[:12:3]], ids=str)
def test_a_second_application_changes_nothing_and_bytes_repeat(style):
    first, second = (pushed(pooled(canonical(encoder(style))))[0] for _ in range(2))
    assert to_bytes(first) == to_bytes(second)
    for clean in (False, True):
        if clean:
            cleanup(first)
        before = to_bytes(first)
        again, result = pushed(first)
        assert to_bytes(again) == before
        assert [stop.why for stop in result.stops] == ["one row is computed already"]


def test_every_node_it_adds_is_marked_and_every_value_typed():
    before = pooled(canonical(encoder(Style(position="rotary2d", attention="products"))))
    names = {node.name for node in before.graph}
    after, _ = pushed(before)
    added = [node for node in after.graph if node.name not in names]
    assert {stage_of(node) for node in added} == {"row", "pooling"}
    assert all(v.dtype is not None and v.shape is not None for node in after.graph for v in node.outputs)
    assert not {"NonZero", "ArgMax", "Compress"} & set(ops(after))


def test_work_grows_linearly_with_layers(monkeypatch):
    asked = Counter()
    rule = push_down_row.row_inputs
    for layers in (3, 6, 12, 24):
        model = pooled(canonical(encoder(Style(layers=layers, position="rotary"))))
        demand = push_down_row._demand

        def counting(graph, pick, blocked, layers=layers, demand=demand):
            asked[layers, "nodes"] += len(graph)
            return demand(graph, pick, blocked)

        def counting_rule(node, axis, layers=layers):
            asked[layers, "rules"] += 1
            return rule(node, axis)

        with monkeypatch.context() as patch:
            patch.setattr(push_down_row, "_demand", counting)
            patch.setattr(push_down_row, "row_inputs", counting_rule)
            pushed(model)
    # The last layer is all that moves, and the graph is walked as often however long it is.
    assert len({asked[layers, "rules"] for layers in (3, 6, 12, 24)}) == 1
    step = asked[6, "nodes"] - asked[3, "nodes"]
    assert asked[12, "nodes"] - asked[6, "nodes"] == 2 * step
    assert asked[24, "nodes"] - asked[12, "nodes"] == 4 * step


def test_a_mask_of_three_axes_that_no_pass_understands_is_refused_a_row():
    """[batch, 1, seq] is a mask of three axes already: the row keeps its batch in front, and no reader moves it."""
    build = EncoderBuilder()
    x = build.linear(build.embeddings(), WIDTH, WIDTH)
    scores = build.op("MatMul", x, build.op("Transpose", x, perm=[0, 2, 1]))
    tokens = build.op("Unsqueeze", build.op("Cast", build.mask, to=BOOL), build.ints(1))
    off = build.op("Where", tokens, build.scalar(0), build.scalar(LOWEST))
    mixed = build.op("MatMul", build.op("Softmax", build.op("Add", scores, off)), x)
    result, _ = assert_same_after_push(build.finish(mixed), "lasttoken")
    assert result.attentions == 1
