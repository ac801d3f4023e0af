import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.encoder.grouped_heads import GroupedHeadsPass
from tests.graphs.build import FLOAT, GraphBuilder, ops, run, to_bytes

HEADS, SHARED, SIZE = 4, 2, 16


def grouped_graph(*, axis=2, which=("key", "value"), shape=(1, 1, 2, 1, 1)):
    """Attention whose keys and values are repeated as exporters do it: Unsqueeze, Expand, Reshape."""
    build = GraphBuilder()
    operands = [build.input("query", FLOAT, "batch", HEADS, "seq", SIZE)]
    for name in ("key", "value"):
        operand = build.input(name, FLOAT, "batch", SHARED if name in which else HEADS, "seq", SIZE)
        if name in which:
            added = build.op("Unsqueeze", operand, build.constant(f"{name}_axis", [axis], np.int64))
            repeated = build.op("Expand", added, build.constant(f"{name}_repeat", shape, np.int64))
            operand = build.op("Reshape", repeated, build.constant(f"{name}_joined", [0, HEADS, -1, SIZE], np.int64))
            operand.type = ir.TensorType(FLOAT)
            operand.shape = ir.Shape(["batch", HEADS, "seq", SIZE])  # as exporters annotate it
        operands.append(operand)
    model = build.model(build.op("Attention", *operands, name="out"))
    cleanup(model)
    return model


def feeds(batch, seq, seed, which=("key", "value")):
    rng = np.random.default_rng(seed)
    heads = {"query": HEADS} | {name: SHARED if name in which else HEADS for name in ("key", "value")}
    return {name: rng.normal(size=(batch, n, seq, SIZE)).astype(np.float32) for name, n in heads.items()}


@settings(max_examples=15, deadline=None)
@given(batch=st.integers(1, 3), seq=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_operator_shares_them_by_itself(batch, seq, seed):
    model = grouped_graph()
    given_feeds = feeds(batch, seq, seed)
    (before,) = run(model, given_feeds)
    assert GroupedHeadsPass()(model).modified
    cleanup(model)
    assert ops(model) == ["Attention"]
    np.testing.assert_allclose(run(model, given_feeds)[0], before, atol=1e-6)
    once = to_bytes(model)
    assert not GroupedHeadsPass()(model).modified
    assert to_bytes(model) == once


@pytest.mark.parametrize(
    "near_miss",
    [{"axis": 1, "shape": (1, 2, 1, 1, 1)}, {"which": ("key",)}, {"which": ("value",)}, {"which": ()}],
    ids=["in turns", "keys alone", "values alone", "not at all"],
)
def test_near_misses_stay(near_miss):
    model = grouped_graph(**near_miss)
    before = to_bytes(model)
    assert not GroupedHeadsPass()(model).modified
    assert to_bytes(model) == before


def test_heads_repeated_in_turns_would_be_another_attention():
    """Negative control of the near miss above: [a, b, a, b] is not [a, a, b, b]."""
    model = grouped_graph(axis=1, shape=(1, 2, 1, 1, 1))
    given_feeds = feeds(2, 5, 0)
    (in_turns,) = run(model, given_feeds)
    (head_by_head,) = run(grouped_graph(), given_feeds)
    assert not np.allclose(in_turns, head_by_head, atol=1e-3)
