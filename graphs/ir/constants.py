"""Constants of a graph: make each content once, and read it back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir


def integers(graph: ir.Graph, numbers: Sequence[int]) -> ir.Value:
    """An int64 initializer [len(numbers)]; equal numbers give the same initializer."""
    name = "const.i64." + "_".join(str(n).replace("-", "m") for n in numbers)
    return constant(graph, name, np.asarray(numbers, np.int64))


def constant(graph: ir.Graph, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
    """The initializer `name` with this content; underscores are appended where another constant has the name."""
    while (existing := array_of(graph.initializers.get(name))) is not None and not _same(existing, array):
        name += "_"
    if name not in graph.initializers:
        tensor = ir.tensor(array, name=name)
        value = ir.Value(
            name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor
        )
        graph.register_initializer(value)
    return graph.initializers[name]


def _same(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)


def array_of(value: ir.Value | None) -> npt.NDArray[np.generic] | None:
    """The content of a constant; None where `value` is not a constant."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def integers_of(value: ir.Value | None) -> list[int] | None:
    """A constant of integers as a list; None where `value` is not such a constant."""
    array = array_of(value)
    return None if array is None or array.dtype.kind not in "iu" else [int(n) for n in array.reshape(-1)]


def scalar_of(value: ir.Value | None) -> float | None:
    """The number in a constant of size 1; None where `value` is not such a constant."""
    array = array_of(value)
    return None if array is None or array.size != 1 or array.dtype.kind not in "iuf" else float(array.reshape(()))
