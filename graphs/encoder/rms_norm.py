"""Write every root-mean-square norm as the one operator that ONNX has for it.

Exporters write such a norm as six or seven operators, in several dialects. Independent of which vectors are normalised:
those of tokens, or those of one head (q_norm, k_norm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from graphs.ir.constants import array_of, constant, integers_of, scalar_of
from graphs.ir.dims import dims_of

_OPSET = 23
"""The first with `RMSNormalization`."""


@dataclass(frozen=True)
class _Norm:
    """x / sqrt(mean(x * x) + epsilon) * scale, with the mean over the last axis.

    last: the node whose output the norm is.
    scale: [size]; None where there is none, or where it follows in another shape.
    size: of the last axis.
    """

    last: ir.Node
    scale: ir.Value | None
    x: ir.Value
    size: int
    epsilon: float


class RmsNormPass(ir.passes.InPlacePass):
    """Replace the operators of each RMS norm by `RMSNormalization`.

    Before: Pow(x, 2) -> ReduceMean -> Add(epsilon) -> Sqrt -> Reciprocal -> Mul(x) -> Mul(weight)
    After:  RMSNormalization(x, weight)

    It knows these dialects: x * x for the square; a division by the root, its reciprocal, or the power -1/2; a weight
    that is a constant, a computed vector, a constant plus a constant (Gemma's 1 + weight, which becomes one), or none.

    Requires: shapes inferred (`cleanup`). Changes nothing where epsilon is not a constant, where the mean is not over
        the last axis alone, where that is of unknown size, or before opset 23.
    Ensures: the same epsilon, bit for bit. Squares, mean and root are fp32 in a graph of any precision (`stash_type`).
    Numerics: exact; kernels may round the root in another way.
    Source: ONNX, `RMSNormalization`: the function that defines it is this chain.

    After a run, `norms` says how many were replaced.
    """

    def __init__(self) -> None:
        self.norms = 0

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Find the norms, then replace each."""
        graph = model.graph
        found = [norm for node in graph if (norm := _norm(node)) is not None] if _has_operator(model) else []
        for norm in found:
            _replace(graph, norm)
        self.norms = len(found)
        return ir.passes.PassResult(model, modified=bool(found))


def _has_operator(model: ir.Model) -> bool:
    opset = model.opset_imports.get("")
    return opset is not None and opset >= _OPSET


def _norm(node: ir.Node) -> _Norm | None:
    """The norm whose division is `node`; None where it is none."""
    if node.op_type not in ("Mul", "Div") or node.domain or node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    for x, divisor in (node.inputs, node.inputs[::-1]) if node.op_type == "Mul" else (node.inputs,):
        variance = _under_root(divisor) if node.op_type == "Div" else _under_inverse_root(divisor)
        term, epsilon = _sum_with_constant(variance)
        mean = _made_by(term, "ReduceMean")
        if mean is None or x is None or not epsilon > 0 or not _is_square(mean.inputs[0], x):
            continue
        dims = dims_of(x)
        if dims and dims_of(node.outputs[0]) == dims and isinstance(dims[-1], int) and _over_last(mean, len(dims)):
            return _Norm(*_scaled(node, dims[-1]), x, dims[-1], epsilon)
    return None


def _under_root(value: ir.Value | None) -> ir.Value | None:
    root = _made_by(value, "Sqrt")
    return root.inputs[0] if root is not None else None


def _under_inverse_root(value: ir.Value | None) -> ir.Value | None:
    """v, where the value is 1 / sqrt(v)."""
    if (inverse := _made_by(value, "Reciprocal")) is not None:
        return _under_root(inverse.inputs[0])
    if (inverse := _made_by(value, "Div")) is not None and scalar_of(inverse.inputs[0]) == 1:
        return _under_root(inverse.inputs[1])
    if (inverse := _made_by(value, "Pow")) is not None and scalar_of(inverse.inputs[1]) == -0.5:
        return inverse.inputs[0]
    return None


def _sum_with_constant(value: ir.Value | None) -> tuple[ir.Value | None, float]:
    """The two terms of an Add, the second a constant; (None, 0) where it is no such sum."""
    add = _made_by(value, "Add")
    for term, other in (add.inputs, add.inputs[::-1]) if add is not None else ():
        if (number := scalar_of(other)) is not None and scalar_of(term) is None:
            return term, number
    return None, 0.0


def _is_square(value: ir.Value | None, x: ir.Value) -> bool:
    if (power := _made_by(value, "Pow")) is not None:
        return power.inputs[0] is x and scalar_of(power.inputs[1]) == 2
    product = _made_by(value, "Mul")
    return product is not None and product.inputs[0] is x and product.inputs[1] is x


def _over_last(mean: ir.Node, rank: int) -> bool:
    """Whether `mean` goes over the last axis alone, and keeps it."""
    axes = integers_of(mean.inputs[1]) if len(mean.inputs) > 1 else None
    keeps = mean.attributes.get("keepdims")
    return axes in ([-1], [rank - 1]) and (keeps is None or bool(keeps.as_int()))


def _scaled(node: ir.Node, size: int) -> tuple[ir.Node, ir.Value | None]:
    """The product by a vector [size] that alone reads the output of `node`, and this vector; else `node` and None."""
    output = node.outputs[0]
    uses = list(output.uses())
    if len(uses) == 1 and not output.is_graph_output():
        reader, place = uses[0]
        if reader.op_type == "Mul" and not reader.domain and dims_of(scale := reader.inputs[1 - place]) == (size,):
            return reader, scale
    return node, None


def _replace(graph: ir.Graph, norm: _Norm) -> None:
    output = norm.last.outputs[0]
    scale = _one_constant(graph, norm.scale)
    if scale is None:
        scale = constant(graph, f"const.f32.ones_{norm.size}", np.ones(norm.size, np.float32))
    made = ir.node(
        "RMSNormalization",
        [norm.x, scale],
        {"axis": -1, "epsilon": norm.epsilon, "stash_type": int(ir.DataType.FLOAT)},
        outputs=[ir.Value(name=output.name, type=output.type, shape=output.shape)],
        name=norm.last.name,
    )
    made.metadata_props.update(norm.last.metadata_props)
    graph.insert_before(norm.last, made)
    output.replace_all_uses_with(made.outputs[0], replace_graph_outputs=True)
    graph.remove(norm.last, safe=True)


def _one_constant(graph: ir.Graph, scale: ir.Value | None) -> ir.Value | None:
    """The sum of two constants as a constant, since cleanup folds short ones alone; any other scale as it is."""
    add = _made_by(scale, "Add")
    terms = [array_of(term) for term in add.inputs] if add is not None else []
    if scale is None or len(terms) != 2 or terms[0] is None or terms[1] is None:
        return scale
    return constant(graph, f"{scale.name}.folded", np.add(terms[0], terms[1]))


def _made_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type and not node.domain else None
