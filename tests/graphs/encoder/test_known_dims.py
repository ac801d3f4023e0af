import numpy as np
import onnx_ir as ir
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.encoder.known_dims import FoldKnownDimsPass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, run, to_bytes

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
LAST = np.iinfo(np.int64).max


def sizes(build, *numbers):
    return build.constant("n" + "_".join(map(str, numbers)), numbers, np.int64)


def pick(kind, build, shape):
    """What exporters write to read the last of three dimensions."""
    match kind:
        case "index":
            return build.op("Gather", shape, build.constant("last", -1, np.int64))
        case "gather":
            return build.op("Gather", shape, sizes(build, 2))
        case "slice":
            return build.op("Slice", shape, sizes(build, -1), sizes(build, LAST))
        case "slice with axes and steps":
            return build.op("Slice", shape, sizes(build, 2), sizes(build, 3), sizes(build, 0), sizes(build, 1))
        case "permuted, then sliced":
            permuted = build.op("Gather", shape, sizes(build, 2, 0, 1))
            return build.op("Slice", permuted, sizes(build, 0), sizes(build, 1))
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["index", "gather", "slice", "slice with axes and steps", "permuted, then sliced"])
@pytest.mark.parametrize("attributes", [{}, {"start": 0}])
def test_the_scale_of_an_attention_becomes_a_constant(kind, attributes):
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", "seq", 4)
    picked = pick(kind, build, build.op("Shape", x, **attributes))
    model = build.model(build.op("Div", x, build.op("Sqrt", build.op("Cast", picked, to=FLOAT))))
    expected = run(model, {"x": X})[0]
    assert FoldKnownDimsPass()(model).modified
    assert not FoldKnownDimsPass()(model).modified
    cleanup(model)
    assert ops(model) == ["Div"]
    np.testing.assert_array_equal(run(model, {"x": X})[0], expected)
    np.testing.assert_array_equal(expected, X / 2)


def test_part_of_a_shape_is_counted_from_its_start():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 3, 4)
    tail = build.op("Shape", x, start=1, end=3)
    model = build.model(build.op("Add", x, build.op("Cast", build.op("Gather", tail, sizes(build, 0)), to=FLOAT)))
    FoldKnownDimsPass()(model)
    cleanup(model)
    assert ops(model) == ["Add"]
    np.testing.assert_array_equal(run(model, {"x": X})[0], X + 3)


@pytest.mark.parametrize("numbers", [(0,), (1, 2)])
def test_dimensions_that_are_not_numbers_are_still_read(numbers):
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", "seq", 4)
    picked = build.op("Gather", build.op("Shape", x), sizes(build, *numbers))
    model = build.model(build.op("Add", x, build.op("ReduceSum", build.op("Cast", picked, to=FLOAT), keepdims=0)))
    before = to_bytes(model)
    assert not FoldKnownDimsPass()(model).modified
    assert to_bytes(model) == before


def test_near_misses():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", "seq", 4)
    index = build.input("index", INT64, 1)
    unknown = build.op("Reshape", x, sizes(build, 0, 0, -1))  # no shape inferred
    values = [
        build.op("Gather", build.op("Shape", x), index),  # an index that is computed
        build.op("Gather", build.op("Shape", unknown), sizes(build, 2)),
        build.op("Gather", build.constant("table", [7, 8, 9], np.int64), sizes(build, 2)),  # of no shape
        build.op("Gather", build.op("Size", x), sizes(build, 0)),
    ]
    model = build.model(*values)
    for value in values:
        value.type = ir.TensorType(INT64)
    assert not FoldKnownDimsPass()(model).modified
