"""Make dimensions constants where shape inference gives a number, instead of reading them from a Shape at each run.

Independent of what the tensors mean.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

_PICKS = ("Gather", "Slice")


class FoldKnownDimsPass(ir.passes.InPlacePass):
    """Replace a Gather or Slice that selects numeric dimensions from a Shape by a constant.

    Before: [batch, heads, seq, 32] -> Shape -> Slice(3:) -> Cast -> Sqrt, the scale of an attention
    After:  32 -> Cast -> Sqrt, which `cleanup` folds

    Requires: shapes inferred, constants lifted to initializers (`cleanup`).
    Ensures: dimensions that are symbols are still read from the Shape.
    Numerics: exact.
    Source: this project; TorchScript's exporter computes the scale of scaled_dot_product_attention so.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace node by node; `cleanup` removes a Shape that nothing reads any more."""
        modified = False
        for node in list(model.graph):
            output = node.outputs[0]
            if node.op_type not in _PICKS or output.is_graph_output() or not output.uses():
                continue
            dims = _dims(output)
            if dims is None or (dims < 0).any():
                continue
            tensor = ir.tensor(dims, name=f"{output.name}.known")
            constant = ir.Value(
                name=tensor.name,
                type=ir.TensorType(tensor.dtype),
                shape=ir.Shape(tensor.shape.numpy()),
                const_value=tensor,
            )
            model.graph.register_initializer(constant)
            output.replace_all_uses_with(constant)
            modified = True
        return ir.passes.PassResult(model, modified=modified)


def _dims(value: ir.Value | None) -> npt.NDArray[np.int64] | None:
    """The dimensions that `value` holds, -1 for each that is not a number; None where it holds no dimensions."""
    node = value.producer() if value is not None else None
    if node is None or node.domain or node.op_type not in ("Shape", *_PICKS):
        return None
    if node.op_type == "Shape":
        return _shape(node)
    dims, operands = _dims(node.inputs[0]), [_numbers(operand) for operand in node.inputs[1:]]
    if dims is None or any(operand is None for operand in operands):
        return None
    if node.op_type == "Gather":
        return np.asarray(dims[operands[0]])
    # The input has one axis, so the axes of the Slice need no check.
    numbers = [int(operand.reshape(-1)[0]) for operand in operands if operand is not None]
    start, end, step = numbers[0], numbers[1], numbers[3] if len(numbers) == 4 else 1
    return dims[start:end:step]


def _shape(node: ir.Node) -> npt.NDArray[np.int64] | None:
    """The output of a Shape node, -1 for each dimension that is not a number; None where the rank is unknown."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is None:
        return None
    start, end = (node.attributes.get(name) for name in ("start", "end"))
    kept = slice(start.as_int() if start is not None else 0, end.as_int() if end is not None else None)
    return np.asarray([dim if isinstance(dim, int) else -1 for dim in shape], np.int64)[kept]


def _numbers(value: ir.Value | None) -> npt.NDArray[np.int64] | None:
    return None if value is None or value.const_value is None else value.const_value.numpy()
