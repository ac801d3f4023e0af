"""Each rule against the operator itself: one row of the output from what the rule says it takes, text by text."""

from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphs.ir.row_rules import ELEMENTWISE, NORMALISATIONS, REDUCTIONS, SOFTMAXES, row_inputs
from tests.graphs.build import FLOAT, GraphBuilder, session

BATCH, SEQ = 3, 4
END = 2**63 - 1


@dataclass
class Case:
    """One operator.

    inputs: dimensions such as "batch seq 8", or a constant; "int shape" is the shape that a Reshape or Expand takes.
    rows: what the rule says, or a part of it.
    """

    op: str
    inputs: list
    output: str
    axis: int
    rows: dict | str
    attributes: dict = field(default_factory=dict)
    outputs: int = 1

    @property
    def fed(self):
        """The inputs that are no constants, by place."""
        return {place: given for place, given in enumerate(self.inputs) if isinstance(given, str)}

    def __str__(self):
        return (
            f"{self.op} {' , '.join(i if isinstance(i, str) else 'const' for i in self.inputs)} {self.attributes or ''}"
        )


def dims(text):
    return [None if d == "?" else int(d) if d.lstrip("-").isdigit() else d for d in text.split()]


def node_of(case):
    """The operator in a graph of its own; the shape that a Reshape or an Expand takes is an input there."""
    build = GraphBuilder()
    values = []
    for place, given in enumerate(case.inputs):
        if given is None:
            values.append(None)
        elif not isinstance(given, str):
            values.append(build.constant(f"c{place}", given, np.asarray(given).dtype))
        else:
            dtype = (
                ir.DataType.INT64
                if given.startswith("int ")
                else ir.DataType.BOOL
                if given.startswith("bool ")
                else FLOAT
            )
            shape = dims(given.removeprefix("int ").removeprefix("bool "))
            values.append(build.input(f"x{place}", dtype, *shape))
    outputs = [ir.Value(name=f"y{i}", type=ir.TensorType(FLOAT)) for i in range(case.outputs)]
    node = ir.node(case.op, values, case.attributes, outputs=outputs)
    build.nodes.append(node)
    for output in outputs:
        output.shape = ir.Shape(dims(case.output))
    return node, build.model(*outputs)


