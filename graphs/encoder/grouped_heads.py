"""Let an `Attention` share keys and values between query heads, instead of repeating them in memory.

Grouped-query attention has fewer key and value heads than query heads. Exporters repeat the heads, although the
operator accepts fewer. Independent of the number of heads.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.constants import integers_of
from graphs.ir.dims import dims_of


class GroupedHeadsPass(ir.passes.InPlacePass):
    """Remove the nodes that repeat key and value heads.

    Before: K [batch, kv, seq, head] -> Unsqueeze -> Expand -> Reshape [batch, heads, seq, head] -> Attention; V alike
    After:  Attention(Q, K, V, mask) with K and V [batch, kv, seq, head]

    Requires: shapes inferred. Changes an Attention where both K and V are repeated head by head, [a, a, b, b], which is
        how the operator shares them; another order, or a repetition of K or V alone, stays.
    Ensures: heads are a multiple of kv.
    Numerics: exact.
    Source: ONNX, `Attention`: "grouped query attention".
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite node by node."""
        modified = False
        for node in model.graph:
            if node.op_type != "Attention" or node.domain:
                continue
            key, value = (_repeated(operand) for operand in node.inputs[1:3])
            shapes = [dims_of(key), dims_of(value)]
            if key is None or value is None or shapes[0] is None or shapes[1] is None or shapes[0][1] != shapes[1][1]:
                continue
            node.replace_input_with(1, key)
            node.replace_input_with(2, value)
            modified = True
        return ir.passes.PassResult(model, modified=modified)


def _repeated(operand: ir.Value | None) -> ir.Value | None:
    """The tensor that `operand` repeats head by head, [batch, kv, seq, head]; None where it repeats none."""
    reshape = _made_by(operand, "Reshape")
    expand = _made_by(reshape.inputs[0], "Expand") if reshape is not None else None
    unsqueeze = _made_by(expand.inputs[0], "Unsqueeze") if expand is not None else None
    if reshape is None or expand is None or unsqueeze is None or integers_of(unsqueeze.inputs[1]) != [2]:
        return None
    source, repeated, joined = dims_of(unsqueeze.inputs[0]), dims_of(expand.outputs[0]), dims_of(operand)
    if source is None or repeated is None or joined is None or len(source) != 4:
        return None
    batch, heads, seq, size = source
    groups = repeated[2]
    if not isinstance(heads, int) or not isinstance(groups, int):
        return None
    same = repeated == (batch, heads, groups, seq, size) and joined == (batch, heads * groups, seq, size)
    return unsqueeze.inputs[0] if same else None


def _made_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type and not node.domain else None
