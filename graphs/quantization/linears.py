"""Find the products with a weight, and which of them share an input.

Independent of architectures: a linear layer is a MatMul by a constant matrix.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from graphs.ir.stage import stage_of


@dataclass(frozen=True)
class Linears:
    """Linear layers that must be scaled alike, because they share an input or a weight.

    nodes: in graph order.
    inputs: what they read, [..., channels].
    weights: names of their weights, float32 [channels, columns].
    """

    nodes: tuple[ir.Node, ...]
    inputs: tuple[ir.Value, ...]
    weights: tuple[str, ...]

    @property
    def role(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the weights: equal in each layer of a model, and different for what differs in its work."""
        values = (node.inputs[1] for node in self.nodes)
        shapes = {str(v.name): tuple(v.const_value.shape.numpy()) for v in values if v is not None and v.const_value}
        return tuple(shapes[name] for name in self.weights)

    @property
    def size(self) -> int:
        """Numbers in the weights."""
        return sum(rows * columns for rows, columns in self.role)


def linears(graph: ir.Graph) -> list[ir.Node]:
    """The encoder's products with a weight, in graph order.

    Pooling and head stay as they are: they compute one row a text, and are the last to round.
    """
    return [node for node in graph if stage_of(node) is None and weight_of(node) is not None]


def weight_of(node: ir.Node) -> ir.Value | None:
    """The weight that a node multiplies by, fp32 [channels, columns]; None where it is no such node."""
    if node.op_type != "MatMul" or node.domain:
        return None
    value, weight = node.inputs
    if value is None or value.const_value is not None or weight is None or weight.const_value is None:
        return None
    is_matrix = weight.dtype == ir.DataType.FLOAT and len(weight.const_value.shape) == 2
    return weight if is_matrix and weight.is_initializer() else None


def groups(graph: ir.Graph) -> tuple[Linears, ...]:
    """The linear layers in groups that share inputs or weights, in graph order."""
    found: list[tuple[list[ir.Node], set[ir.Value], set[str]]] = []
    for node in linears(graph):
        value, weight = node.inputs
        assert value is not None and weight is not None
        nodes, inputs, weights = [node], {value}, {str(weight.name)}
        apart = []
        for group in found:
            if inputs & group[1] or weights & group[2]:
                nodes, inputs, weights = group[0] + nodes, group[1] | inputs, group[2] | weights
            else:
                apart.append(group)
        found = [*apart, (nodes, inputs, weights)]
    place = {node: number for number, node in enumerate(graph)}
    ordered = sorted(found, key=lambda group: min(place[node] for node in group[0]))
    return tuple(_in_order(sorted(nodes, key=lambda node: place[node])) for nodes, _, _ in ordered)


def _in_order(nodes: Iterable[ir.Node]) -> Linears:
    nodes = tuple(nodes)
    return Linears(
        nodes,
        tuple(dict.fromkeys(node.inputs[0] for node in nodes if node.inputs[0] is not None)),
        tuple(dict.fromkeys(str(node.inputs[1].name) for node in nodes if node.inputs[1] is not None)),
    )
