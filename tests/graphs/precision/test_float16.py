import numpy as np
import onnx_ir as ir
import pytest
from onnx import shape_inference

from graphs.encoder.cleanup import cleanup
from graphs.pooling.fold_head import FoldHeadPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.head import Normalize
from graphs.pooling.strategy import PoolingMode, parse_strategy, pool
from graphs.precision.float16 import ConvertToFloat16Pass
from graphs.precision.rehearsal import RehearseFloat16Pass
from tests.graphs.build import FLOAT, FLOAT16, INT64, GraphBuilder, cosine, ops, run, to_bytes

STRATEGIES = [*((mode,) for mode in PoolingMode), parse_strategy("cls+mean+max")]


def fp32_graph(tiny_bert, strategy):
    model = tiny_bert.model()
    cleanup(model)
    FoldPoolingPass(strategy)(model)
    FoldHeadPass((Normalize(),))(model)
    cleanup(model)
    return model


def convert(model, shared=None, measured=None):
    conversion = ConvertToFloat16Pass(measured or {}, {} if shared is None else shared)
    assert conversion(model).modified
    return conversion


def casts(model):
    return [node for node in model.graph if node.op_type == "Cast"]


def float_casts(model):
    floats = (FLOAT, FLOAT16)
    return [c for c in casts(model) if c.inputs[0].dtype in floats and c.outputs[0].dtype in floats]


@pytest.mark.parametrize("strategy", STRATEGIES, ids="+".join)
def test_vectors_hold_in_the_graph_and_in_its_rehearsal(tiny_bert, strategy):
    model = fp32_graph(tiny_bert, strategy)
    expected = run(model, tiny_bert.feeds)[0]
    reference = pool(tiny_bert.hidden, tiny_bert.attention_mask, strategy)
    assert cosine(expected, reference) >= 1 - 1e-6
    convert(model)
    (vectors,) = run(model, tiny_bert.feeds)
    assert vectors.dtype == np.float32
    assert cosine(vectors, expected) >= 0.9999
    RehearseFloat16Pass()(model)
    assert cosine(run(model, tiny_bert.feeds)[0], expected) >= 0.9999


@pytest.mark.parametrize("strategy", STRATEGIES, ids="+".join)
def test_casts_stand_only_at_borders_and_never_twice(tiny_bert, strategy):
    model = fp32_graph(tiny_bert, strategy)
    convert(model)
    made = [(cast.inputs[0], cast.outputs[0].dtype) for cast in casts(model)]
    assert len(set(made)) == len(made)
    for cast in float_casts(model):
        assert cast.inputs[0].dtype != cast.outputs[0].dtype
        assert cast.inputs[0].producer().op_type != "Cast"
    # One border: from the fp16 encoder to the fp32 pooling. cls and lasttoken pick a row before they cross it.
    shapes = sorted(str(cast.inputs[0].shape) for cast in float_casts(model))
    picks = {"cls", "lasttoken"} & set(strategy)
    sums = set(strategy) - {"cls", "lasttoken"}
    assert shapes == ["[batch,32]"] * len(picks) + ["[batch,seq,32]"] * bool(sums)


def test_only_pooling_and_head_stay_fp32_in_a_bert(tiny_bert):
    model = fp32_graph(tiny_bert, (PoolingMode.MEAN,))
    kept = convert(model).kept
    assert {node.rule for node in kept} == {"pooling"}
    names = [node.name for node in model.graph]
    assert [names.index(node.node) for node in kept] == sorted(names.index(node.node) for node in kept)
    for node in model.graph:
        if node.op_type in ("Attention", "MatMul", "Gelu", "LayerNormalization"):
            assert {v.dtype for v in (*node.inputs, *node.outputs)} <= {FLOAT16, ir.DataType.BOOL}


def test_every_declared_dtype_is_what_onnx_infers(tiny_bert):
    model = fp32_graph(tiny_bert, tuple(PoolingMode))
    convert(model)
    declared = {v.name: v.dtype for node in model.graph for v in node.outputs}
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.type = value.shape = None
    inferred = shape_inference.infer_shapes(ir.serde.serialize_model(model), check_type=True, strict_mode=True)
    found = {info.name: ir.DataType(info.type.tensor_type.elem_type) for info in inferred.graph.value_info}
    compared = declared.keys() & found.keys()
    assert len(compared) > 100
    assert {name: found[name] for name in compared} == {name: declared[name] for name in compared}


def test_the_graph_it_was_cloned_from_stays_fp32(tiny_bert):
    model = fp32_graph(tiny_bert, (PoolingMode.CLS,))
    before = to_bytes(model)
    convert(model.clone())
    assert to_bytes(model) == before


def test_strategies_share_converted_weights(tiny_bert):
    shared = {}
    encoder = tiny_bert.model()
    cleanup(encoder)
    first, second = encoder.clone(), encoder.clone()
    for model, mode in ((first, PoolingMode.CLS), (second, PoolingMode.MEAN)):
        FoldPoolingPass((mode,))(model)
        cleanup(model)
    convert(first, shared)
    count = len(shared)
    convert(second, shared)
    assert len(shared) == count
    halves = [{id(v.const_value) for v in m.graph.initializers.values() if v.dtype == FLOAT16} for m in (first, second)]
    assert halves[0] == halves[1]
    assert len(halves[0]) == count > 10


