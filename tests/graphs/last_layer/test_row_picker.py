import numpy as np
import onnx_ir as ir
import pytest

from graphs.ir.stage import Stage
from graphs.last_layer.row_picker import RowPicker, as_read, can_pick, one_row, repeated_row
from tests.graphs.build import FLOAT, INT64, GraphBuilder, run

SIZES = {"batch": 3, "seq": 5}
ROWS = np.array([[4], [0], [2]])


def picked(dims, axis, as_dims=None, dtype=FLOAT):
    """What the picker takes of an array, and the array."""
    build = GraphBuilder()
    value, index = build.input("x", dtype, *dims), build.input("row", INT64, "batch", 1)
    kept = build.op("Identity", value)
    kept.type = value.type
    model = build.model(kept)
    row = RowPicker(Stage(model.graph, "row"), index).pick(value, as_dims or dims, axis)
    model.graph.outputs[:] = [row]
    array = np.random.default_rng(0).normal(size=[SIZES.get(d, d) for d in dims])
    array = array > 0 if dtype == ir.DataType.BOOL else array.astype(np.float32)
    return run(model, {"x": array, "row": ROWS})[0], array, row


@pytest.mark.parametrize(
    "dims", [("batch", "seq", 8), ("batch", 2, "seq", 4), ("batch", 1, "seq", "seq"), ("batch", 8, 2, "seq")]
)
@pytest.mark.parametrize("dtype", [FLOAT, ir.DataType.BOOL])
def test_each_text_gets_its_own_row(dims, dtype):
    axis = dims.index("seq")
    got, array, row = picked(dims, axis, dtype=dtype)
    expected = np.stack([np.take(text, [r], axis - 1) for text, (r,) in zip(array, ROWS, strict=True)])
    np.testing.assert_array_equal(got, expected)
    assert tuple(row.shape) == tuple(ir.Shape(one_row(dims, axis))) and row.dtype == dtype


@pytest.mark.parametrize(
    ("dims", "as_dims", "axis"),
    [
        (("1", "seq", 8), None, 1),
        (("1", 2, "seq", "seq"), None, 2),
        (("seq", 8), (1, "seq", 8), 1),
        (("seq", 8), (1, 1, "seq", 8), 2),
        ((2, "seq", "seq"), (1, 2, "seq", "seq"), 2),
        (("1", "seq", "seq"), (1, 1, "seq", "seq"), 2),
    ],
)
def test_what_is_the_same_for_every_text_gets_a_batch_in_front(dims, as_dims, axis):
    dims = tuple(1 if d == "1" else d for d in dims)
    got, array, row = picked(dims, axis, as_dims)
    whole = array.reshape((1,) * (len(as_dims or dims) - array.ndim) + array.shape)
    expected = np.concatenate([np.take(whole, [r], axis) for (r,) in ROWS])
    np.testing.assert_array_equal(got, expected)
    assert got.shape[0] == SIZES["batch"] and row.shape[0].value == "batch"


def test_a_row_is_picked_once():
    build = GraphBuilder()
    value, index = build.input("x", FLOAT, "batch", "seq", 8), build.input("row", INT64, "batch", 1)
    model = build.model(build.op("Identity", index))
    picker = RowPicker(Stage(model.graph, "row"), index)
    dims = ("batch", "seq", 8)
    assert picker.pick(value, dims, 1) is picker.pick(value, dims, 1)


@pytest.mark.parametrize(
    ("dims", "axis", "expected"),
    [
        (("batch", "seq", 8), 1, True),
        ((1, "seq", 8), 1, True),
        (("batch", 2, "seq", "seq"), 3, True),
        (("seq", 8), 0, False),
        ((2, "seq", 8), 1, False),
        (("2*batch", "seq", 8), 1, False),
        (("seq", "batch", 8), 0, False),
        ((1, "seq", "batch"), 1, False),
        (("batch", 4, 8), 1, False),
        (("batch", None, 8), 1, False),
    ],
)
def test_a_row_can_be_picked_where_the_batch_is_in_front_or_nowhere(dims, axis, expected):
    assert can_pick(dims, axis) is expected


def reading(op, *inputs, output):
    build = GraphBuilder()
    values = [build.input(f"x{i}", FLOAT, *dims) for i, dims in enumerate(inputs)]
    made = build.op(op, *values)
    made.shape = ir.Shape(output)
    return made.producer()


def test_an_input_is_read_with_the_axes_of_the_output_where_it_is_broadcast():
    node = reading("Add", ("batch", 2, "seq", "seq"), ("seq", "seq"), output=("batch", 2, "seq", "seq"))
    assert as_read(node, node.inputs[1], 0) == ((1, 1, "seq", "seq"), 2)
    assert as_read(node, node.inputs[0], 2) == (("batch", 2, "seq", "seq"), 2)
    node = reading("Unsqueeze", ("batch", "seq", 8), output=("batch", 1, "seq", 8))
    assert as_read(node, node.inputs[0], 1) == (("batch", "seq", 8), 1)


def test_a_repeated_row_is_known_by_what_repeats_it():
    node = reading("Expand", ("batch", 1, 1, "seq"), output=("batch", 1, "seq", "seq"))
    assert repeated_row(node.outputs[0], 2) is node.inputs[0]
    assert repeated_row(node.outputs[0], 3) is None
    node = reading("Expand", ("batch", 1, 1, "seq"), output=("batch", 4, "seq", "seq"))
    assert repeated_row(node.outputs[0], 2) is None
    node = reading("Add", ("batch", 1, 1, "seq"), output=("batch", 1, "seq", "seq"))
    assert repeated_row(node.outputs[0], 2) is None
    assert repeated_row(node.inputs[0], 2) is None
