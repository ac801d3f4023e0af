"""Which operators only move values: what leaves them is bit for bit among what entered.

So a tensor behind one has the range and the rounding of the tensor before it, in any dtype.
"""

from __future__ import annotations

import onnx_ir as ir

_FIRST_INPUT = frozenset(
    {"Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice", "Split", "Squeeze"}
    | {"Tile", "Transpose", "Unsqueeze", "DepthToSpace", "SpaceToDepth"}
)


def moved_inputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """The inputs whose values `node` only moves; empty where it computes."""
    if node.domain:
        return ()
    if node.op_type == "Concat":
        return tuple(value for value in node.inputs if value is not None)
    if node.op_type in _FIRST_INPUT and node.inputs[0] is not None:
        return (node.inputs[0],)
    return ()
