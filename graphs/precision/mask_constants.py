"""Find the constants that mask attention at a position, and every tensor that carries them.

Exporters write such a constant as the lowest fp32 number or -infinity, added to the scores or selected in their place.
Its exact value does not matter, since its softmax is zero. `float16_rules` and `ranges` use the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from graphs.ir.magnitude import largest_magnitude
from graphs.ir.movement import moved_inputs

_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Where", "Min", "Max", "Neg"})
_MASK_INPUT = 3  # Attention(Q, K, V, attn_mask)
_LARGE = 65504.0  # the largest fp16 number; unmasked scores are much smaller


@dataclass(frozen=True)
class MaskFlow:
    """Masking constants of a graph, and the tensors between them and the softmax, including masked scores."""

    constants: frozenset[ir.Value]
    tensors: frozenset[ir.Value]


def find_mask_flow(graph: ir.Graph) -> MaskFlow:
    """The large float constants of which every use ends in the mask of an Attention or in a Softmax."""
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
    """Whether every use of `value` leads to attention through mask arithmetic alone; adds the tensors to `path`."""
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
