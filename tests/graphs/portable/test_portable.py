"""Operators of opset 23 written as older ones give the same numbers, and a graph says what it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.portable.lower_opset import LowerOpsetPass
from graphs.portable.plain_operators import PlainOperatorsPass
from graphs.portable.token_vectors import add_token_vectors

HEADS, SIZE = 3, 4
Feeds = dict[str, np.ndarray[Any, Any]]


def value(name: str, *shape: int | str) -> ir.Value:
    return ir.val(name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def model_of(inputs: list[ir.Value], node: ir.Node) -> ir.Model:
    node.outputs[0].name = "out"
    graph = ir.Graph(inputs, [node.outputs[0]], nodes=[node], opset_imports={"": 23}, name="g")
    model = ir.Model(graph, ir_version=11)
    cleanup(model)
    return model


def attention(kv_heads: int = HEADS, *, mask: bool = True, **attributes: Any) -> ir.Model:
    inputs = [
        value("q", "batch", HEADS, "seq", SIZE),
        value("k", "batch", kv_heads, "seq", SIZE),
        value("v", "batch", kv_heads, "seq", SIZE),
        *([value("mask", "batch", 1, "seq", "seq")] if mask else []),
    ]
    return model_of(inputs, ir.node("Attention", inputs, attributes=attributes))


def norm(axis: int = -1, **attributes: Any) -> ir.Model:
    inputs = [value("x", "batch", "seq", 8), value("scale", 8)]
    return model_of(inputs, ir.node("RMSNormalization", inputs, attributes={"axis": axis, **attributes}))


def norm_of_two_axes() -> ir.Model:
    inputs = [value("x", "batch", 3, 8), value("scale", 3, 8)]
    return model_of(inputs, ir.node("RMSNormalization", inputs, attributes={"axis": 1}))


def feeds_of(model: ir.Model) -> Feeds:
    rng, sizes = np.random.default_rng(0), {"batch": 2, "seq": 5}
    made = {}
    for v in model.graph.inputs:
        assert v.shape is not None
        shape = [d if isinstance(d, int) else sizes[str(d.value)] for d in v.shape]
        made[str(v.name)] = rng.normal(size=shape).astype(np.float32)
    if "mask" in made:
        made["mask"] = np.where(made["mask"] > 1, -1e9, 0).astype(np.float32)
    return made


def run(model: ir.Model, feeds: Feeds) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(ir.serde.serialize_model(model).SerializeToString())
    return session.run(None, feeds)[0]


@pytest.mark.parametrize(
    "make",
    [
        attention,
        lambda: attention(scale=0.3),
        lambda: attention(mask=False),
        norm,
        lambda: norm(2, epsilon=1e-3),
    ],
    ids=["attention", "scaled", "unmasked", "norm", "norm-of-axis-2"],
)
def test_the_numbers_stay(make: Callable[[], ir.Model]) -> None:
    model = make()
    feeds = feeds_of(model)
    before = run(model, feeds)
    result = PlainOperatorsPass()(model)
    assert result.modified
    cleanup(model)
    assert LowerOpsetPass()(model).modified
    assert (model.graph.opset_imports[""], model.ir_version) == (20, 9)
    assert not {node.op_type for node in model.graph} & {"Attention", "RMSNormalization"}
    np.testing.assert_allclose(run(model, feeds), before, rtol=1e-5, atol=1e-6)
    assert [output.name for output in model.graph.outputs] == ["out"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: attention(kv_heads=1),
        lambda: attention(softcap=2.0),
        lambda: attention(mask=False, is_causal=1),
        norm_of_two_axes,
    ],
    ids=["grouped", "capped", "causal", "norm-of-two-axes"],
)
def test_what_it_does_not_know_it_leaves_and_the_opset_says_so(make: Callable[[], ir.Model]) -> None:
    model = make()
    assert not PlainOperatorsPass()(model).modified
    with pytest.raises(ir.passes.PreconditionError, match=r"opset 20 has no (Attention|RMSNormalization)"):
        LowerOpsetPass()(model)


def test_a_graph_of_that_opset_stays() -> None:
    model = attention()
    PlainOperatorsPass()(model)
    LowerOpsetPass()(model)
    assert not LowerOpsetPass()(model).modified


def test_token_vectors_come_first_by_their_name() -> None:
    x = value("x", "batch", "seq", 8)
    hidden = ir.node("Relu", [x])
    pooled = ir.node("ReduceMax", [hidden.outputs[0]], attributes={"keepdims": 0})
    for node, name in ((hidden, "hidden"), (pooled, "sentence_embedding")):
        node.outputs[0].name = name
    graph = ir.Graph([x], [pooled.outputs[0]], nodes=[hidden, pooled], opset_imports={"": 23}, name="g")
    model = ir.Model(graph, ir_version=11)
    add_token_vectors(model, hidden.outputs[0])
    assert [output.name for output in graph.outputs] == ["last_hidden_state", "sentence_embedding"]
    with pytest.raises(ValueError, match="no value of the graph any more"):
        add_token_vectors(model, ir.Value(name="gone"))
    with pytest.raises(ValueError, match="another value of the graph is called last_hidden_state"):
        add_token_vectors(model, pooled.outputs[0])
