"""Simulate an fp16 graph in fp32: every tensor that is fp16 in that graph is rounded to fp16 and back.

Runtimes without fp16 kernels execute an fp16 graph in fp32 and remove the casts between its nodes, so an overflow does
not show. The rehearsal computes in fp32 only, with explicit casts that runtimes keep, so it rounds and overflows as a
GPU does. Independent of how the fp16 graph was made.
"""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.movement import moved_inputs


class RehearseFloat16Pass(ir.passes.InPlacePass):
    """Convert a typed fp16 graph to an fp32 graph that rounds as the fp16 graph does.

    Before: weight fp16 -> MatMul fp16 -> Reshape fp16 -> Softmax fp16 -> Cast fp32
    After:  weight fp16 -> Cast fp32 -> MatMul fp32 -> Cast fp16 -> Cast fp32 -> Reshape fp32 -> Softmax fp32 -> ...

    Requires: a typed graph in which nodes compute fp16 tensors (`float16`); a rehearsal has none, so it is refused.
    Ensures: only casts write or read fp16. Weights stay the same fp16 tensors, cast when a session loads, so that both
        graphs can share one file. Operators that only move values do not round again.
    Numerics: operators compute and accumulate in fp32; fp16 kernels that accumulate in fp16 can be less precise.
    Source: measured with ONNX Runtime 1.32: casts to fp16 and back survive its optimiser, fp16 nodes do not.
    """

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph in which no node computes in fp16."""
        if not any(_is_half(value) for node in model.graph if node.op_type != "Cast" for value in node.outputs):
            raise ir.passes.PreconditionError("no node computes in fp16; expected the graph of ConvertToFloat16Pass")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Convert every fp16 node to fp32, and round its outputs."""
        graph = model.graph
        rounded: dict[ir.Value, ir.Value] = {}
        for node in list(graph):
            for index, value in enumerate(node.inputs):
                if value is None or not _is_half(value):
                    continue
                if value not in rounded:  # an initializer or a graph input; outputs of nodes are in `rounded` already
                    rounded[value] = _cast_before(graph, node, value)
                node.replace_input_with(index, rounded[value])
            for output in node.outputs:
                if _is_half(output):
                    rounded[output] = _round(graph, node, output)
            if node.op_type == "Cast" and node.inputs[0] is not None and node.inputs[0].dtype == ir.DataType.FLOAT:
                _drop_if_same(graph, node)
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """Check that only casts read or write fp16."""
        for node in model.graph:
            if node.op_type != "Cast" and any(v is not None and _is_half(v) for v in (*node.inputs, *node.outputs)):
                raise ir.passes.PostconditionError(f"{node.op_type} {node.name} still touches fp16")


def _is_half(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.FLOAT16


def _round(graph: ir.Graph, node: ir.Node, output: ir.Value) -> ir.Value:
    """The rounded fp32 value that consumers read instead of the fp16 tensor `output`."""
    if node.op_type == "Cast":
        return _cast_after(graph, node, output, ir.DataType.FLOAT, "rounded")
    output.type = ir.TensorType(ir.DataType.FLOAT)  # a new one: clones share their type objects
    if moved_inputs(node):
        return output
    half = _cast_after(graph, node, output, ir.DataType.FLOAT16, "half")
    producer = half.producer()
    assert producer is not None
    result = _cast_after(graph, producer, half, ir.DataType.FLOAT, "rounded")
    output.replace_all_uses_with(result)
    producer.replace_input_with(0, output)
    return result


def _drop_if_same(graph: ir.Graph, cast: ir.Node) -> None:
    """Remove a cast from fp32 to fp32, once a cast from fp16, unless its output is a graph output."""
    output, source = cast.outputs[0], cast.inputs[0]
    if output.dtype == ir.DataType.FLOAT and source is not None and not output.is_graph_output():
        output.replace_all_uses_with(source)
        graph.remove(cast, safe=True)


def _cast_after(graph: ir.Graph, node: ir.Node, value: ir.Value, dtype: ir.DataType, suffix: str) -> ir.Value:
    cast = _cast(value, dtype, suffix)
    graph.insert_after(node, cast)
    return cast.outputs[0]


def _cast_before(graph: ir.Graph, node: ir.Node, value: ir.Value) -> ir.Value:
    cast = _cast(value, ir.DataType.FLOAT, "rounded")
    graph.insert_before(node, cast)
    return cast.outputs[0]


def _cast(value: ir.Value, dtype: ir.DataType, suffix: str) -> ir.Node:
    name = f"{value.name}.{suffix}"
    made = ir.Value(name=name, type=ir.TensorType(dtype), shape=value.shape)
    return ir.node("Cast", [value], {"to": int(dtype)}, outputs=[made], name=f"Cast.{name}")
