"""Write an `Attention` as the operators that it stands for. Which ones are written so is for passes to say."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.ir.dims import dims_of
from graphs.ir.names import scores_name
from graphs.ir.stage import Stage


def is_plain(node: ir.Node) -> bool:
    """Whether a node is an Attention that two products and a softmax are.

    It has as many heads in keys and values as in queries, a mask that is float or none, no soft cap, no causality of
    its own, and no further inputs or outputs.
    """
    if node.op_type != "Attention" or node.domain or len(node.outputs) > 1 or len(node.inputs) > 4:
        return False
    query, key, value = (dims_of(v) for v in node.inputs[:3])
    if query is None or key is None or value is None or not len(query) == len(key) == len(value) == 4:
        return False
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    plain = (mask is None or mask.dtype == ir.DataType.FLOAT) and not _number(node, "softcap")
    same_heads = query[1] == key[1] == value[1] and isinstance(query[3], int)
    return same_heads and plain and not _number(node, "is_causal") and "softmax_precision" not in node.attributes


def write_plain(stage: Stage, node: ir.Node) -> None:
    """Replace a node that `is_plain` by MatMul, Add, Softmax and MatMul; the output keeps its name and shape.

    The scale is applied to the query.

    Source: ONNX, the function body of `Attention`.
    """
    query, key, value = node.inputs[:3]
    query_dims, key_dims, value_dims = dims_of(query), dims_of(key), dims_of(value)
    assert query_dims is not None and key_dims is not None and value_dims is not None
    batch, heads, queries, size = query_dims
    assert isinstance(size, int)
    scale = _number(node, "scale") or size**-0.5

    def shape(*dims: int | str | None) -> ir.Shape:
        return ir.Shape(dims)

    factor = stage.constant(f"scale_{scale:.9g}", np.float32(scale))
    scaled = stage.op("Mul", query, factor, shape=shape(*query_dims))
    turned = stage.op("Transpose", key, perm=[0, 1, 3, 2], shape=shape(batch, heads, size, key_dims[2]))
    scores_dims = (batch, heads, queries, key_dims[2])
    scores = stage.op("MatMul", scaled, turned, shape=shape(*scores_dims))
    # The name under which `ranges` measures the scores of the Attention, so that the measurement applies here.
    scores.name = scores_name(node)
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        scores = stage.op("Add", scores, node.inputs[3], shape=shape(*scores_dims))
    weights = stage.op("Softmax", scores, axis=-1, shape=shape(*scores_dims))
    output = stage.op("MatMul", weights, value, shape=shape(batch, heads, queries, value_dims[3]))
    old = node.outputs[0]
    name, old.name = old.name, f"{old.name}.attention"
    output.name = name
    old.replace_all_uses_with(output, replace_graph_outputs=True)
    stage.graph.remove(node, safe=True)


def _number(node: ir.Node, name: str) -> float:
    attribute = node.attributes.get(name)
    return 0.0 if attribute is None else float(attribute.value)
