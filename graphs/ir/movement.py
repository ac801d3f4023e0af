"""Operators that only move values: every element of the output is an element of an input, bit for bit.

So the output has the range and the rounding of the input, in any dtype.
"""

from __future__ import annotations

import onnx_ir as ir

LAYOUT = frozenset({"Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that keep every element of their first input and change only the shape or the order of axes."""

_SELECTION = frozenset({"Gather", "GatherElements", "GatherND", "Slice", "Split"})
"""Operators that take a part of the elements of their first input, by position."""

_FIRST_INPUT = LAYOUT | _SELECTION | {"DepthToSpace", "Flatten", "SpaceToDepth", "Tile"}


def moved_inputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """The inputs whose elements `node` moves to its outputs; empty where it computes new values."""
    if node.domain:
        return ()
    if node.op_type == "Concat":
        return tuple(value for value in node.inputs if value is not None)
    if node.op_type in _FIRST_INPUT and node.inputs[0] is not None:
        return (node.inputs[0],)
    return ()
