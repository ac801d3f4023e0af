import numpy as np
import onnx_ir as ir
import pytest

from graphs.ir.constants import array_of, constant, integers, integers_of, scalar_of
from tests.graphs.build import FLOAT, INT64, GraphBuilder, run


def empty_graph():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    return build.model(build.op("Identity", x)).graph


def test_equal_contents_are_one_initializer():
    graph = empty_graph()
    first = integers(graph, [0, 0, -1])
    assert integers(graph, [0, 0, -1]) is first
    assert array_of(first).tolist() == [0, 0, -1] and first.dtype == INT64
    assert integers(graph, [0, 0, 1]) is not first
    assert len(graph.initializers) == 2


@pytest.mark.parametrize(("a", "b"), [([1, 23], [12, 3]), ([1, -2], [-1, 2]), ([], [0]), ([1], [1, 1])])
def test_different_contents_are_different_initializers(a, b):
    graph = empty_graph()
    assert array_of(integers(graph, a)).tolist() == a
    assert array_of(integers(graph, b)).tolist() == b


@pytest.mark.parametrize("taken", [np.array([9, 9], np.int64), np.array([1, 2], np.int32), np.array([[1, 2]])])
def test_a_name_that_the_exporter_gave_to_another_constant_is_not_taken_for_it(taken):
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", "seq")
    build.constant("const.i64.1_2", taken, taken.dtype)
    model = build.model(build.op("Identity", x))
    made = integers(model.graph, [1, 2])
    assert array_of(made).tolist() == [1, 2] and made.dtype == INT64
    assert integers(model.graph, [1, 2]) is made
    np.testing.assert_array_equal(array_of(model.graph.initializers["const.i64.1_2"]), taken)


def test_an_initializer_can_be_computed_with():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 4)
    model = build.model(build.op("Identity", x))
    node = next(iter(model.graph))
    two = constant(model.graph, "two", np.float32(2))
    model.graph.insert_after(node, ir.node("Mul", [x, two], outputs=[ir.Value(name="twice", type=x.type)]))
    model.graph.outputs[0] = list(model.graph)[1].outputs[0]
    np.testing.assert_array_equal(run(model, {"x": np.ones((1, 4), np.float32)})[0], np.full((1, 4), 2))


def test_what_is_no_constant_has_no_content():
    graph = empty_graph()
    for read in (array_of, integers_of, scalar_of):
        assert read(graph.inputs[0]) is None
        assert read(None) is None


def test_contents_are_read_by_kind():
    graph = empty_graph()
    halves = constant(graph, "halves", np.array([0.5, 1.5], np.float32))
    half = constant(graph, "half", np.array([[0.5]], np.float32))
    truth = constant(graph, "truth", np.array([True]))
    assert integers_of(halves) is None and scalar_of(halves) is None
    assert scalar_of(half) == 0.5
    assert scalar_of(truth) is None and integers_of(truth) is None
    assert integers_of(integers(graph, [3])) == [3] and scalar_of(integers(graph, [3])) == 3.0
    assert integers_of(constant(graph, "matrix", np.array([[1, 2], [3, 4]], np.int32))) == [1, 2, 3, 4]
