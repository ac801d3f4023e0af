"""Find the constants that switch attention off at a position, and every tensor that they flow through.

Exporters write such a mask as the lowest fp32 number or -infinity, added to the scores or selected in their place. The
exact number means nothing: its softmax is zero. Ignorant of precision; float16_rules and ranges ask.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from graphs.ir.magnitude import largest_magnitude
from graphs.ir.movement import moved_inputs

_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Where", "Min", "Max", "Neg"})
_MASK_INPUT = 3  # Attention(Q, K, V, attn_mask)
_LARGE = 65504.0  # the largest fp16 number; no score that counts comes near


@dataclass(frozen=True)
class MaskFlow:
    """Mask constants of a graph, and the tensors between them and the softmax, scores with a mask added included."""

    constants: frozenset[ir.Value]
    tensors: frozenset[ir.Value]


def find_mask_flow(graph: ir.Graph) -> MaskFlow:
    """Every large float constant all of whose uses end in the mask of an Attention or in a Softmax."""
    constants: set[ir.Value] = set()
    tensors: set[ir.Value] = set()
    for value in graph.initializers.values():
        tensor = value.const_value
        if value.dtype == ir.DataType.FLOAT and tensor is not None and largest_magnitude(tensor) > _LARGE:
            path: set[ir.Value] = set()
            if _reaches_only_softmax(value, path):
                constants.add(value)
                tensors |= path
    return MaskFlow(frozenset(constants), frozenset(tensors))


def _reaches_only_softmax(value: ir.Value, path: set[ir.Value]) -> bool:
    """Whether every use of `value` flows, by mask arithmetic alone, into attention; the tensors met join `path`."""
    if value in path:
        return True
    uses = value.uses()
    if not uses or value.is_graph_output():
        return False
    for node, index in uses:
        if node.op_type == "Softmax" or (node.op_type == "Attention" and index == _MASK_INPUT):
            continue
        if node.op_type not in _ARITHMETIC and value not in moved_inputs(node):
            return False
        if not all(_reaches_only_softmax(output, path) for output in node.outputs):
            return False
        path.update(node.outputs)
    return True
