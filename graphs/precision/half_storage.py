"""Store fp32 weights in 16 bits where that loses nothing, and widen them in the graph.

A checkpoint published in bf16 or fp16 is traced and computed in fp32, so that half of every stored weight is zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

_LEAST_BYTES = 2**16
"""Of fp32. A smaller weight saves less than the page that it is aligned to is worth beside one more node."""

_PIECE = 2**20
"""Elements that are looked at together: most fp32 weights show in the first piece that they are no others."""

Stored = dict[ir.TensorProtocol, ir.TensorProtocol | None]


class HalfStoragePass(ir.passes.InPlacePass):
    """Store each large fp32 weight as bf16, or else as fp16, if every one of its values is the same there.

    Before: weight fp32 -> MatMul;                 table fp32 -> Gather -> ...
    After:  weight bf16 -> Cast fp32 -> MatMul;    table bf16 -> Gather -> Cast fp32 -> ...

    Runtimes widen a weight once, when they load the graph. A table is widened behind the Gather, so that it stays as it
    is stored: only rows that are looked up are ever widened.

    Requires: to run last, on the fp32 graph: other passes look for constants in front of a node.
    Ensures: the values that every other node reads are the same bits as before.
    Numerics: exact: both are subsets of fp32, zeros keep their sign, and one value that rounds keeps its weight fp32.
    Source: measured with ONNX Runtime 1.32 and OpenVINO 2026.4, which fold the casts of weights as they load.
    """

    def __init__(self, shared: Stored) -> None:
        """Prepare a run.

        Args:
            shared: fp32 tensor -> the tensor to store, None where it stays; pass the same dict for all graphs of a
                model, so that each weight is looked at, and later stored, once.
        """
        self.shared = shared

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace every weight that can be stored in 16 bits."""
        graph, modified = model.graph, False
        inputs = set(graph.inputs)
        for value in list(graph.initializers.values()):
            tensor = value.const_value
            if tensor is None or value in inputs or value.dtype != ir.DataType.FLOAT or tensor.nbytes < _LEAST_BYTES:
                continue
            if tensor not in self.shared:
                self.shared[tensor] = _half(tensor)
            half = self.shared[tensor]
            if half is not None:
                _replace(graph, value, half)
                modified = True
        return ir.passes.PassResult(model, modified=modified)


def _half(tensor: ir.TensorProtocol) -> ir.TensorProtocol | None:
    """The same values in 16 bits, converted whenever they are read, or None; most weights of fp32 have no such form."""
    values = tensor.numpy().ravel(order="K")  # a view, of a transposed weight too
    for dtype, keeps in ((ir.DataType.BFLOAT16, _is_bfloat16), (ir.DataType.FLOAT16, _is_float16)):
        if all(keeps(values[start : start + _PIECE]) for start in range(0, values.size, _PIECE)):
            convert: Callable[[], Any] = partial(_converted, tensor, dtype)
            return ir.LazyTensor(convert, dtype, ir.Shape(tensor.shape.numpy()), name=tensor.name)
    return None


def _is_bfloat16(values: npt.NDArray[np.float32]) -> bool:
    """Whether the lower half of each value's bits is zero: bf16 is the upper half."""
    return not (np.ascontiguousarray(values).view(np.uint32) & 0xFFFF).any()


def _is_float16(values: npt.NDArray[np.float32]) -> bool:
    """Whether each value is one of fp16's; a NaN is not."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16).astype(np.float32) == values).all())


def _converted(tensor: ir.TensorProtocol, dtype: ir.DataType) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(dtype.numpy()), dtype, name=tensor.name)


def _replace(graph: ir.Graph, value: ir.Value, half: ir.TensorProtocol) -> None:
    """Let the readers of `value`, a weight, read `half` instead: a table's Gather itself, the others widened."""
    name = value.name
    assert name is not None
    del graph.initializers[name]
    value.name = f"{name}.fp32"
    stored = ir.Value(name=name, type=ir.TensorType(half.dtype), shape=value.shape, const_value=half)
    graph.register_initializer(stored)
    for node, index in list(value.uses()):
        if node.op_type == "Gather" and not node.domain and index == 0:
            node.replace_input_with(0, stored)
            _widen_behind(node, half.dtype)
    if value.uses():
        widened = ir.Value(name=value.name, type=ir.TensorType(ir.DataType.FLOAT), shape=value.shape)
        graph.insert_before(graph[0], _cast(stored, widened))
        value.replace_all_uses_with(widened)


def _widen_behind(node: ir.Node, dtype: ir.DataType) -> None:
    """Make a Gather give `dtype`, and its readers the same values in fp32, under the name that they know."""
    looked_up = node.outputs[0]
    widened = ir.Value(name=looked_up.name, type=looked_up.type, shape=looked_up.shape)
    looked_up.name, looked_up.type = f"{looked_up.name}.stored", ir.TensorType(dtype)
    graph = node.graph
    assert graph is not None
    looked_up.replace_all_uses_with(widened, replace_graph_outputs=True)
    graph.insert_after(node, _cast(looked_up, widened))


def _cast(source: ir.Value, widened: ir.Value) -> ir.Node:
    return ir.node("Cast", [source], {"to": int(ir.DataType.FLOAT)}, outputs=[widened], name=f"Cast.{widened.name}")
