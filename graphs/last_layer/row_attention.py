"""Write an attention over a single query row as two matrix products and a softmax.

Engines have fused kernels for an `Attention` of many queries and none for one query, but they fuse these three
operators. Runs after the push-down, which makes such nodes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.ir.dims import Dims, dims_of
from graphs.ir.names import scores_name
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
            _decompose(stage, node)
        if attentions:
            graph.sort()
        return ir.passes.PassResult(model, modified=bool(attentions))


def _is_row_attention(node: ir.Node) -> bool:
    if node.op_type != "Attention" or node.domain or len(node.outputs) > 1 or len(node.inputs) > 4:
        return False
    query, key, value = (dims_of(v) for v in node.inputs[:3])
    if query is None or key is None or value is None or not len(query) == len(key) == len(value) == 4:
        return False
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    plain = (mask is None or mask.dtype == ir.DataType.FLOAT) and not _number(node, "softcap")
    one_query = query[2] == 1 and query[1] == key[1] == value[1] and isinstance(query[3], int)
    return one_query and plain and not _number(node, "is_causal") and "softmax_precision" not in node.attributes


def _number(node: ir.Node, name: str) -> float:
    attribute = node.attributes.get(name)
    return 0.0 if attribute is None else float(attribute.value)


def _decompose(stage: Stage, node: ir.Node) -> None:
    query, key, value = node.inputs[:3]
    query_dims, key_dims, value_dims = dims_of(query), dims_of(key), dims_of(value)
    assert query_dims is not None and key_dims is not None and value_dims is not None
    batch, heads, _, size = query_dims
    assert isinstance(size, int)
    scale = _number(node, "scale") or size**-0.5

    def shape(*dims: int | str | None) -> ir.Shape:
        return ir.Shape(dims)

    factor = stage.constant(f"scale_{scale:.9g}", np.float32(scale))
    scaled = stage.op("Mul", query, factor, shape=shape(*query_dims))
    turned = stage.op("Transpose", key, perm=[0, 1, 3, 2], shape=shape(batch, heads, size, key_dims[2]))
    scores_dims: Dims = (batch, heads, 1, key_dims[2])
    scores = stage.op("MatMul", scaled, turned, shape=shape(*scores_dims))
    # The name under which `ranges` measures the scores of the Attention, so that the measurement applies here.
    scores.name = scores_name(node)
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        scores = stage.op("Add", scores, node.inputs[3], shape=shape(*scores_dims))
    weights = stage.op("Softmax", scores, axis=-1, shape=shape(*scores_dims))
    output = stage.op("MatMul", weights, value, shape=shape(batch, heads, 1, value_dims[3]))
    old = node.outputs[0]
    name, old.name = old.name, f"{old.name}.attention"
    output.name = name
    old.replace_all_uses_with(output)
    stage.graph.remove(node, safe=True)
