"""Each rule against the operator itself: the same numbers for tokens packed into one row."""

import numpy as np
import onnx_ir as ir
import pytest

from graphs.unpadding.token_rules import token_inputs
from tests.graphs.build import FLOAT, session
from tests.graphs.ir.test_row_rules import SIZES, Case, dims, feed, node_of

NORM = [np.ones(8, np.float32), np.zeros(8, np.float32)]
BATCH, SEQ = SIZES["batch"], SIZES["seq"]


def case(op, inputs, output, places, attributes=None, outputs=1):
    return Case(op, inputs, output, 0, places, attributes or {}, outputs)


HOLDS = [
    case("Add", ["batch seq 8", "8"], "batch seq 8", {0}),
    case("Add", ["batch seq 8", "1 seq 8"], "batch seq 8", {0, 1}),
    case("Add", ["batch seq 8", "seq 8"], "batch seq 8", {0, 1}),
    case("Add", ["batch seq 8", "seq 1"], "batch seq 8", {0, 1}),
    case("Add", ["batch seq 8", "batch 1 8"], "batch seq 8", {0, 1}),
    case("Mul", ["batch 1 8", "1 seq 8"], "batch seq 8", {0, 1}),
    case("Where", ["bool batch seq 1", "batch seq 8", "1 1 1"], "batch seq 8", {0, 1}),
    case("Erf", ["batch seq 2 4"], "batch seq 2 4", {0}),
    case("MatMul", ["batch seq 8", "8 5"], "batch seq 5", {0}),
    case("MatMul", ["batch seq 2 8", "8 5"], "batch seq 2 5", {0}),
    case("LayerNormalization", ["batch seq 8", *NORM], "batch seq 8", {0}),
    case("LayerNormalization", ["batch seq 2 4", np.ones((2, 4), np.float32)], "batch seq 2 4", {0}, {"axis": -2}),
    case("RMSNormalization", ["batch seq 8", NORM[0]], "batch seq 8", {0}),
    case("Softmax", ["batch seq 8"], "batch seq 8", {0}),
    case("ReduceMean", ["batch seq 8", np.array([-1])], "batch seq 1", {0}),
    case("ReduceSum", ["batch seq 2 4", np.array([-1])], "batch seq 2", {0}, {"keepdims": 0}),
    case("ReduceMax", ["batch seq 2 4", np.array([2])], "batch seq 4", {0}, {"keepdims": 0}),
    case("Transpose", ["batch seq 2 4"], "batch seq 4 2", {0}, {"perm": [0, 1, 3, 2]}),
    case("Reshape", ["batch seq 8", np.array([0, 0, 2, 4])], "batch seq 2 4", {0}),
    case("Reshape", ["batch seq 2 4", np.array([0, 0, -1])], "batch seq 8", {0}),
    case("Unsqueeze", ["batch seq 8", np.array([2])], "batch seq 1 8", {0}),
    case("Unsqueeze", ["batch seq 8", np.array([-1])], "batch seq 8 1", {0}),
    case("Squeeze", ["batch seq 1 8", np.array([2])], "batch seq 8", {0}),
    case("Squeeze", ["batch seq 8 1", np.array([-1])], "batch seq 8", {0}),
    case("Concat", ["batch seq 3", "batch seq 5"], "batch seq 8", {0, 1}, {"axis": -1}),
    case("Split", ["batch seq 8"], "batch seq 4", {0}, {"axis": -1, "num_outputs": 2}, outputs=2),
    case("Slice", ["batch seq 8", np.array([0]), np.array([4]), np.array([2])], "batch seq 4", {0}),
    case("Gather", ["50 8", "int batch seq"], "batch seq 8", {1}),
    case("Gather", ["batch seq 8", np.array([0, 2])], "batch seq 2", {0}, {"axis": 2}),
    case("Gather", ["batch seq 2 8", np.int64(1)], "batch seq 8", {0}, {"axis": -2}),
]


def packed(given, array):
    """A token tensor as [1, tokens, ...]; what is the same for each text or token, repeated first."""
    missing = 3 - array.ndim if not given.startswith("int") else 0
    array = array.reshape((1,) * missing + array.shape)
    whole = np.broadcast_to(array, (BATCH, SEQ, *array.shape[2:]))
    return whole.reshape(1, BATCH * SEQ, *array.shape[2:])


@pytest.mark.parametrize("case", HOLDS, ids=str)
def test_packed_tokens_give_the_same_numbers(case):
    node, model = node_of(case)
    assert token_inputs(node) == case.rows
    rng, opened = np.random.default_rng(0), session(model)
    whole = {place: feed(given, rng) for place, given in case.fed.items()}
    expected = opened.run(None, {f"x{place}": array for place, array in whole.items()})
    part = {p: packed(given, whole[p]) if p in case.rows else whole[p] for p, given in case.fed.items()}
    # What is the same for each text is fed in another shape than declared.
    for value in model.graph.inputs:
        value.shape = None
    made = session(model).run(None, {f"x{place}": array for place, array in part.items()})
    for got, every in zip(made, expected, strict=True):
        assert got.shape == (1, BATCH * SEQ, *every.shape[2:])
        np.testing.assert_allclose(got.reshape(every.shape), every, rtol=1e-5, atol=1e-6)


