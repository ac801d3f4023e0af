"""Write an attention over a single query row as two matrix products and a softmax.

Engines have fused kernels for an `Attention` of many queries and none for one query, but they fuse these three
operators. Runs after the push-down, which makes such nodes.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.dims import dims_of
from graphs.ir.plain_attention import is_plain, write_plain
from graphs.ir.stage import Stage

_STAGE = "row_attention"


class RowAttentionPass(ir.passes.InPlacePass):
    """Replace each Attention over one query row.

    Before: Attention(Q [batch, heads, 1, head], K, V, mask)
    After:  MatMul(Q * scale, Transpose(K)) -> Add(mask) -> Softmax -> MatMul(V)

    Requires: shapes inferred. An Attention stays as it is if it has more than one query, a different number of heads in
        K and V, a soft cap, a mask that is not float, the attribute is_causal, or further inputs or outputs.
    Ensures: the output keeps its name and shape.
    Numerics: exact up to the order of operations; the scale is applied to the query.
    Source: ONNX, the function body of `Attention`; measured: TensorRT-RTX 1.7 builds no Attention of one query.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite node by node."""
        graph = model.graph
        attentions = [node for node in graph if _is_row_attention(node)]
        stage = Stage(graph, _STAGE)
        for node in attentions:
            write_plain(stage, node)
        if attentions:
            graph.sort()
        return ir.passes.PassResult(model, modified=bool(attentions))


def _is_row_attention(node: ir.Node) -> bool:
    return is_plain(node) and (dims_of(node.inputs[0]) or ())[2:3] == (1,)
