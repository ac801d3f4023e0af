"""Count what a graph consists of: operators, dtypes, shapes, attention layers. Read-only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from graphs.ir.movement import LAYOUT

_BETWEEN = LAYOUT | {"Add", "Sub", "Mul", "Div", "Where", "Cast", "Max", "Min", "Clip", "Tanh", "IsNaN"}
"""Operators allowed between the Softmax of an attention and its two MatMuls: scale, mask, soft cap, layout."""

_DEPTH = 12
"""Longest path to search on either side of a Softmax, in nodes."""


@dataclass(frozen=True)
class TensorInfo:
    """A graph input or output. `shape` holds a number, a symbol, or None for each dimension; None where unknown."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Summary:
    """What a graph consists of.

    ops: operator -> count, most frequent first. Operators of another domain carry it: `com.microsoft::Gelu`.
    attention_layers: Attention operators, and MatMul -> Softmax -> MatMul groups.
    attention_ops: how many of these are a single operator.
    initializer_bytes: dtype -> bytes; node_output_dtypes: dtype -> number of node outputs.
    """

    opset: int
    nodes: int
    ops: Mapping[str, int]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    attention_layers: int
    attention_ops: int
    initializer_bytes: Mapping[str, int]
    node_output_dtypes: Mapping[str, int]


def summarise(model: ir.Model) -> Summary:
    """Count what `model` consists of, subgraphs included."""
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    ops = Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes)
    attention_ops = sum(node.op_type in ("Attention", "MultiHeadAttention") for node in _once(model.graph))
    decomposed = sum(node.op_type == "Softmax" and _between_matmuls(node) for node in nodes)
    sizes: Counter[str] = Counter()
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            sizes[value.const_value.dtype.name] += value.const_value.nbytes
    dtypes = Counter(value.dtype.name if value.dtype else "unknown" for node in nodes for value in node.outputs)
    return Summary(
        opset=model.opset_imports.get("", 0),
        nodes=len(nodes),
        ops=dict(sorted(ops.items(), key=lambda item: (-item[1], item[0]))),
        inputs=tuple(_info(value) for value in model.graph.inputs),
        outputs=tuple(_info(value) for value in model.graph.outputs),
        attention_layers=attention_ops + decomposed,
        attention_ops=attention_ops,
        initializer_bytes=dict(sorted(sizes.items())),
        node_output_dtypes=dict(sorted(dtypes.items())),
    )


def _once(graph: ir.Graph) -> Iterator[ir.Node]:
    """The nodes of a graph and of what it chooses between: of an If, the branch that is taken otherwise."""
    for node in graph:
        yield node
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.GRAPH and name != "then_branch":
                yield from _once(attribute.as_graph())


def _info(value: ir.Value) -> TensorInfo:
    dims = None if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return TensorInfo(value.name or "", value.dtype.name if value.dtype else "unknown", dims)


def _between_matmuls(softmax: ir.Node) -> bool:
    """Whether this Softmax follows one MatMul and precedes another."""
    return _leads_to_matmul(softmax, upwards=True) and _leads_to_matmul(softmax, upwards=False)


def _leads_to_matmul(softmax: ir.Node, *, upwards: bool) -> bool:
    """Whether a path of operators that attention uses ends in a MatMul."""
    level = {softmax}
    for _ in range(_DEPTH):
        level = {near for node in level for near in (node.predecessors() if upwards else node.successors())}
        if any(node.op_type == "MatMul" for node in level):
            return True
        level = {node for node in level if node.op_type in _BETWEEN}
    return False
