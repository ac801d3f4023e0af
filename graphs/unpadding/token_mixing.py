"""Check that padding affects no real token, other than through an attention that masks it.

Padding-free compute changes the values at padding. The result is exact only if every operator that combines tokens
ignores padding: a softmax over masked scores, the product of its weights with the values, or the pooling. Independent
of how tokens are packed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from enum import IntEnum

import onnx_ir as ir

from graphs.ir.constants import scalar_of
from graphs.ir.dims import dims_of
from graphs.ir.movement import moved_inputs
from graphs.ir.row_rules import row_inputs
from graphs.ir.stage import stage_of

_SAFE_STAGES = frozenset({"pooling", "head", "mask", "row", "packing"})
"""Stages that poolfold appends itself; their tests show that they ignore padding."""


class _Padding(IntEnum):
    """What an axis holds at padding, from the safest to the least safe."""

    ZERO = 0
    """Exactly zero, as after the softmax."""
    MASKED = 1
    """A score to which the mask was added; its softmax is zero."""
    ANYTHING = 2
    """Any value."""


Axes = dict[int, _Padding]


def unhidden_padding(graph: ir.Graph, token_wise: Collection[ir.Node]) -> list[str]:
    """The operators through which padding may affect a real token, one line each; empty if there are none.

    Args:
        graph: has a canonical mask (`canonical_mask`) and inferred shapes.
        token_wise: the nodes whose outputs [batch, seq, ...] will hold other values at padding.
    """
    mask: set[ir.Value] = set()
    padding_of: defaultdict[ir.Value, Axes] = defaultdict(dict)
    reasons = []
    for node in graph:
        stage = stage_of(node)
        cut = stage in ("row", "prompt") and node.inputs[0] in mask
        if stage == "mask" or cut or _adds_bias(node, mask, padding_of):
            mask.update(node.outputs)
        if node in token_wise:
            padding_of.update((value, {1: _Padding.ANYTHING}) for value in node.outputs)
        if node in token_wise or stage in _SAFE_STAGES or node.op_type in ("Shape", "Size"):
            continue
        for place, value in enumerate(node.inputs):
            for axis, padding in padding_of[value].items() if value is not None else ():
                if not _carry(node, place, axis, padding, mask, padding_of):
                    reasons.append(f"{node.op_type} {node.name} mixes {value.name if value else ''} along its tokens")
    return reasons


def _carry(
    node: ir.Node, place: int, axis: int, padding: _Padding, mask: set[ir.Value], padding_of: dict[ir.Value, Axes]
) -> bool:
    """Mark the axes of the outputs that hold the padding of an input's axis; False where it affects other tokens."""
    if node.op_type == "Attention" and not node.domain and place in (1, 2):
        return axis == 2 and len(node.inputs) > 3 and node.inputs[3] in mask
    if node.op_type == "Softmax" and axis == _last(node.inputs[0]) and _softmax_axis(node) == axis:
        padding_of[node.outputs[0]][axis] = _Padding.ZERO
        return padding is not _Padding.ANYTHING
    if node.op_type == "MatMul" and _contracts(node, place, axis):
        # One factor is enough: zero times any finite number is zero.
        other = node.inputs[1 - place]
        other_axis = (_last(other) if place == 1 else (_last(other) or 0) - 1) if other is not None else None
        zero = other is not None and other_axis is not None and padding_of[other].get(other_axis) is _Padding.ZERO
        return padding is _Padding.ZERO or zero
    if stage_of(node) == "prompt" and node.op_type == "Concat":
        padding_of[node.outputs[0]][axis] = padding  # the prompt in front is no padding, and the mask is as much longer
        return True
    padding = _behind(node, place, axis, padding, mask)
    carried = False
    for output in node.outputs:
        for out_axis in range(len(dims_of(output) or ())):
            rows = row_inputs(node, out_axis)
            if isinstance(rows, dict) and rows.get(place) == axis:
                before = padding_of[output].get(out_axis, _Padding.ZERO)
                padding_of[output][out_axis] = max(before, padding)
                carried = True
    return carried


def _adds_bias(node: ir.Node, mask: set[ir.Value], padding_of: dict[ir.Value, Axes]) -> bool:
    """Whether a node adds a term that depends on no token, such as a position bias, to the mask; it still masks."""
    return (
        node.op_type == "Add"
        and any(value in mask for value in node.inputs)
        and all(value is not None and not padding_of.get(value) for value in node.inputs)
    )


_ORDINARY = 64.0
"""A masked score divided by this number is still far below every other score, in fp16 too."""


def _behind(node: ir.Node, place: int, axis: int, padding: _Padding, mask: set[ir.Value]) -> _Padding:
    """What the output of a node that computes each position separately holds at padding."""
    value, others = node.inputs[place], [v for i, v in enumerate(node.inputs) if i != place]
    if node.op_type == "Add" and axis == _last(value) and any(other in mask for other in others):
        return min(padding, _Padding.MASKED)
    if value in moved_inputs(node) or (node.op_type == "Cast" and node.outputs[0].dtype in _FLOATS):
        return padding
    scales = node.op_type == "Mul" or (node.op_type == "Div" and place == 0)
    if padding is _Padding.ZERO and scales:
        return padding
    if padding is _Padding.MASKED:
        number = scalar_of(others[0]) if scales and others else None
        if node.op_type == "Add" or (number is not None and 1 / _ORDINARY <= number <= _ORDINARY):
            return padding
    return _Padding.ANYTHING


_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def _last(value: ir.Value | None) -> int | None:
    dims = dims_of(value)
    return None if dims is None else len(dims) - 1


def _softmax_axis(node: ir.Node) -> int | None:
    attribute = node.attributes.get("axis")
    rank = len(dims_of(node.inputs[0]) or ())
    return (-1 if attribute is None else attribute.as_int()) % rank if rank else None


def _contracts(node: ir.Node, place: int, axis: int) -> bool:
    """Whether a MatMul sums over this axis of this input."""
    last = _last(node.inputs[place])
    return last is not None and axis == (last if place == 0 else last - 1)
