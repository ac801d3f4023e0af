"""Find the attentions whose queries can be taken apart, and append others like them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from graphs.ir.dims import SEQ, dims_of
from graphs.ir.masks import WrittenMask, read_mask
from graphs.ir.stage import Stage


@dataclass(frozen=True, eq=False)
class Attentions:
    """Attentions over canonical masks, and why the others stay whole: reason -> how many."""

    found: tuple[tuple[ir.Node, WrittenMask], ...]
    whole: Mapping[str, int]


def attentions(graph: ir.Graph) -> Attentions:
    """Those of many queries a text; one of a single query is neither found nor counted."""
    found: list[tuple[ir.Node, WrittenMask]] = []
    whole: dict[str, int] = {}
    for node in graph:
        why = _why_whole(node)
        if why is None:
            mask = read_mask(node.inputs[3])
            assert mask is not None
            found.append((node, mask))
        elif why:
            whole[why] = whole.get(why, 0) + 1
    return Attentions(tuple(found), whole)


def like(stage: Stage, node: ir.Node, *inputs: ir.Value | None, shape: ir.Shape | None) -> ir.Value:
    """A node of the operator and with the attributes of another."""
    made = stage.op(node.op_type, *inputs, shape=shape)
    producer = made.producer()
    assert producer is not None
    producer.attributes.update(node.attributes)
    return made


def replace(graph: ir.Graph, node: ir.Node, made: ir.Value) -> None:
    """Let a value take the place and the name of a node's output."""
    old = node.outputs[0]
    name, old.name = old.name or "", f"{old.name}.replaced"
    made.name = name
    old.replace_all_uses_with(made)
    graph.remove(node, safe=True)


def _why_whole(node: ir.Node) -> str | None:
    """Why an attention stays whole; empty for what is none, and for one of a single query; None where it is found."""
    if node.op_type == "Softmax" and (dims_of(node.outputs[0]) or ())[-2:] == (SEQ, SEQ):
        return "it is not the operator Attention"
    if node.op_type != "Attention" or node.domain:
        return ""
    query, key, value = (dims_of(v) or () for v in node.inputs[:3])
    if len(query) == 4 and query[2] == 1:
        return ""
    if not len(query) == len(key) == len(value) == 4 or query[2] != SEQ:
        return f"its query is {list(query)}; expected [batch, heads, seq, head]"
    if len(node.inputs) > 4 or len(node.outputs) > 1:
        return "it has further inputs or outputs"
    causal = node.attributes.get("is_causal")
    if causal is not None and causal.as_int():
        return "it is causal beside its mask"
    if len(node.inputs) < 4 or read_mask(node.inputs[3]) is None:
        return "its mask is not a canonical one"
    return None
