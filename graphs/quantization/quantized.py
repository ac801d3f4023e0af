"""What the int8 graphs of a model share: quantised weights, each made once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from graphs.ir.stage import Stage
from graphs.quantization.linears import linears
from graphs.quantization.numbers import INT8, Floats, Number, quantize

LEAST_TABLE_BYTES = 2**22
"""Of fp32. Positions and types of small models stay: they are a hundredth of the words' table."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """A tensor in 8 bits, its scales, and what a column adds up to.

    values: of 8 bits, [rows, columns].
    scales: float32 [columns] of a weight, [rows, 1] of a table.
    sums: what each column of a weight adds up to, times its scale, float32 [columns]; a table's are not read.
    """

    values: ir.TensorProtocol
    scales: ir.TensorProtocol
    sums: ir.TensorProtocol


@dataclass
class Quantization:
    """How the weights of one model are quantised.

    smoothing: name of a weight -> by what each of its rows is multiplied, and each channel of its input divided,
        float32 [channels]; a weight without them is taken as it is.
    one_sided: names of weights whose inputs lie mostly on one side of 0, as those behind a GELU do.
    largest: name of a weight -> the largest magnitude that its input had, divided by the smoothing; needed where an
        input has one scale.
    number: what weights become; tables are int8 in any case.
    kept: names of weights that stay fp32.
    made: tensor -> what was made of it; pass the same `Quantization` for all graphs of a model.
    """

    smoothing: Mapping[str, Floats] = field(default_factory=dict)
    one_sided: Collection[str] = ()
    largest: Mapping[str, float] = field(default_factory=dict)
    number: Number = INT8
    kept: Collection[str] = ()
    made: dict[ir.TensorProtocol, Quantized] = field(default_factory=dict)

    def rounded(self, graph: ir.Graph) -> list[tuple[ir.Node, ir.Value, ir.Value]]:
        """The linear layers that are to be in 8 bits, each with its input and its weight, in graph order."""
        found = []
        for node in linears(graph):
            value, weight = node.inputs
            if value is not None and weight is not None and weight.name not in self.kept:
                found.append((node, value, weight))
        return found

    def weight(self, value: ir.Value) -> Quantized:
        """A weight [channels, columns], its rows multiplied by the smoothing, with a scale a column."""
        tensor, factors = value.const_value, self.smoothing.get(str(value.name))
        assert tensor is not None
        if tensor not in self.made:
            array = tensor.numpy()
            smooth = array if factors is None else array * factors[:, None]
            self.made[tensor] = _quantized(str(value.name), smooth, 0, self.number)
        return self.made[tensor]

    def table(self, value: ir.Value) -> Quantized:
        """A table [rows, columns] with a scale a row, float32 [rows, 1]."""
        tensor = value.const_value
        assert tensor is not None
        if tensor not in self.made:
            self.made[tensor] = _quantized(str(value.name), tensor.numpy(), 1, INT8)
        return self.made[tensor]


def _quantized(name: str, array: Floats, axis: int, number: Number) -> Quantized:
    values, scales = quantize(array, axis, number)
    stored = np.ascontiguousarray(scales if axis == 0 else scales[:, None])
    sums = stored if axis else (values.sum(axis=0, dtype=np.float64) * scales).astype(np.float32)
    return Quantized(
        ir.tensor(values, name=f"{name}.{number.name}"),
        ir.tensor(stored, name=f"{name}.scale"),
        ir.tensor(sums, name=f"{name}.sums"),
    )


def initializer(graph: ir.Graph, tensor: ir.TensorProtocol) -> ir.Value:
    """The initializer of a tensor's name, made where it is not there yet."""
    there = graph.initializers.get(str(tensor.name))
    return own_initializer(graph, tensor) if there is None else there


def own_initializer(graph: ir.Graph, tensor: ir.TensorProtocol) -> ir.Value:
    """A further initializer over a tensor, whose bytes lie in the file once: for readers that a runtime rewrites."""
    number, name = 1, str(tensor.name)
    while (further := name if number == 1 else f"{name}.{number}") in graph.initializers:
        number += 1
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=further, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
    graph.register_initializer(value)
    return value


def replace(old: ir.Value, new: ir.Value) -> None:
    """Let what reads one value read another, which takes its name."""
    name = old.name
    old.name, new.name = f"{name}.fp32", name
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def finished(model: ir.Model, *, modified: bool) -> ir.passes.PassResult:
    """A pass's result: nodes appended by a stage where they belong, and none that nothing reads."""
    if modified:
        model.graph.sort()
        common.RemoveUnusedNodesPass()(model)
    return ir.passes.PassResult(model, modified=modified)


def smoothed(stage: Stage, value: ir.Value, factors: Floats | None, number: int) -> ir.Value:
    """A value [..., channels] divided by factors, float32 [channels]; as it is, where there are none.

    number: of the division within the stage.
    """
    if factors is None:
        return value
    return stage.op("Mul", value, stage.constant(f"smoothing_{number}", 1 / factors), shape=value.shape)
