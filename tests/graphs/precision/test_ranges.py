import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.strategy import PoolingMode
from graphs.precision.ranges import ProbeRangesPass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, run, session, to_bytes


def probed(model):
    cleanup(model)
    probe = ProbeRangesPass()
    assert probe(model).modified
    return probe.tensors


def tiny_graph():
    """Two tensors with a batch axis, one without, one moved."""
    build = GraphBuilder()
    build.input("input_ids", INT64, "batch", "seq")
    x = build.input("x", FLOAT, "batch", "seq", 3)
    y = build.input("y", FLOAT, "rows", 3)
    scaled = build.op("Mul", x, build.constant("scale", -3), name="scaled")
    moved = build.op("Transpose", scaled, perm=[0, 2, 1], name="moved")
    product = build.op("MatMul", y, build.constant("w", np.eye(3) * 10), name="product")
    top = build.op("ReduceMax", product, build.constant("axis", [0, 1], np.int64), name="top")
    return build.model(build.op("Add", moved, top, name="sum"))


def rows_of(tensor):
    return np.abs(tensor).reshape(len(tensor), -1).max(1)


@pytest.fixture(scope="module")
def tiny_session():
    model = tiny_graph()
    assert probed(model) == ("scaled", "product", "top", "sum")
    return session(model)


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 4), seq=st.integers(1, 5), rows=st.integers(1, 3), seed=st.integers(0, 99))
def test_equals_numpy_row_by_row(tiny_session, batch, seq, rows, seed):
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=(*n, 3)).astype(np.float32) for n in ((batch, seq), (rows,)))
    feeds = {"input_ids": np.zeros((batch, seq), np.int64), "x": x, "y": y}
    _, ranges = tiny_session.run(None, feeds)
    scaled, product = x * np.float32(-3), y * 10
    expected = [rows_of(scaled), *[np.full(batch, abs(m)) for m in (np.abs(product).max(), product.max())]]
    expected.append(rows_of(scaled + product.max()))
    np.testing.assert_allclose(ranges, expected, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_nan_or_an_infinity_surfaces_in_its_row_alone(tiny_session, bad):
    x = np.ones((3, 4, 3), np.float32)
    x[1, 2, 0] = bad
    feeds = {"input_ids": np.zeros((3, 4), np.int64), "x": x, "y": np.ones((1, 3), np.float32)}
    _, ranges = tiny_session.run(None, feeds)
    assert np.isfinite(ranges[0]).tolist() == [True, False, True]
    assert np.isnan(ranges[0, 1]) == np.isnan(bad)


def test_onnx_runtime_alone_would_hide_a_nan():
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 64)
    model = build.model(build.op("ReduceMax", build.op("Abs", x), build.constant("axis", [1], np.int64)))
    values = np.ones((1, 64), np.float32)
    values[0, 5] = np.nan
    # If this fails, ReduceMax has learnt to pass NaN on, and the probe may drop its ReduceSum.
    assert not np.isnan(run(model, {"x": values})[0]).any()


def test_on_an_encoder_it_finds_what_the_tensors_hold(tiny_bert):
    model = tiny_bert.model()
    cleanup(model)
    plain = model.clone()
    probe = ProbeRangesPass()
    probe(model)
    hidden, ranges = run(model, tiny_bert.feeds)
    wanted = [v for n in plain.graph for v in n.outputs if v.name in probe.tensors and not v.is_graph_output()]
    plain.graph.outputs.extend(wanted)
    found = dict(zip([v.name for v in plain.graph.outputs], run(plain, tiny_bert.feeds), strict=True))
    *tensors, first, second = probe.tensors
    assert len(found) == len(tensors) > 30
    assert first.endswith(".scores") and second.endswith(".scores")
    # Summed or fused in another order, once the inner tensors are outputs.
    for name, row in zip(tensors, ranges[:-2], strict=True):
        tensor = found[name]
        by_row = tensor if len(tensor) == len(row) else np.repeat(tensor, len(row), 0)
        np.testing.assert_allclose(row, rows_of(by_row), rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(hidden, tiny_bert.hidden, rtol=1e-4, atol=2e-6)


def test_pooling_masks_and_positions_are_left_out(tiny_bert):
    model = tiny_bert.model()
    cleanup(model)
    encoder_only = model.clone()
    FoldPoolingPass(tuple(PoolingMode))(model)
    assert probed(model) == probed(encoder_only)

    build = GraphBuilder()
    build.input("input_ids", INT64, "batch", "seq")
    scores = build.input("scores", FLOAT, "batch", "seq")
    turns = build.op("Cos", build.op("Mul", build.op("Cast", build.inputs[0], to=1), build.constant("f", 0.5)))
    masked = build.op(
        "Add", build.op("Mul", scores, turns, name="turned"), build.constant("off", -np.inf), name="masked"
    )
    assert probed(build.model(build.op("Softmax", masked, name="weights"))) == ("turned", "weights")


def test_what_is_gathered_from_a_table_is_measured():
    build = GraphBuilder()
    ids = build.input("input_ids", INT64, "batch", "seq")
    rows = build.op("Gather", build.constant("table", [[1.0], [-7.0]]), ids, name="rows")
    model = build.model(build.op("Identity", build.op("Tanh", rows, name="tanh")))
    assert probed(model)[0] == "rows"
    assert run(model, {"input_ids": np.array([[0, 0], [0, 1]])})[1][0].tolist() == [1, 7]


def test_a_second_probe_and_a_graph_without_ids_are_refused():
    model = tiny_graph()
    probed(model)
    with pytest.raises(ir.passes.PreconditionError, match="tensor_ranges"):
        ProbeRangesPass()(model)
    build = GraphBuilder()
    with pytest.raises(ir.passes.PreconditionError, match="input_ids"):
        ProbeRangesPass()(build.model(build.op("Tanh", build.input("x", FLOAT, "batch", 3))))


def test_is_deterministic():
    built = []
    for _ in range(2):
        model = tiny_graph()
        probed(model)
        built.append(to_bytes(model))
    assert built[0] == built[1]
