"""Bound the scores inside an `Attention` operator, Q K^T * scale, which are not an output of the graph.

A fused kernel may hold the scores in fp16, whatever the dtype of its inputs and output. `ranges` measures the bound on
real text, and the rule `measured-range` of `float16_rules` uses it.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.stage import Stage


def has_scores(node: ir.Node) -> bool:
    """Whether the node is an Attention over Q and K [batch, heads, seq, head] whose head size is a number."""
    if node.op_type != "Attention" or node.domain:
        return False
    shapes = [value.shape for value in node.inputs[:2] if value is not None]
    return len(shapes) == 2 and all(s is not None and len(s) == 4 and isinstance(s[3], int) for s in shapes)


def score_bound(stage: Stage, node: ir.Node) -> ir.Value:
    """A bound on the largest score of each text, float32 [1, batch]: longest query times longest key times scale.

    Computed per head where Q and K have equally many heads. It is a bound by the Cauchy-Schwarz inequality.
    """
    query, key = node.inputs[0], node.inputs[1]
    assert query is not None and key is not None and query.shape is not None and key.shape is not None
    head_size = query.shape[3]
    assert isinstance(head_size, int)
    attribute = node.attributes.get("scale")
    scale = stage.constant(f"{node.name}.scale", attribute.as_float() if attribute is not None else head_size**-0.5)
    same_heads = isinstance(query.shape[1], int) and query.shape[1] == key.shape[1]
    axes = stage.axes(2) if same_heads else stage.axes(1, 2)
    longest = [
        stage.op("ReduceMax", stage.op("ReduceL2", value, stage.axes(3), keepdims=0), axes, keepdims=0)
        for value in (query, key)
    ]  # [batch, heads], or [batch] each
    bound = stage.op("Mul", stage.op("Mul", *longest), stage.op("Abs", scale))
    if same_heads:
        bound = stage.op("ReduceMax", bound, stage.axes(1), keepdims=0)
    return stage.op("Reshape", bound, stage.axes(1, -1))
