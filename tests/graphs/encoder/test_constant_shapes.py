import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.encoder.constant_shapes import ConstantShapesPass
from graphs.ir.constants import integers_of
from tests.graphs.build import FLOAT, GraphBuilder, ops, run, session, to_bytes
from tests.graphs.encoders import Style, encoder

END = 2**63 - 1


class ShapeBuilder(GraphBuilder):
    """Reshapes by shapes that are computed, as exporters write them."""

    def __init__(self) -> None:
        super().__init__()
        self.x = self.input("x", FLOAT, "batch", "seq", 8)

    def ints(self, *numbers):
        return self.constant(f"i_{len(self.constants)}", numbers, np.int64)

    def size(self, start, value=None):
        return self.op("Shape", value or self.x, start=start, end=start + 1)

    def shaped(self, dims, op_type, *inputs, **attributes):
        made = self.op(op_type, *inputs, **attributes)
        made.type = ir.TensorType(FLOAT)
        made.shape = ir.Shape([int(d) if d.isdigit() else d for d in dims.split()])
        return made


def split_heads(build, **attributes):
    target = build.op("Concat", build.size(0), build.size(1), build.ints(2, 4), axis=0)
    return build.shaped("batch seq 2 4", "Reshape", build.x, target, **attributes)


def finished(build, *outputs):
    model = build.model(*(build.op("Tanh", value) for value in outputs))
    common = ir.passes.common.ShapeInferencePass()
    common(model)
    return model


def reshapes(model):
    return [integers_of(node.inputs[1]) for node in model.graph if node.op_type == "Reshape"]


@pytest.mark.parametrize("attributes", [{}, {"allowzero": 1}, {"allowzero": 0}])
def test_a_computed_shape_becomes_a_constant_that_copies(attributes):
    build = ShapeBuilder()
    model = finished(build, split_heads(build, **attributes))
    before = model.clone()
    assert ConstantShapesPass()(model).modified
    assert reshapes(model) == [[0, 0, 2, 4]]
    cleanup(model)
    assert ops(model) == ["Reshape", "Tanh"]
    feeds = {"x": np.random.default_rng(0).normal(size=(3, 5, 8)).astype(np.float32)}
    np.testing.assert_array_equal(run(model, feeds)[0], run(before, feeds)[0])


def test_a_merged_axis_is_inferred_and_a_moved_one_is_too():
    build = ShapeBuilder()
    heads = split_heads(build)
    turned = build.op("Transpose", heads, perm=[0, 2, 1, 3])
    rows = build.op("Mul", build.op("Mul", build.size(0), build.ints(2)), build.size(1))
    flat = build.shaped("2*batch*seq 4", "Reshape", turned, build.op("Concat", rows, build.ints(4), axis=0))
    target = build.op("Concat", build.size(0), build.ints(2), build.size(1), build.ints(4), axis=0)
    model = finished(build, flat, build.shaped("batch 2 seq 4", "Reshape", flat, target))
    ConstantShapesPass()(model)
    # The last has two numbers to compute.
    assert reshapes(model) == [[0, 0, 2, 4], [-1, 4], None]


def test_what_changes_nothing_goes():
    build = ShapeBuilder()
    expanded = build.shaped("batch seq 8", "Expand", build.x, build.op("Shape", build.x))
    turned = build.shaped("batch seq 8", "Transpose", expanded, perm=[0, 1, 2])
    starts, ends, axes, steps = build.ints(0), build.ints(END), build.ints(1), build.ints(1)
    sliced = build.shaped("batch seq 8", "Slice", turned, starts, ends, axes, steps)
    model = finished(build, build.shaped("batch seq 8", "Slice", sliced, build.ints(0, 0), build.ints(END, END)))
    assert ConstantShapesPass()(model).modified
    cleanup(model)
    assert ops(model) == ["Tanh"]


def _reversed_rows(b):
    return b.shaped("batch seq 8", "Slice", b.x, b.ints(-1), b.ints(-END), b.ints(1), b.ints(-1))


def _every_second_row(b):
    return b.shaped("batch seq 8", "Slice", b.x, b.ints(0), b.ints(END), b.ints(1), b.ints(2))


def _first_rows(b):
    return b.shaped("batch seq 8", "Slice", b.x, b.ints(0), b.ints(3), b.ints(1))


def _computed_end(b):
    return b.shaped("batch seq 8", "Slice", b.x, b.ints(0), b.op("Sub", b.size(1), b.ints(1)), b.ints(1))


def _square_turned(b):
    square = b.op("MatMul", b.x, b.op("Transpose", b.x, perm=[0, 2, 1]))
    square.shape = ir.Shape(["batch", "seq", "seq"])
    return b.shaped("batch seq seq", "Transpose", square, perm=[0, 2, 1])


def _turned_by_default(b):
    square = b.op("Reshape", b.x, b.ints(4, 4))
    square.shape = ir.Shape([4, 4])
    return b.shaped("4 4", "Transpose", square)


def _expanded_from_one(b):
    one = b.op("ReduceSum", b.x, b.ints(1))
    return b.shaped("batch seq 8", "Expand", one, b.op("Shape", b.x))