I64 = np.int64
NORM = [np.ones(8, np.float32), np.zeros(8, np.float32)]
HOLDS = [
    Case("Add", ["batch seq 8", "8"], "batch seq 8", 1, {0: 1}),
    Case("Add", ["batch seq 8", "batch seq 8"], "batch seq 8", 1, {0: 1, 1: 1}),
    Case("Add", ["batch seq 8", "1 seq 8"], "batch seq 8", 1, {0: 1, 1: 1}),
    Case("Add", ["batch seq 8", "batch 1 8"], "batch seq 8", 1, {0: 1}),
    Case("Add", ["batch 2 seq seq", "1 2 seq seq"], "batch 2 seq seq", 2, {0: 2, 1: 2}),
    Case("Add", ["batch 2 seq seq", "batch 1 1 seq"], "batch 2 seq seq", 2, {0: 2}),
    Case("Add", ["batch 2 seq seq", "seq seq"], "batch 2 seq seq", 2, {0: 2, 1: 0}),
    Case("Where", ["bool batch seq 1", "batch seq 8", "8"], "batch seq 8", 1, {0: 1, 1: 1}),
    Case("Max", ["batch seq 8", "8", "1 seq 1"], "batch seq 8", 1, {0: 1, 2: 1}),
    Case("Clip", ["batch seq 8", np.float32(-1), np.float32(1)], "batch seq 8", 1, {0: 1}),
    Case("MatMul", ["batch seq 8", "8 5"], "batch seq 5", 1, {0: 1}),
    Case("MatMul", ["batch 2 seq 8", "batch 2 8 seq"], "batch 2 seq seq", 2, {0: 2}),
    Case("MatMul", ["batch 2 seq 8", "batch 2 8 seq"], "batch 2 seq seq", 3, {1: 3}),
    Case("MatMul", ["batch seq 3 8", "1 seq 8 5"], "batch seq 3 5", 1, {0: 1, 1: 1}),
    Case("MatMul", ["batch seq 3 8", "8 5"], "batch seq 3 5", 1, {0: 1}),
    Case("LayerNormalization", ["batch seq 8", *NORM], "batch seq 8", 1, {0: 1}),
    Case("LayerNormalization", ["batch seq 2 4", np.ones((2, 4), np.float32)], "batch seq 2 4", 1, {0: 1}, {"axis": 2}),
    Case("RMSNormalization", ["batch seq 8", NORM[0]], "batch seq 8", 1, {0: 1}, {"axis": -1}),
    Case("Softmax", ["batch 2 seq seq"], "batch 2 seq seq", 2, {0: 2}),
    Case("Softmax", ["batch seq 8"], "batch seq 8", 1, {0: 1}, {"axis": -1}),
    Case("LogSoftmax", ["batch seq 4 2"], "batch seq 4 2", 1, {0: 1}, {"axis": 2}),
    Case("Hardmax", ["batch seq 8"], "batch seq 8", 1, {0: 1}),
    Case("LpNormalization", ["batch seq 8"], "batch seq 8", 1, {0: 1}),
    Case("ReduceMean", ["batch seq 8", [-1]], "batch seq 1", 1, {0: 1}),
    Case("ReduceSum", ["batch 2 seq 4", [1, 3]], "batch 1 seq 1", 2, {0: 2}, {"keepdims": 1}),
    Case("Transpose", ["batch seq 2 4"], "batch 2 seq 4", 2, {0: 1}, {"perm": [0, 2, 1, 3]}),
    Case("Transpose", ["batch 2 seq 4"], "batch 2 4 seq", 3, {0: 2}, {"perm": [0, 1, 3, 2]}),
    Case("Reshape", ["batch seq 8", "int shape"], "batch seq 2 4", 1, {0: 1}),
    Case("Reshape", ["batch seq 2 4", "int shape"], "batch seq 8", 1, {0: 1}),
    Case("Reshape", ["batch 2 2 seq 4", "int shape"], "batch 4 seq 4", 2, {0: 3}),
    Case("Reshape", ["batch 1 seq seq", "int shape"], "batch seq seq", 1, {0: 2}),
    Case("Unsqueeze", ["batch seq 8", [1]], "batch 1 seq 8", 2, {0: 1}),
    Case("Unsqueeze", ["batch seq 8", [-1, 1]], "batch 1 seq 8 1", 2, {0: 1}),
    Case("Squeeze", ["batch 1 seq 8", [1]], "batch seq 8", 1, {0: 2}),
    Case("Squeeze", ["batch seq 8 1", [-1]], "batch seq 8", 1, {0: 1}),
    Case("Expand", ["batch 2 1 seq 4", "int shape"], "batch 2 3 seq 4", 3, {0: 3}),
    Case("Expand", ["batch 1 1 seq", "int shape"], "batch 1 seq seq", 2, {}),
    Case("Concat", ["batch seq 3", "batch seq 5"], "batch seq 8", 1, {0: 1, 1: 1}, {"axis": -1}),
    Case("Split", ["batch seq 8"], "batch seq 4", 1, {0: 1}, {"axis": -1, "num_outputs": 2}, outputs=2),
    Case("Slice", ["batch seq 8", [0], [4], [2]], "batch seq 4", 1, {0: 1}),
    Case("Slice", ["batch seq 8", [-1], [-END], [-1], [-2]], "batch seq 4", 1, {0: 1}),
    Case("Gather", ["50 8", "int batch seq"], "batch seq 8", 1, {1: 1}),
    Case("Gather", ["batch seq 8", [0, 2]], "batch seq 2", 1, {0: 1}, {"axis": 2}),
    Case("Gather", ["batch 4 seq 8", [[0, 2], [1, 1]]], "batch 2 2 seq 8", 3, {0: 2}, {"axis": 1}),
    Case("Gather", ["batch seq 8", np.int64(3)], "batch seq", 1, {0: 1}, {"axis": -1}),
    Case("GatherElements", ["batch seq 8", "int batch seq 3"], "batch seq 3", 1, {0: 1, 1: 1}, {"axis": -1}),
    Case("GatherElements", ["batch seq 8", "int batch seq 8"], "batch seq 8", 1, {1: 1}, {"axis": 1}),
    Case("Attention", ["batch 2 seq 4"] * 3, "batch 2 seq 4", 2, {0: 2}),
    Case("Attention", [*["batch 2 seq 4"] * 3, "batch 1 seq seq"], "batch 2 seq 4", 2, {0: 2, 3: 2}),
    Case("Attention", [*["batch 2 seq 4"] * 3, "1 2 seq seq"], "batch 2 seq 4", 2, {0: 2, 3: 2}, {"scale": 0.3}),
    Case("Attention", ["batch 4 seq 4", *["batch 2 seq 4"] * 2], "batch 4 seq 4", 2, {0: 2}),
]  # fmt: skip


