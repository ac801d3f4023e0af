import numpy as np
import onnx_ir as ir
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.encoder.uniform_lookups import UniformLookupsPass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, run, to_bytes

TABLE = np.arange(12, dtype=np.float32).reshape(3, 4)


def types_graph(ids=0, *, reader="Add", words=("batch", "seq", 4), axis=0, narrow=False):
    """Token types as an exporter leaves them: one id, expanded to the batch, looked up and added to the words."""
    build = GraphBuilder()
    hidden = build.input("words", FLOAT, *words)
    shape = build.op("Shape", hidden, start=0, end=2, name="shape")
    expanded = build.op("Expand", build.constant("ids", ids, np.int64), shape, name="types")
    if narrow:
        expanded = build.op("Cast", expanded, to=ir.DataType.INT32)
    found = build.op("Gather", build.constant("table", TABLE), expanded, axis=axis, name="found")
    model = build.model(build.op(reader, hidden, found, name="sum"))
    cleanup(model)
    return model


FEEDS = {"words": np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)}


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("index", [0, 2, -1])
def test_one_row_for_all_becomes_a_constant(index, narrow):
    model = types_graph(index, narrow=narrow)
    (before,) = run(model, FEEDS)
    assert UniformLookupsPass()(model).modified
    cleanup(model)
    assert ops(model) == ["Add"]
    np.testing.assert_array_equal(run(model, FEEDS)[0], before)
    bytes_once = to_bytes(model)
    assert not UniformLookupsPass()(model).modified
    assert to_bytes(model) == bytes_once


def test_a_buffer_of_equal_ids_sliced_and_gathered_counts_as_one_number():
    build = GraphBuilder()
    hidden = build.input("words", FLOAT, 1, "seq", 4)
    seq = build.op("Shape", hidden, start=1, end=2)
    starts, axes = build.constant("starts", [0], np.int64), build.constant("axes", [1], np.int64)
    ids = build.op("Slice", build.constant("buffer", np.ones((1, 8)), np.int64), starts, seq, axes)
    found = build.op("Gather", build.constant("table", TABLE), ids)
    model = build.model(build.op("Add", found, hidden, name="sum"))
    # As exporters annotate it: what is cut out of the buffer is as long as the words.
    ids.shape, found.shape, model.graph.outputs[0].shape = (
        ir.Shape(dims) for dims in ((1, "seq"), (1, "seq", 4), (1, "seq", 4))
    )
    cleanup(model)
    feeds = {"words": FEEDS["words"][:1]}
    (before,) = run(model, feeds)
    assert UniformLookupsPass()(model).modified
    np.testing.assert_array_equal(run(model, feeds)[0], before)


def joined_ids(first, second):
    """Ids of two tokens, each expanded to the batch."""
    build = GraphBuilder()
    hidden = build.input("words", FLOAT, "batch", 2, 4)
    batch = build.op("Shape", hidden, start=0, end=1)
    shape = build.op("Concat", batch, build.constant("one", [1], np.int64), axis=0)
    ends = {"first": first, "second": second}
    parts = [build.op("Expand", build.constant(name, i, np.int64), shape) for name, i in ends.items()]
    ids = build.op("Concat", *parts, axis=1)
    # As exporters annotate it.
    ids.type, ids.shape = ir.TensorType(INT64), ir.Shape(["batch", 2])
    found = build.op("Gather", build.constant("table", TABLE), ids)
    model = build.model(build.op("Add", hidden, found, name="sum"))
    cleanup(model)
    return model


def test_equal_ids_that_are_joined_count_as_one_number():
    model = joined_ids(1, 1)
    feeds = {"words": FEEDS["words"][:, :2]}
    (before,) = run(model, feeds)
    assert UniformLookupsPass()(model).modified
    np.testing.assert_array_equal(run(model, feeds)[0], before)


def different_ids():
    return types_graph([[0], [1]])


def different_ids_that_are_joined():
    return joined_ids(0, 1)


def ids_from_outside():
    build = GraphBuilder()
    hidden, ids = build.input("words", FLOAT, "batch", "seq", 4), build.input("ids", INT64, "batch", "seq")
    return build.model(build.op("Add", hidden, build.op("Gather", build.constant("table", TABLE), ids), name="sum"))


def words_that_are_one_row():
    """Without the look-up the sum would be one row as well."""
    build = GraphBuilder()
    like, row = build.input("like", FLOAT, "batch", "seq", 4), build.input("row", FLOAT, 4)
    shape = build.op("Shape", like, start=0, end=2)
    ids = build.op("Expand", build.constant("ids", 0, np.int64), shape)
    return build.model(build.op("Add", row, build.op("Gather", build.constant("table", TABLE), ids), name="sum"))


def a_reader_that_is_not_elementwise():
    build = GraphBuilder()
    like = build.input("like", FLOAT, "batch", "seq", 4)
    ids = build.op("Expand", build.constant("ids", 0, np.int64), build.op("Shape", like, start=0, end=2))
    found = build.op("Gather", build.constant("table", TABLE), ids)
    return build.model(build.op("Concat", like, found, axis=-1, name="joined"))


def another_axis():
    build = GraphBuilder()
    like = build.input("like", FLOAT, 3, 2)
    ids = build.constant("ids", [1, 1], np.int64)
    return build.model(build.op("Add", like, build.op("Gather", build.constant("table", TABLE), ids, axis=1), name="s"))


def beyond_the_table():
    return types_graph(3)


@pytest.mark.parametrize(
    "make",
    [
        different_ids,
        different_ids_that_are_joined,
        ids_from_outside,
        words_that_are_one_row,
        a_reader_that_is_not_elementwise,
        another_axis,
        beyond_the_table,
    ],
)
def test_near_misses_stay(make):
    model = make()
    cleanup(model)
    before = to_bytes(model)
    assert not UniformLookupsPass()(model).modified
    assert to_bytes(model) == before


def test_the_row_is_the_one_that_was_looked_up():
    """Negative control: another row gives another sum."""
    model = types_graph(1)
    UniformLookupsPass()(model)
    cleanup(model)
    row = next(v for v in model.graph.initializers.values() if v.dtype == ir.DataType.FLOAT)
    np.testing.assert_array_equal(row.const_value.numpy(), TABLE[1])
    row.const_value = ir.tensor(TABLE[0], name=row.name)
    assert not np.allclose(run(model, FEEDS)[0], FEEDS["words"] + TABLE[1])