NEAR_MISSES = [
    case("Add", ["batch seq 8", "batch seq 8"], "batch seq", None),
    case("Add", ["batch seq", "batch seq"], "batch seq", None),
    case("Add", ["batch seq seq", "batch seq seq"], "batch seq seq", None),
    case("Add", ["batch seq 8", "batch seq 8"], "seq batch 8", None),
    case("Add", ["batch seq 8", "batch seq ?"], "batch seq 8", None),
    case("Add", ["batch seq 8", "batch 3 8"], "batch seq 8", None),
    case("Add", ["batch seq 2 8", "batch seq 1"], "batch seq 2 8", None),
    case("Where", ["bool batch seq", "batch seq 8", "8"], "batch seq 8", None),
    case("MatMul", ["batch seq 8", "batch 8 5"], "batch seq 5", None),
    case("MatMul", ["batch seq seq", "batch seq 8"], "batch seq 8", None),
    case("MatMul", ["batch seq 8", "1 8 5"], "batch seq 5", None),
    case("MatMul", ["batch seq 8", "8"], "batch seq", None),
    case("LayerNormalization", ["batch seq 8", *NORM], "batch seq 8", None, {"axis": 1}),
    case("LayerNormalization", ["batch seq 8", "1 seq 8"], "batch seq 8", None),
    case("LayerNormalization", ["batch seq 8", NORM[0], "batch 1 8"], "batch seq 8", None),
    case("RMSNormalization", ["batch seq 8", "batch seq 8"], "batch seq 8", None),
    case("Softmax", ["batch seq 8"], "batch seq 8", None, {"axis": 1}),
    case("Softmax", ["batch seq 8"], "batch seq 8", None, {"axis": -2}),
    case("ReduceMean", ["batch seq 8", np.array([1])], "batch 1 8", None),
    case("ReduceMean", ["batch seq 8", np.array([-2])], "batch seq 8", None),
    case("ReduceMean", ["batch seq 8"], "batch seq 8", None),
    case("ReduceMean", ["batch seq 8", "int 1"], "batch seq 1", None),
    case("Transpose", ["batch 8 seq"], "batch seq 8", None, {"perm": [0, 2, 1]}),
    case("Transpose", ["batch seq 2 4"], "batch seq 4 2", None),
    case("Reshape", ["batch seq 8", np.array([0, -1, 2, 4])], "batch seq 2 4", None),
    case("Reshape", ["batch seq 8", "int 4"], "batch seq 2 4", None),
    case("Reshape", ["seq batch 8", np.array([-1, 0, 8])], "batch seq 8", None),
    case("Unsqueeze", ["batch seq", np.array([-1])], "batch seq 1", None),
    case("Unsqueeze", ["batch seq 8", np.array([1])], "batch seq 1 8", None),
    case("Squeeze", ["batch seq 1 8"], "batch seq 8", None),
    case("Squeeze", ["batch 1 seq 8", np.array([1])], "batch seq 8", None),
    case("Concat", ["batch seq 8", "batch seq 8"], "batch seq 8", None, {"axis": 1}),
    case("Concat", ["batch seq 3", "1 seq 5"], "batch seq 8", None, {"axis": -1}),
    case("Split", ["batch seq 8"], "batch seq 8", None, {"axis": 1, "num_outputs": 2}, outputs=2),
    case("Slice", ["batch seq 8", np.array([1]), np.array([9]), np.array([1])], "batch seq 8", None),
    case("Slice", ["batch seq 8", np.array([1]), np.array([9])], "batch seq 8", None),
    case("Slice", ["batch seq 8", np.array([1]), np.array([9]), "int 1"], "batch seq 8", None),
    case("Gather", ["seq 8", "int batch seq"], "batch seq 8", None),
    case("Gather", ["batch 9 8", "int seq"], "batch seq 8", None, {"axis": 1}),
    case("Gather", ["batch seq 8", "int batch"], "batch seq batch", None, {"axis": 2}),
    case("Gather", ["9 8", "int seq batch"], "batch seq 8", None),
    case("Expand", ["batch seq 1", "int 3"], "batch seq 8", None),
    case("CumSum", ["batch seq 8", np.int64(1)], "batch seq 8", None),
    case("CumSum", ["batch seq 8", np.int64(2)], "batch seq 8", None),
    case("Conv", ["batch seq 8", "4 4 1"], "batch seq 8", None),
    case("RandomNormalLike", ["batch seq 8"], "batch seq 8", None),
    case("GatherElements", ["batch seq 8", "int batch seq 8"], "batch seq 8", None, {"axis": 1}),
]


@pytest.mark.parametrize("case", NEAR_MISSES, ids=str)
def test_what_mixes_tokens_or_may_is_not_token_wise(case):
    assert token_inputs(node_of(case)[0]) is None


def test_only_floats_of_onnx_itself():
    node, _ = node_of(HOLDS[0])
    assert token_inputs(node) is not None
    node.domain = "com.example"
    assert token_inputs(node) is None
    node, _ = node_of(HOLDS[0])
    node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    assert token_inputs(node) is None
    node, _ = node_of(HOLDS[0])
    node.inputs[1].shape = None
    assert token_inputs(node) is None


def test_an_output_that_is_left_out_does_not_count():
    node, _ = node_of(case("LayerNormalization", ["batch seq 8", *NORM], "batch seq 8", {0}))
    made = ir.Value(name="z", type=ir.TensorType(FLOAT), shape=ir.Shape(dims("batch seq 8")))
    assert token_inputs(ir.node("LayerNormalization", node.inputs, outputs=[made, ir.Value(name="")])) == {0}


def test_a_rule_that_is_wrong_would_show():
    """The comparison itself: a softmax along the sequence is another one along all tokens."""
    over_tokens = case("Softmax", ["batch seq 8"], "batch seq 8", {0}, {"axis": 1})
    _, model = node_of(over_tokens)
    x = feed("batch seq 8", np.random.default_rng(0))
    opened = session(model)
    apart, together = opened.run(None, {"x0": x})[0], opened.run(None, {"x0": packed("batch seq 8", x)})[0]
    assert not np.allclose(together.reshape(apart.shape), apart)
