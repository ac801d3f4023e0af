"""Infer the shape of every tensor of an encoder in terms of batch and seq, by ONNX Runtime's own inference.

TorchScript computes the target of each Reshape from Shape, Gather and Concat, and writes down no shape. ONNX's own
inference loses the symbols on the way; ONNX Runtime's follows such arithmetic, and knows operators of its own domain.
"""

from __future__ import annotations

import contextlib
import tempfile

import onnx_ir as ir
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

from poolfold.errors import first_line

_LARGE = 1024
"""Elements. A larger constant says nothing about shapes, and is left out of what is inferred upon."""


def infer_symbolic_shapes(model: ir.Model) -> str | None:
    """Give the values of a graph the dtypes and shapes that can be inferred; dimensions are numbers or expressions.

    Args:
        model: a graph whose inputs are [batch, seq], functions inlined.

    Returns:
        None, or why nothing could be inferred; the annotations are then as they were.
    """
    try:
        # Where it gives up it writes the graph into the current folder.
        with tempfile.TemporaryDirectory(prefix="poolfold-") as folder, contextlib.chdir(folder):
            inferred = SymbolicShapeInference.infer_shapes(ir.to_proto(_without_weights(model)), auto_merge=True)
    except Exception as error:  # it raises whatever its arithmetic does, and plain Exceptions
        return first_line(error)
    inferred_values = {value.name: value for node in ir.from_proto(inferred).graph for value in node.outputs}
    for node in model.graph:
        for value in node.outputs:
            inferred_value = inferred_values.get(value.name)
            if inferred_value is not None and not value.is_graph_output():
                value.type = value.type if inferred_value.type is None else inferred_value.type
                value.shape = value.shape if inferred_value.shape is None else inferred_value.shape
    return None


def _without_weights(model: ir.Model) -> ir.Model:
    """A clone in which large constants are inputs, so that nothing large is copied."""
    clone = model.clone()
    for name, value in list(clone.graph.initializers.items()):
        if value.const_value is not None and value.const_value.size > _LARGE:
            value.type, value.shape = ir.TensorType(value.const_value.dtype), ir.Shape(value.const_value.shape.numpy())
            del clone.graph.initializers[name]
            value.const_value = None
            clone.graph.inputs.append(value)
    return clone