SIZES = {"batch": BATCH, "seq": SEQ, "shape": 1}


def feed(given, rng):
    """An array of symbolic dimensions; indices stay below 3."""
    kind = given.split()[0] if given.startswith(("int ", "bool ")) else "float"
    shape = [SIZES.get(d, d) for d in dims(given.removeprefix("int ").removeprefix("bool "))]
    if kind == "int":
        return rng.integers(0, 3, shape)
    return rng.normal(size=shape) > 0 if kind == "bool" else rng.normal(size=shape).astype(np.float32)


def part_of(given, array, text, row, axis):
    """What one text needs of an input for one row; `axis` is None where it needs all rows."""
    if "batch" in given:
        array = array[text : text + 1]
    return array if axis is None else np.take(array, [row], axis)


@pytest.mark.parametrize("case", HOLDS, ids=str)
def test_one_row_comes_from_what_the_rule_says(case):
    node, model = node_of(case)
    rows = row_inputs(node, case.axis)
    assert rows == case.rows
    rng, opened = np.random.default_rng(0), session(model)
    whole = {place: feed(given, rng) for place, given in case.fed.items()}
    shape = [SIZES.get(d, d) for d in dims(case.output)]
    reshapes = case.fed.get(1) == "int shape"
    if reshapes:
        whole[1] = np.array(shape)
    expected = opened.run(None, {f"x{place}": array for place, array in whole.items()})
    for text, row in enumerate(rng.permutation(SEQ)[:BATCH]):
        part = {p: part_of(given, whole[p], text, row, rows.get(p)) for p, given in case.fed.items()}
        if reshapes:
            part[1] = np.array([1, *shape[1 : case.axis], 1, *shape[case.axis + 1 :]])
        made = opened.run(None, {f"x{place}": array for place, array in part.items()})
        for got, every in zip(made, expected, strict=True):
            wanted = np.take(every[text : text + 1], [row], case.axis)
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("operator", sorted(ELEMENTWISE - {"Clip", "Where", "CastLike", "Cast", "Swish"}))
def test_an_elementwise_operator_needs_a_row_of_each_input_that_has_rows(operator):
    binary = {"Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min"}
    binary |= {"Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Xor"}
    inputs = ["batch seq 8", "1 seq 1"] if operator in binary else ["batch seq 8"]
    node, _ = node_of(Case(operator, inputs, "batch seq 8", 1, {}))
    assert row_inputs(node, 1) == dict.fromkeys(range(len(inputs)), 1)
    assert row_inputs(node, 1) != row_inputs(node_of(Case(operator, ["batch 1 8"], "batch seq 8", 1, {}))[0], 1)


