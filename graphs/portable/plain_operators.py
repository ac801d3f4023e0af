"""Write operators that came with opset 23 as those that they stand for, for runtimes that are older."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.ir.dims import dims_of
from graphs.ir.plain_attention import is_plain, write_plain
from graphs.ir.stage import Stage

_STAGE = "portable"


class PlainOperatorsPass(ir.passes.InPlacePass):
    """Replace each Attention and each RMSNormalization.

    Before: Attention(Q, K, V, mask); RMSNormalization(x, scale)
    After:  MatMul(Q * scale, Transpose(K)) -> Add(mask) -> Softmax -> MatMul(V);
            Mul(x, x) -> ReduceMean -> Add(epsilon) -> Sqrt -> Div(x, ...) -> Mul(scale)

    Requires: shapes inferred, fp32. An Attention with grouped heads, a soft cap or causality of its own stays, as does
        a norm over more than the last axis.
    Ensures: outputs keep their names and shapes.
    Numerics: exact up to the order of operations.
    Source: ONNX, the function bodies of the two operators.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite node by node."""
        graph = model.graph
        stage = Stage(graph, _STAGE)
        written = 0
        for node in list(graph):
            if is_plain(node):
                write_plain(stage, node)
            elif _is_norm(node):
                _write_norm(stage, node)
            else:
                continue
            written += 1
        if written:
            graph.sort()
        return ir.passes.PassResult(model, modified=written > 0)


def _is_norm(node: ir.Node) -> bool:
    if node.op_type != "RMSNormalization" or node.domain or node.outputs[0].dtype != ir.DataType.FLOAT:
        return False
    rank, axis = len(dims_of(node.inputs[0]) or ()), node.attributes.get("axis")
    return rank > 0 and (axis is None or axis.as_int() in (-1, rank - 1))


def _write_norm(stage: Stage, node: ir.Node) -> None:
    x, scale = node.inputs[0], node.inputs[1]
    dims = dims_of(x)
    assert x is not None and dims is not None
    attribute = node.attributes.get("epsilon")
    epsilon = np.float32(1e-5 if attribute is None else attribute.as_float())
    shape, one = ir.Shape(dims), ir.Shape((*dims[:-1], 1))
    square = stage.op("Mul", x, x, shape=shape)
    mean = stage.op("ReduceMean", square, stage.axes(-1), keepdims=1, shape=one)
    with_epsilon = stage.op("Add", mean, stage.constant(f"epsilon_{epsilon:.9g}", epsilon), shape=one)
    root = stage.op("Sqrt", with_epsilon, shape=one)
    unit = stage.op("Div", x, root, shape=shape)
    output = stage.op("Mul", unit, scale, shape=shape)
    old = node.outputs[0]
    name, old.name = old.name, f"{old.name}.norm"
    output.name = name
    old.replace_all_uses_with(output, replace_graph_outputs=True)
    stage.graph.remove(node, safe=True)
