"""Find the values computed from attention_mask alone, and the nodes that use them to mask attention.

Independent of what the masks mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from graphs.ir.constants import array_of, scalar_of
from graphs.ir.dims import SEQ, dims_of
from graphs.ir.names import ATTENTION_MASK
from graphs.ir.row_rules import axis_of
from graphs.mask.mask_program import SWITCHED_OFF

_ATTENTION_MASK = 3
"""Attention(Q, K, V, attn_mask)"""

_SCORE_ARITHMETIC = frozenset({"Add", "Div", "Mul", "Where", "Identity", "Cast"})


class MaskUse(NamedTuple):
    """A node, and the index of the input that is a mask."""

    node: ir.Node
    place: int

    @property
    def fill(self) -> int | None:
        """The index of the input of a Where that is a masking constant; None where neither is one."""
        return _fill_side(self.node) if self.node.op_type == "Where" else None

    @property
    def switches_off(self) -> bool:
        """Whether true in the mask means "may not attend": Where(padding, -large, scores)."""
        return self.fill == 1

    @property
    def replaceable(self) -> bool:
        """Whether a mask [batch, 1, seq, seq] fits here, and no graph output depends on the masking constant."""
        if self.node.op_type == "Attention":
            return True
        dims, mask = dims_of(self.node.outputs[0]), dims_of(self.node.inputs[self.place])
        fits = dims is not None and mask is not None and len(dims) == 4 and len(mask) <= 4 and dims[2:] == (SEQ, SEQ)
        return fits and not _shows(self.node)


def mask_uses(value: ir.Value) -> list[MaskUse]:
    """The uses of `value` as an attention mask."""
    return [use for node, place in value.uses() if _reads_as_mask(use := MaskUse(node, place))]


def mask_values(graph: ir.Graph) -> list[ir.Value]:
    """Values computed from attention_mask and shapes alone that other computations read, in graph order."""
    mask = {value for value in graph.inputs if value.name == ATTENTION_MASK}
    other = {value for value in graph.inputs if value.name != ATTENTION_MASK}
    biases: set[ir.Value] = set()
    masks: dict[ir.Value, None] = {}
    for node in graph:
        if node.op_type in ("Shape", "Size") and not node.domain:
            continue
        inputs = [value for value in node.inputs if value is not None]
        reads_mask = any(value in mask for value in inputs)
        # A branch or a loop reads values that are not among its inputs. A mask may be added to a position bias first.
        if any(value in other for value in inputs) or _has_graph(node) or (reads_mask and _meets_bias(node, biases)):
            other.update(node.outputs)
            masks.update(dict.fromkeys(v for v in inputs if v in mask and v.producer() is not None))
        elif reads_mask:
            mask.update(node.outputs)
        elif any(value in biases or _is_learned(value) for value in inputs):
            biases.update(node.outputs)
    return list(masks)


def _has_graph(node: ir.Node) -> bool:
    return any(attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attr in node.attributes.values())


def _meets_bias(node: ir.Node, biases: set[ir.Value]) -> bool:
    return node.op_type in ("Add", "Where") and not node.domain and any(value in biases for value in node.inputs)


def _is_learned(value: ir.Value) -> bool:
    """Whether a table holds other numbers than masks do: 0, 1 and masking constants."""
    if value.dtype != ir.DataType.FLOAT or (array := array_of(value)) is None:
        return False
    numbers = np.asarray(array, np.float32)
    return numbers.size > 1 and not ((numbers == 0) | (numbers == 1) | (numbers <= SWITCHED_OFF)).all()


def _reads_as_mask(use: MaskUse) -> bool:
    node, place = use
    if node.domain:
        return False
    value = node.inputs[place]
    if node.op_type == "Add" and value is not None and value.dtype == ir.DataType.FLOAT:
        return _softmax_follows(node)
    if node.op_type == "Where" and place == 0 and use.fill is not None:
        return _softmax_follows(node)
    return node.op_type == "Attention" and place == _ATTENTION_MASK


def _softmax_follows(node: ir.Node) -> bool:
    """Whether every reader of the node is arithmetic on scores that ends in an attention."""
    uses = node.outputs[0].uses()
    return bool(uses) and all(
        _is_attention(reader, place) or (reader.op_type in _SCORE_ARITHMETIC and _softmax_follows(reader))
        for reader, place in uses
    )


def _is_attention(node: ir.Node, place: int) -> bool:
    if node.op_type == "Softmax":
        rank = len(dims_of(node.outputs[0]) or ())
        return rank > 0 and axis_of(node, rank) == rank - 1
    return node.op_type == "Attention" and place == _ATTENTION_MASK


def _shows(node: ir.Node) -> bool:
    """Whether masked scores are a graph output, so that another masking constant would change that output."""
    output = node.outputs[0]
    return output.is_graph_output() or any(
        _shows(reader) for reader, place in output.uses() if not _is_attention(reader, place)
    )


def _fill_side(node: ir.Node) -> int | None:
    """The index of the input of a Where that is a masking constant; None where neither is one."""
    for place in (1, 2):
        number = scalar_of(node.inputs[place])
        if number is not None and number <= SWITCHED_OFF:
            return place
    return None
