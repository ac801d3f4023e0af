from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.ir.dims import dims_of
from graphs.ir.stage import stage_of
from graphs.last_layer import push_down_row
from graphs.last_layer.push_down_row import PushDownRowPass
from tests.graphs.build import ops, to_bytes
from tests.graphs.encoders import (
    EDGES,
    HEADS,
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


@pytest.mark.slow
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


@pytest.mark.slow
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
