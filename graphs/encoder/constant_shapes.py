"""Make the target shape of each Reshape a constant, instead of computing it at each run.

`[batch, seq, 384] -> [batch, seq, 12, 32]` is Reshape by `[0, 0, 12, 32]`. Reads the dimensions that the exporter
annotated; independent of what the tensors mean.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.ir.constants import integers
from graphs.ir.dims import dims_of, reshape_operand


class ConstantShapesPass(ir.passes.InPlacePass):
    """Give every Reshape a constant target where one exists; remove operators that change neither shape nor order.

    Before: Shape -> Slice -> Concat -> Reshape; Expand to the input's own shape; Transpose(0, 1, 2, 3)
    After:  Reshape by [0, 0, 12, 32]; nothing; nothing

    Requires: shapes inferred (`cleanup`), dimensions of input_ids called batch and seq.
    Ensures: the dimensions of every value stay the same. A Reshape whose target has two computed dimensions stays.
        The nodes that computed the shapes stay until `cleanup` removes them.
    Numerics: exact; no number of a tensor changes.
    Source: ONNX, `Reshape`: 0 copies a dimension, -1 is inferred.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite node by node."""
        modified = False
        for node in list(model.graph):
            if node.domain:
                continue
            if node.op_type == "Reshape":
                modified |= _make_constant(model.graph, node)
            elif _moves_nothing(node) and not node.outputs[0].is_graph_output():
                source = node.inputs[0]
                assert source is not None
                node.outputs[0].replace_all_uses_with(source)
                model.graph.remove(node, safe=True)
                modified = True
        return ir.passes.PassResult(model, modified=modified)


def _make_constant(graph: ir.Graph, node: ir.Node) -> bool:
    source, target = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    if source is None or target is None or (node.inputs[1] is not None and node.inputs[1].const_value is not None):
        return False
    operand = reshape_operand(source, target)
    if operand is None:
        return False
    node.attributes.pop("allowzero", None)
    node.replace_input_with(1, integers(graph, operand))
    return True


def _moves_nothing(node: ir.Node) -> bool:
    """Whether the output equals the input."""
    before, after = dims_of(node.inputs[0]) if node.inputs else None, dims_of(node.outputs[0])
    if before is None or before != after or None in before:
        return False
    if node.op_type == "Transpose":
        permutation = node.attributes.get("perm")
        return permutation is not None and list(permutation.as_ints()) == list(range(len(before)))
    if node.op_type == "Slice":
        return _slices_all(node)
    return node.op_type == "Expand"


def _slices_all(node: ir.Node) -> bool:
    """Whether a Slice takes whole axes: it starts at 0, has step 1, and stops at the end."""
    constants = [None if v is None or v.const_value is None else v.const_value.numpy() for v in node.inputs[1:]]
    starts, ends, _, steps = [*constants, None, None][:4] if len(constants) >= 2 else [None] * 4
    whole = (
        starts is not None and ends is not None and not starts.any() and bool((ends >= np.iinfo(np.int64).max).all())
    )
    return whole and (len(node.inputs) < 5 or (steps is not None and bool((steps == 1).all())))
