import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.encoder.ids_of_tokens import IdsOfTokensPass
from tests.graphs.build import INT64, GraphBuilder, ops, session

PAD, VOCAB = 1, 9


def counting(*, through_int32: bool = True) -> ir.Model:
    """RoBERTa's positions beside the numbers that are looked up by the same ids."""
    build = GraphBuilder()
    ids = build.input("input_ids", INT64, "batch", "seq")
    mask = build.input("attention_mask", INT64, "batch", "seq")
    small = build.op("Cast", ids, to=int(ir.DataType.INT32)) if through_int32 else ids
    dtype = np.int32 if through_int32 else np.int64
    looked_up = build.op("Gather", build.constant("table", np.arange(VOCAB)), small, name="looked_up")
    is_token = build.op("Not", build.op("Equal", small, build.constant("pad", PAD, dtype)))
    number = build.op("Cast", is_token, to=int(INT64))
    counted = build.op("CumSum", number, build.constant("axis", 1, np.int64))
    positions = build.op("Mul", counted, number, name="positions")
    model = build.model(positions, looked_up, build.op("Identity", mask, name="mask"))
    for value, given_dtype in zip(model.graph.outputs, (INT64, ir.DataType.FLOAT, INT64), strict=True):
        value.type = ir.TensorType(given_dtype)
    cleanup(model)
    return model


@pytest.fixture(scope="module", params=[True, False], ids=["int32", "int64"])
def both(request: pytest.FixtureRequest):
    plain, changed = (counting(through_int32=request.param) for _ in range(2))
    assert IdsOfTokensPass(PAD)(changed).modified
    assert ops(changed).count("Where") == 1
    assert not IdsOfTokensPass(PAD)(changed).modified
    return session(plain), session(changed)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_other_ids_under_mask_0_move_no_position_and_are_still_looked_up(both, data):
    plain, changed = both
    batch, seq = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 6)))
    row = st.lists(st.integers(0, VOCAB - 1), min_size=seq, max_size=seq)
    ids = np.array(data.draw(st.lists(row, min_size=batch, max_size=batch)))
    mask = np.array(data.draw(st.lists(row, min_size=batch, max_size=batch))) % 2
    padded = {"input_ids": np.where(mask == 0, PAD, ids), "attention_mask": mask}
    positions, looked_up, _ = plain.run(None, padded)
    for got, expected in zip(changed.run(None, padded), (positions, looked_up, mask), strict=True):
        np.testing.assert_array_equal(got, expected)
    others = {"input_ids": ids, "attention_mask": mask}
    np.testing.assert_array_equal(changed.run(["positions"], others)[0], positions)
    np.testing.assert_array_equal(changed.run(["looked_up"], others)[0], ids)


def test_without_the_pass_they_move_positions():
    ids, mask = np.array([[7, 2, 3]]), np.array([[0, 1, 1]])
    for first, expected in ((7, [1, 2, 3]), (PAD, [0, 1, 2])):
        ids[0, 0] = first
        feeds = {"input_ids": ids, "attention_mask": mask}
        assert session(counting()).run(["positions"], feeds)[0].tolist() == [expected]


def test_a_graph_that_only_looks_ids_up_stays_as_it_is():
    build = GraphBuilder()
    ids = build.input("input_ids", INT64, "batch", "seq")
    mask = build.input("attention_mask", INT64, "batch", "seq")
    shape = build.op("Shape", ids)
    found = build.op("Gather", build.constant("table", np.arange(VOCAB)), build.op("Identity", ids))
    model = build.model(build.op("Expand", found, shape), build.op("Cast", mask, to=int(ir.DataType.FLOAT)))
    before = ops(model)
    assert not IdsOfTokensPass(PAD)(model).modified
    assert ops(model) == before
