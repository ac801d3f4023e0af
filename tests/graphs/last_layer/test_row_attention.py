import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.ir.names import scores_name
from graphs.last_layer.row_attention import RowAttentionPass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, run, to_bytes


def attention(*, queries=1, heads=2, kv_heads=2, size=16, mask="float", **attributes):
    build = GraphBuilder()
    inputs = [
        build.input("query", FLOAT, "batch", heads, queries, size),
        build.input("key", FLOAT, "batch", kv_heads, "seq", size),
        build.input("value", FLOAT, "batch", kv_heads, "seq", size),
    ]
    if mask is not None:
        given_mask = build.input("mask", FLOAT, "batch", 1, queries, "seq")
        inputs.append(build.op("Cast", given_mask, to=ir.DataType.BOOL) if mask == "bool" else given_mask)
    output = build.op("Attention", *inputs, name="mixed", **attributes)
    model = build.model(build.op("Neg", output, name="out"))
    cleanup(model)
    return model


def feeds(batch=2, seq=5, seed=0, heads=2, size=16, queries=1):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, seq + 1, batch)
    visible = np.arange(seq) < lengths[:, None]
    mask = np.where(visible, 0, np.finfo(np.float32).min).astype(np.float32)[:, None, None]
    tensors = {
        name: rng.normal(size=(batch, heads, length, size)).astype(np.float32)
        for name, length in (("query", queries), ("key", seq), ("value", seq))
    }
    return tensors | {"mask": np.broadcast_to(mask, (batch, 1, queries, seq)).copy()}


def by_hand(given, scale):
    scores = given["query"] @ given["key"].swapaxes(2, 3) * scale + given.get("mask", 0)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return -(weights / weights.sum(-1, keepdims=True)) @ given["value"]


@pytest.mark.parametrize("scale", [None, 0.125, 1.0])
@settings(max_examples=15, deadline=None)
@given(batch=st.integers(1, 3), seq=st.integers(1, 9), seed=st.integers(0, 99))
def test_one_query_is_two_products_and_a_softmax(scale, batch, seq, seed):
    model = attention(**({} if scale is None else {"scale": scale}))
    given_feeds = feeds(batch, seq, seed)
    assert RowAttentionPass()(model).modified
    cleanup(model)
    assert ops(model) == ["Mul", "Transpose", "MatMul", "Add", "Softmax", "MatMul", "Neg"]
    (after,) = run(model, given_feeds)
    np.testing.assert_allclose(after, by_hand(given_feeds, scale or 0.25), atol=1e-5)
    once = to_bytes(model)
    assert not RowAttentionPass()(model).modified
    assert to_bytes(model) == once


def test_without_a_mask_nothing_is_added():
    model = attention(mask=None)
    assert RowAttentionPass()(model).modified
    given_feeds = feeds()
    del given_feeds["mask"]
    np.testing.assert_allclose(run(model, given_feeds)[0], by_hand(given_feeds, 0.25), atol=1e-5)


def test_the_scores_keep_the_name_under_which_their_range_was_measured():
    model = attention()
    (node,) = (node for node in model.graph if node.op_type == "Attention")
    expected = scores_name(node)
    RowAttentionPass()(model)
    products = [node for node in model.graph if node.op_type == "MatMul"]
    assert products[0].outputs[0].name == expected


@pytest.mark.parametrize(
    "near_miss",
    [
        {"queries": 2},
        {"queries": "rows"},
        {"kv_heads": 1},
        {"softcap": 30.0},
        {"mask": "bool"},
        {"mask": None, "is_causal": 1},
    ],
    ids=lambda change: "-".join(map(str, change)),
)
def test_near_misses_stay(near_miss):
    model = attention(**near_miss)
    before = to_bytes(model)
    assert not RowAttentionPass()(model).modified
    assert to_bytes(model) == before


def test_a_dropped_mask_shows():
    """Negative control of the comparison by hand."""
    model = attention()
    RowAttentionPass()(model)
    given_feeds = feeds(batch=3, seq=8)
    wanted = by_hand(given_feeds, 0.25)
    assert not np.allclose(run(model, given_feeds | {"mask": np.zeros_like(given_feeds["mask"])})[0], wanted, atol=1e-3)


def test_other_operators_of_that_name_stay():
    build = GraphBuilder()
    tensor = build.input("query", FLOAT, "batch", 2, 1, 16)
    build.input("ids", INT64, "batch", "seq")
    model = build.model(build.op("Attention", tensor, tensor, tensor, domain="com.example", name="out"))
    model.graph.opset_imports["com.example"] = 1
    assert not RowAttentionPass()(model).modified
