import numpy as np
import onnx_ir as ir
import pytest

from graphs.ir.movement import LAYOUT, moved_inputs
from tests.graphs.build import FLOAT, GraphBuilder, run

X = np.random.default_rng(0).normal(size=(2, 4, 2, 2)).astype(np.float32)
"""Every number once, so that it tells where an element came from."""

MOVES = {
    "DepthToSpace": ((), {"blocksize": 2}),
    "Expand": (([1, 2, 4, 2, 2],), {}),
    "Flatten": ((), {"axis": 2}),
    "Gather": (([1, 0, 1],), {"axis": 1}),
    "GatherElements": ((np.ones((2, 4, 2, 1)),), {"axis": 3}),
    "GatherND": (([[1, 3], [0, 2]],), {}),
    "Identity": ((), {}),
    "Reshape": (([0, -1],), {}),
    "Slice": (([1], [3], [1]), {}),
    "SpaceToDepth": ((), {"blocksize": 2}),
    "Split": (([4],), {"axis": 1}),
    "Squeeze": (([],), {}),
    "Tile": (([1, 2, 1, 1],), {}),
    "Transpose": ((), {"perm": [0, 3, 1, 2]}),
    "Unsqueeze": (([0],), {}),
}


def node_of(op_type: str) -> tuple[ir.Model, ir.Node]:
    operands, attributes = MOVES[op_type]
    build = GraphBuilder()
    constants = [build.constant(f"c{place}", value, np.int64) for place, value in enumerate(operands)]
    output = build.op(op_type, build.input("x", FLOAT, *X.shape), *constants, **attributes)
    return build.model(output), build.nodes[0]


@pytest.mark.parametrize("op_type", MOVES)
def test_every_element_of_the_output_is_one_of_the_moved_input(op_type):
    model, node = node_of(op_type)
    assert [value.name for value in moved_inputs(node)] == ["x"]
    (output,) = run(model, {"x": X})
    assert np.isin(output, X).all()
    assert not np.array_equal(output, X) or op_type in ("Identity", "Split", "Squeeze")


@pytest.mark.parametrize("op_type", sorted(LAYOUT))
def test_a_change_of_layout_keeps_every_element(op_type):
    assert np.isin(X, run(node_of(op_type)[0], {"x": X})[0]).all()


def test_every_input_of_a_concat_moves():
    build = GraphBuilder()
    a, b = build.input("a", FLOAT, 2), build.input("b", FLOAT, 2)
    build.op("Concat", a, b, axis=0)
    assert moved_inputs(build.nodes[0]) == (a, b)


@pytest.mark.parametrize(
    ("op_type", "domain"), [("Add", ""), ("Cast", ""), ("Pad", ""), ("Transpose", "com.microsoft")]
)
def test_other_operators_move_nothing(op_type, domain):
    build = GraphBuilder()
    build.op(op_type, build.input("a", FLOAT, 2), build.input("b", FLOAT, 2), domain=domain)
    assert moved_inputs(build.nodes[0]) == ()