NEAR_MISSES = [
    Case("Add", ["batch seq 8", "batch 3 8"], "batch seq 8", 1, "3 rows"),
    Case("Add", ["batch seq 8", "batch ? 8"], "batch seq 8", 1, "None rows"),
    Case("Add", ["batch seq 8", "batch other 8"], "batch seq 8", 1, "other rows"),
    Case("MatMul", ["batch ? 3 8", "batch seq 8 5"], "batch seq 3 5", 1, "None rows"),
    Case("MatMul", ["8", "batch 8 seq"], "batch seq", 1, "vector"),
    Case("LayerNormalization", ["batch seq 8", NORM[0]], "batch seq 8", 1, "goes over", {"axis": 1}),
    Case("LayerNormalization", ["batch seq 8", "1 seq 8"], "batch seq 8", 1, "numbers of its own"),
    Case("LayerNormalization", ["batch seq 8", "batch 1 8"], "batch seq 8", 1, "numbers of its own"),
    Case("LayerNormalization", ["batch seq 8", NORM[0], "1 seq 8"], "batch seq 8", 1, "numbers of its own"),
    Case("LayerNormalization", ["batch seq 8", *NORM], "batch seq 8", 1, "mean or deviation", {}, outputs=2),
    Case("RMSNormalization", ["batch seq 8", "1 seq 8"], "batch seq 8", 1, "numbers of its own"),
    Case("Softmax", ["batch seq 8"], "batch seq 8", 1, "goes over", {"axis": 1}),
    Case("Softmax", ["batch seq 8"], "batch seq 8", 1, "goes over", {"axis": -2}),
    Case("Softmax", ["batch seq 8"], "batch seq 8", 1, "goes over", {"axis": 0}),
    Case("ReduceMean", ["batch seq 8", [1]], "batch 1 8", 1, "goes over"),
    Case("ReduceMean", ["batch seq 8", [0, 2]], "1 seq 1", 1, "goes over"),
    Case("ReduceMean", ["batch seq 8", [-1]], "batch seq", 1, "drops axes", {"keepdims": 0}),
    Case("ReduceMean", ["batch seq 8", "int 1"], "batch seq 1", 1, "all of them"),
    Case("ReduceMean", ["batch seq 8"], "1 1 1", 1, "all of them"),
    Case("Transpose", ["batch seq 8"], "seq batch 8", 0, "moves the batch", {"perm": [1, 0, 2]}),
    Case("Transpose", ["seq batch 8"], "batch seq 8", 1, "moves the batch", {"perm": [1, 0, 2]}),
    Case("Transpose", ["batch seq 8"], "8 seq batch", 1, "moves the batch"),
    Case("Reshape", ["batch seq 8", "int 3"], "seq batch 8", 1, "mixes the rows"),
    Case("Reshape", ["batch seq 8", "int 2"], "batch*seq 8", 0, "mixes the rows"),
    Case("Reshape", ["batch seq 8", "int 3"], "batch 8 seq", 2, "mixes the rows"),
    Case("Reshape", ["batch seq 8", "int 3"], "batch 2*seq 4", 1, "mixes the rows"),
    Case("Reshape", ["batch ? 8", "int 3"], "batch seq 8", 1, "mixes the rows"),
    Case("Unsqueeze", ["batch seq 8", [0]], "1 batch seq 8", 2, "moves the batch"),
    Case("Unsqueeze", ["batch seq 8", [-4]], "1 batch seq 8", 2, "moves the batch"),
    Case("Unsqueeze", ["batch seq 8", "int 1"], "batch 1 seq 8", 2, "computed axes"),
    Case("Squeeze", ["1 batch seq 8", [0]], "batch seq 8", 1, "moves the batch"),
    Case("Squeeze", ["batch 1 seq 8"], "batch seq 8", 1, "whatever is 1"),
    Case("Squeeze", ["batch 1 seq 8", "int 1"], "batch seq 8", 1, "computed axes"),
    Case("Expand", ["seq 8", "int 3"], "batch seq 8", 1, "adds axes"),
    Case("Expand", ["1 seq 8", "int 3"], "batch seq 8", 1, "computed axis"),
    Case("Expand", ["batch 1 seq 8", "int 4"], "batch seq seq 8", 2, "computed axis"),
    Case("Expand", ["batch ? seq 8", "int 4"], "batch ? seq 8", 2, "computed axis"),
    Case("Expand", ["batch ? 8", "int 3"], "batch seq 8", 1, "computed axis"),
    Case("Concat", ["batch seq 8", "batch 1 8"], "batch seq 8", 1, "joins rows", {"axis": 1}),
    Case("Concat", ["batch seq 8", "batch seq 8"], "batch seq 8", 1, "joins rows", {"axis": -3}),
    Case("Split", ["batch seq 8"], "batch seq 8", 1, "separates rows", {"axis": 1, "num_outputs": 2}, outputs=2),
    Case("Split", ["batch seq 8"], "batch seq 8", 1, "separates rows", {"num_outputs": 2}, outputs=2),
    Case("Slice", ["batch seq 8", [1], [END], [1]], "batch seq 8", 1, "cuts the rows"),
    Case("Slice", ["batch seq 8", [1], [END], [0]], "batch seq 8", 1, "cuts the rows"),
    Case("Slice", ["batch seq 8", [0, 1], [END, END]], "batch seq 8", 1, "cuts the rows"),
    Case("Slice", ["batch seq 8", [1], [END], "int 1"], "batch seq 8", 1, "computed axes"),
    Case("Gather", ["batch seq 8", [0]], "1 seq 8", 1, "from the batch"),
    Case("Gather", ["batch seq 8", "int seq"], "batch seq 8", 1, "same rows of every text", {"axis": 1}),
    Case("Gather", ["batch 9 8", "int 1 seq"], "batch 1 seq 8", 2, "same rows of every text", {"axis": 1}),
    Case("GatherElements", ["batch seq 8", "int batch seq 8"], "batch seq 8", 1, "from the batch", {"axis": 0}),
    Case("GatherElements", ["batch 9 8", "int batch seq 3"], "batch seq 3", 1, "a part of the rows", {"axis": 2}),
    Case("Attention", ["batch 2 seq 4"] * 3, "batch 2 seq 4", 2, "causal by attribute", {"is_causal": 1}),
    Case("Attention", ["batch 2 seq 4"] * 3, "batch 2 seq 4", 3, "is not over"),
    Case("Attention", ["batch seq 8"] * 3, "batch seq 8", 1, "is not over", {"q_num_heads": 2, "kv_num_heads": 2}),
    Case("Attention", [*["batch 2 seq 4"] * 3, "seq"], "batch 2 seq 4", 2, "was expected"),
    Case("Attention", [*["batch 2 seq 4"] * 3, "batch 1 ? seq"], "batch 2 seq 4", 2, "was expected"),
    Case("Attention", [*["batch 2 seq 4"] * 3, None, *["batch 2 9 4"] * 2], "batch 2 seq 4", 2, "more inputs"),
    Case("Attention", ["batch 2 seq 4"] * 3, "batch 2 seq 4", 2, "more inputs or outputs", {}, outputs=3),
    Case("CumSum", ["batch seq 8", np.int64(1)], "batch seq 8", 1, "may mix rows"),
    Case("Conv", ["batch seq 8", "4 4 1"], "batch seq 8", 1, "may mix rows"),
    Case("Einsum", ["batch seq 8"], "batch seq 8", 1, "may mix rows", {"equation": "bsd->bsd"}),
    Case("Trilu", ["batch seq seq"], "batch seq seq", 1, "may mix rows"),
    Case("Dropout", ["batch seq 8"], "batch seq 8", 1, "may mix rows"),
]  # fmt: skip


