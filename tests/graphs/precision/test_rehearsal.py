import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.precision.float16 import ConvertToFloat16Pass
from graphs.precision.rehearsal import RehearseFloat16Pass
from tests.graphs.build import FLOAT, FLOAT16, GraphBuilder, ops, run, to_bytes


def half(x):
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float32).astype(np.float16).astype(np.float32)


def overflowing():
    """x * 300 * 300, divided again: 90,000 on the way, 1 at the end."""
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 1)
    scale = build.constant("scale", 300)
    large = build.op("Mul", build.op("Mul", x, scale), scale)
    return build.model(build.op("Div", build.op("Div", large, scale), scale))


def typed(model):
    cleanup(model)
    ConvertToFloat16Pass({}, {})(model)
    return model


def rehearsed(model):
    assert RehearseFloat16Pass()(model).modified
    return model


def test_an_overflow_that_the_cpu_hides_shows_in_the_rehearsal():
    feeds = {"x": np.ones((1, 1), np.float32)}
    assert run(overflowing(), feeds)[0] == 1
    model = typed(overflowing())
    # If this fails, ONNX Runtime has learnt to compute fp16 on a CPU; the rehearsal is then a second opinion.
    assert run(model, feeds)[0] == 1
    assert not np.isfinite(run(rehearsed(model), feeds)[0]).all()


def linear(weight):
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", len(weight))
    return build.model(build.op("Tanh", build.op("MatMul", x, build.constant("w", weight))))


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 5), width=st.integers(1, 16), seed=st.integers(0, 99))
def test_every_tensor_and_weight_is_rounded_once(batch, width, seed):
    rng = np.random.default_rng(seed)
    weight, x = rng.normal(size=(width, width)), rng.normal(size=(batch, width)).astype(np.float32)
    expected = half(np.tanh(half(half(x) @ half(weight))))
    output = run(rehearsed(typed(linear(weight))), {"x": x})[0]
    np.testing.assert_allclose(output, expected, atol=1e-3)
    assert (output == half(output)).all()
    # The sum may be taken in another order, and then round to a neighbour; most never do.
    assert (output == expected).mean() >= 0.5


def test_the_exact_nodes():
    model = rehearsed(typed(linear(np.eye(4))))
    cast = ["Cast"]
    # Weight to fp32; the input to fp16 and back; MatMul, Tanh, each rounded; the last cast makes the fp32 output.
    assert ops(model) == cast * 3 + ["MatMul"] + cast * 2 + ["Tanh"] + cast * 3
    assert all(n.op_type == "Cast" or {v.dtype for v in (*n.inputs, *n.outputs)} == {FLOAT} for n in model.graph)


def test_what_only_moves_data_is_not_rounded_again():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    model = rehearsed(typed(build.model(build.op("Transpose", build.op("Tanh", x), perm=[1, 0]))))
    transpose = next(node for node in model.graph if node.op_type == "Transpose")
    assert transpose.outputs[0].dtype == FLOAT
    assert ops(model).count("Cast") == 2 + 2 + 1


def test_weights_stay_the_same_fp16_tensors():
    model = typed(linear(np.eye(4)))
    tensor = model.graph.initializers["w"].const_value
    rehearsed(model)
    assert model.graph.initializers["w"].const_value is tensor
    assert tensor.dtype == ir.DataType.FLOAT16
    assert list(model.graph.initializers) == ["w"]


def test_the_fp16_graph_that_it_was_cloned_from_is_left_alone():
    model = typed(linear(np.eye(4)))
    before = to_bytes(model)
    rehearsed(model.clone())
    assert to_bytes(model) == before


def test_inputs_outputs_and_their_names_stay(tiny_bert):
    model = tiny_bert.model()
    typed(model)
    rehearsed(model)
    assert [v.name for v in model.graph.inputs] == ["input_ids", "attention_mask"]
    assert [(v.name, v.dtype) for v in model.graph.outputs] == [("last_hidden_state", FLOAT)]
    assert not [
        n for n in model.graph if n.op_type != "Cast" and FLOAT16 in {v.dtype for v in (*n.inputs, *n.outputs) if v}
    ]
    names = [v.name for node in model.graph for v in node.outputs]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("make", [overflowing, lambda: rehearsed(typed(overflowing()))], ids=["fp32", "rehearsed"])
def test_a_graph_without_fp16_nodes_is_refused(make):
    with pytest.raises(ir.passes.PreconditionError, match="ConvertToFloat16Pass"):
        RehearseFloat16Pass()(make())


def test_is_deterministic():
    assert to_bytes(rehearsed(typed(overflowing()))) == to_bytes(rehearsed(typed(overflowing())))