def test_no_fp32_weight_is_left_behind(tiny_bert):
    model = fp32_graph(tiny_bert, (PoolingMode.MEAN,))
    names = set(model.graph.initializers)
    convert(model)
    assert set(model.graph.initializers) == names
    assert all(v.const_value.size == 1 for v in model.graph.initializers.values() if v.dtype == FLOAT)


def test_a_constant_used_on_both_sides_is_there_in_both_dtypes():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    shared = build.constant("c", 3)
    root = build.op("Mul", build.op("Tanh", x), shared)
    total = build.op("ReduceSum", build.op("Tanh", root), build.constant("axis", [1], np.int64))
    model = build.model(build.op("Div", total, shared))
    cleanup(model)
    convert(model)
    dtypes = {name: v.dtype for name, v in model.graph.initializers.items() if name != "axis"}
    assert dtypes == {"c": FLOAT, "c.fp16": FLOAT16}
    feeds = {"x": np.ones((2, 4), np.float32)}
    np.testing.assert_allclose(run(model, feeds)[0], np.full((2, 1), np.tanh(np.tanh(1) * 3) * 4 / 3), rtol=1e-3)


def test_a_cast_from_integers_is_repeated_rather_than_rounded_twice():
    build = GraphBuilder()
    ids = build.input("ids", INT64, "batch", 2)
    numbers = build.op("Cast", ids, to=1)
    small = build.op("Tanh", numbers)
    total = build.op("ReduceSum", numbers, build.constant("axis", [1], np.int64))
    model = build.model(build.op("Add", total, build.op("ReduceMax", small, build.constant("axis1", [1], np.int64))))
    cleanup(model)
    convert(model)
    assert all(
        cast.inputs[0].producer() is None or cast.inputs[0].producer().op_type != "Cast" for cast in casts(model)
    )
    # 4097 needs 13 bits: through fp16 it would be 4096.
    total = next(node for node in model.graph if node.op_type == "ReduceSum")
    assert total.inputs[0].dtype == FLOAT
    np.testing.assert_allclose(run(model, {"ids": np.array([[4097, 0]])})[0], [[4098]], rtol=2e-3)


def test_what_moves_an_fp32_tensor_stays_fp32_under_the_same_rule():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    large = build.op("Mul", build.op("Tanh", x), build.constant("up", 6e4), name="large")
    moved = build.op("Transpose", build.op("Reshape", large, build.constant("shape", [2, -1], np.int64)), perm=[1, 0])
    model = build.model(build.op("Mul", moved, build.constant("down", 0.01)))
    cleanup(model)
    kept = convert(model, measured={"large": 6e4}).kept
    assert {node.rule for node in kept} == {"measured-range"}
    assert [node.node for node in kept] == [
        node.name for node in model.graph if node.op_type in ("Mul", "Reshape", "Transpose")
    ]


def test_shapes_are_read_without_a_cast():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    hidden = build.op("Tanh", x)
    total = build.op("ReduceSum", hidden, build.constant("axis", [1], np.int64))
    model = build.model(build.op("Expand", total, build.op("Shape", hidden)))
    cleanup(model)
    convert(model)
    assert ops(model).count("Shape") == 1
    shape = next(node for node in model.graph if node.op_type == "Shape")
    assert shape.inputs[0].dtype == FLOAT16


def test_a_filled_tensor_is_seen_as_a_constant():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    filled = build.op("ConstantOfShape", build.op("Shape", x), value=ir.tensor(np.array([1e6], np.float32)))
    model = build.model(build.op("Div", build.op("Tanh", x), filled))
    cleanup(model)
    conversion = convert(model)
    assert next(node.rule for node in conversion.kept) == "constant-range"
    assert "ConstantOfShape" not in ops(model)


def test_a_second_application_is_refused(tiny_bert):
    model = fp32_graph(tiny_bert, (PoolingMode.CLS,))
    convert(model)
    with pytest.raises(ir.passes.PreconditionError, match="FLOAT16"):
        ConvertToFloat16Pass({}, {})(model)


def test_an_untyped_graph_and_a_subgraph_are_refused():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    untyped = build.model(build.op("Tanh", build.op("Tanh", x)))
    with pytest.raises(ir.passes.PreconditionError, match="cleanup"):
        ConvertToFloat16Pass({}, {})(untyped)
    build = GraphBuilder()
    flag = build.input("flag", ir.DataType.BOOL)
    branch = GraphBuilder()
    inner = branch.model(branch.op("Identity", branch.constant("one", 1)))
    attributes = {"then_branch": inner.graph, "else_branch": inner.clone().graph}
    with pytest.raises(ir.passes.PreconditionError, match="subgraph"):
        ConvertToFloat16Pass({}, {})(build.model(build.op("If", flag, **attributes)))


def test_a_graph_of_integers_is_not_modified():
    build = GraphBuilder()
    ids = build.input("ids", INT64, "batch")
    output = build.op("Add", ids, ids)
    output.type = ir.TensorType(INT64)
    assert not ConvertToFloat16Pass({}, {})(build.model(output)).modified


def test_is_deterministic(tiny_bert):
    built = []
    for _ in range(2):
        model = fp32_graph(tiny_bert, tuple(PoolingMode))
        convert(model)
        built.append(to_bytes(model))
    assert built[0] == built[1]