@pytest.mark.parametrize("case", NEAR_MISSES, ids=str)
def test_what_needs_more_than_a_row_says_so(case):
    node, _ = node_of(case)
    rows = row_inputs(node, case.axis)
    assert isinstance(rows, str) and case.rows in rows


def test_an_operator_of_another_domain_and_a_tensor_of_unknown_rank_need_everything():
    node, _ = node_of(Case("Gelu", ["batch seq 8"], "batch seq 8", 1, {}))
    node.domain = "com.example"
    assert "com.example::Gelu" in row_inputs(node, 1)
    node, _ = node_of(Case("Gelu", ["batch seq 8"], "batch seq 8", 1, {}))
    node.inputs[0].shape = None
    assert "unknown rank" in row_inputs(node, 1)


def test_an_output_that_is_left_out_has_no_rank_and_needs_none():
    node, _ = node_of(Case("LayerNormalization", ["batch seq 8", *NORM], "batch seq 8", 1, {}))
    left_out = ir.node("LayerNormalization", node.inputs, outputs=[ir.Value(name="z"), ir.Value(name="")])
    left_out.outputs[0].shape = ir.Shape(["batch", "seq", 8])
    assert row_inputs(left_out, 1) == {0: 1}


def test_a_rule_that_is_wrong_would_show():
    """The comparison itself: a softmax over the rows does not come from one of them."""
    over_rows = Case("Softmax", ["batch seq 8"], "batch seq 8", 1, {0: 1}, {"axis": 1})
    _, model = node_of(over_rows)
    x = np.random.default_rng(0).normal(size=(1, SEQ, 8)).astype(np.float32)
    opened = session(model)
    assert not np.allclose(opened.run(None, {"x0": x})[0][:, :1], opened.run(None, {"x0": x[:, :1]})[0])


def test_every_family_is_known_to_onnx():
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert known >= ELEMENTWISE | NORMALISATIONS | SOFTMAXES | REDUCTIONS