def _unknown_dimensions(b):
    unknown = b.op("Expand", b.x, b.op("Shape", b.x))
    unknown.type, unknown.shape = ir.TensorType(FLOAT), ir.Shape([None, None, 8])
    again = b.op("Expand", unknown, b.ints(1, 4, 8))
    again.type, again.shape = ir.TensorType(FLOAT), ir.Shape([None, None, 8])
    return again


NEAR_MISSES = [
    _reversed_rows,
    _every_second_row,
    _first_rows,
    _computed_end,
    _square_turned,
    _turned_by_default,
    _expanded_from_one,
    _unknown_dimensions,
]


@pytest.mark.parametrize("make", NEAR_MISSES)
def test_what_changes_something_stays(make):
    build = ShapeBuilder()
    model = build.model(build.op("Tanh", make(build)))
    before = to_bytes(model)
    assert not ConstantShapesPass()(model).modified
    assert to_bytes(model) == before


def test_a_shape_of_two_computed_numbers_and_one_of_unknown_rank_stay():
    build = ShapeBuilder()
    target = build.op("Concat", build.size(1), build.size(0), build.ints(8), axis=0)
    mixed = build.shaped("seq batch 8", "Reshape", build.x, target)
    unknown = build.op("Reshape", mixed, build.op("Concat", build.size(0), build.size(1), build.ints(8), axis=0))
    unknown.type = ir.TensorType(FLOAT)
    model = build.model(build.op("Tanh", unknown))
    assert not ConstantShapesPass()(model).modified


def test_an_operator_of_another_domain_is_not_ours():
    build = ShapeBuilder()
    foreign = build.op("Expand", build.x, build.op("Shape", build.x), domain="com.example")
    foreign.type, foreign.shape = build.x.type, build.x.shape
    model = build.model(build.op("Tanh", foreign))
    assert not ConstantShapesPass()(model).modified


def test_an_output_of_the_graph_keeps_its_node():
    build = ShapeBuilder()
    model = build.model(build.shaped("batch seq 8", "Expand", build.x, build.op("Shape", build.x)))
    assert not ConstantShapesPass()(model).modified
    assert ops(model) == ["Shape", "Expand"]


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 3), seq=st.integers(1, 6))
def test_the_same_numbers_in_onnx_runtime(sessions, batch, seq):
    feeds = {"x": np.random.default_rng(batch + seq).normal(size=(batch, seq, 8)).astype(np.float32)}
    before, after = (opened.run(None, feeds) for opened in sessions)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def sessions():
    build = ShapeBuilder()
    heads = split_heads(build)
    turned = build.op("Transpose", heads, perm=[0, 2, 1, 3])
    target = build.op("Concat", build.size(0), build.size(1), build.ints(8), axis=0)
    back = build.shaped("batch seq 8", "Reshape", build.op("Transpose", turned, perm=[0, 2, 1, 3]), target)
    whole = build.shaped("batch seq 8", "Slice", back, build.ints(0), build.ints(END), build.ints(1), build.ints(1))
    rows = build.op("Mul", build.size(0), build.size(1))
    flat = build.shaped("batch*seq 8", "Reshape", whole, build.op("Concat", rows, build.ints(8), axis=0))
    model = finished(build, turned, whole, flat)
    rewritten = model.clone()
    assert ConstantShapesPass()(rewritten).modified
    cleanup(rewritten)
    assert "Shape" not in ops(rewritten) and "Slice" not in ops(rewritten)
    return session(model), session(rewritten)


def test_a_wrong_constant_would_show():
    build = ShapeBuilder()
    model = finished(build, split_heads(build))
    rewritten = model.clone()
    ConstantShapesPass()(rewritten)
    node = next(node for node in rewritten.graph if node.op_type == "Reshape")
    node.inputs[1].const_value = ir.tensor(np.array([0, 0, 4, 2], np.int64))
    feeds = {"x": np.random.default_rng(0).normal(size=(3, 5, 8)).astype(np.float32)}
    assert run(rewritten, feeds)[0].shape != run(model, feeds)[0].shape


@pytest.mark.parametrize("make", [lambda: encoder(Style(grouped=True)), lambda: encoder(Style(position="rotary"))])
def test_a_second_application_changes_nothing_and_bytes_repeat(make):
    first, second = make(), make()
    for model in (first, second):
        ConstantShapesPass()(model)
        cleanup(model)
    assert to_bytes(first) == to_bytes(second)
    assert not ConstantShapesPass()(first).modified
    assert to_bytes(first) == to_bytes(second)


def test_a_traced_encoder_computes_no_shape_of_a_reshape(tiny_bert):
    model = tiny_bert.model()
    cleanup(model)
    computed = sum(operand is None for operand in reshapes(model))
    assert computed >= 8
    assert ConstantShapesPass()(model).modified
    cleanup(model)
    assert None not in reshapes(model)
    np.testing.assert_allclose(run(model, tiny_bert.feeds)[0], tiny_bert.hidden, rtol=1e-4, atol=2e-6)
    assert not ConstantShapesPass()(model).modified
