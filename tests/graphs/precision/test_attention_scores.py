import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.ir.names import scores_name
from graphs.precision.attention_scores import has_scores
from graphs.precision.float16 import ConvertToFloat16Pass
from graphs.precision.ranges import ProbeRangesPass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, session


def attention_graph(heads=2, kv_heads=2, size=4, scale=0.25):
    build = GraphBuilder()
    build.input("input_ids", INT64, "batch", "seq")
    query = build.input("query", FLOAT, "batch", heads, "seq", size)
    key = build.input("key", FLOAT, "batch", kv_heads, "seq", size)
    value = build.input("value", FLOAT, "batch", kv_heads, "seq", size)
    double = [build.op("Add", tensor, tensor, name=f"twice_{tensor.name}") for tensor in (query, key, value)]
    model = build.model(build.op("Attention", *double, scale=scale, name="mixed"))
    cleanup(model)
    return model


def attention_of(model):
    (node,) = (node for node in model.graph if node.op_type == "Attention")
    return node


@pytest.mark.parametrize("kv_heads", [2, 1])
@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 3), seq=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_bound_holds_and_is_reached_by_parallel_vectors(kv_heads, batch, seq, seed):
    model = attention_graph(kv_heads=kv_heads)
    probe = ProbeRangesPass()
    probe(model)
    name = scores_name(attention_of(model))
    assert probe.tensors[-1] == name
    rng = np.random.default_rng(seed)
    query = rng.normal(size=(batch, 2, seq, 4)).astype(np.float32)
    key, value = (rng.normal(size=(batch, kv_heads, seq, 4)).astype(np.float32) for _ in range(2))
    feeds = {"input_ids": np.zeros((batch, seq), np.int64), "query": query, "key": key, "value": value}
    bound = session(model).run(["tensor_ranges"], feeds)[0][-1]
    scores = 0.25 * (2 * query) @ (2 * np.repeat(key, 2 // kv_heads, axis=1)).swapaxes(2, 3)
    assert (bound * (1 + 1e-5) >= np.abs(scores).max(axis=(1, 2, 3))).all()
    feeds |= {"query": np.full_like(query, 3), "key": np.full_like(key, 3)}
    bound = session(model).run(["tensor_ranges"], feeds)[0][-1]
    np.testing.assert_allclose(bound, 0.25 * 4 * 6 * 6, rtol=1e-5)


@pytest.mark.parametrize(("reached", "kept"), [(40_000.0, True), (float("nan"), True), (30_000.0, False)])
def test_attention_whose_scores_get_too_large_stays_fp32_by_name(reached, kept):
    model = attention_graph()
    node = attention_of(model)
    convert = ConvertToFloat16Pass({scores_name(node): reached}, {})
    convert(model)
    assert (attention_of(model).outputs[0].dtype == ir.DataType.FLOAT) is kept
    named = [k for k in convert.kept if k.rule == "measured-range" and k.node == node.name]
    assert bool(named) is kept
    assert not kept or f"the scores of {node.name} can reach" in named[0].why


def test_only_an_attention_with_a_known_head_size_has_scores():
    model = attention_graph()
    assert has_scores(attention_of(model))
    assert not any(has_scores(node) for node in model.graph if node.op_type != "Attention")
    attention_of(model).inputs[0].shape = None
    assert not has_scores(attention_of(model))
