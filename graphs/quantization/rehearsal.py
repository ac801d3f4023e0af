"""Round activations in fp32 as a CPU that multiplies int8 would: shows on any CPU what an int8 graph gives there."""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.stage import Stage
from graphs.quantization.numbers import LARGEST, TINY


class RehearseGroupsPass(ir.passes.InPlacePass):
    """Round what is multiplied by int8 weights to 8 bits and back, in groups of channels.

    Before: x [..., channels] -> MatMul(Mul(Cast(weight int8), scale))
    After:  x -> [..., groups, group] -> largest magnitude over 127 is a group's scale -> round -> [..., channels]
              -> MatMul

    Channels that are no multiple of a group share one scale.

    Requires: a graph of `quantize_weights`, shapes inferred.
    Ensures: a row of the product depends on that row of the input alone.
    Numerics: as OpenVINO's kernels, but for the order of sums and the rest of the graph, which these may compute in
        bf16.
    Source: this project; OpenVINO's dynamic quantisation.
    """

    def __init__(self, group: int) -> None:
        """Take the channels that share a scale."""
        self.group = group

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Round the input of every product with an int8 weight."""
        graph = model.graph
        stage = Stage(graph, "groups")
        rounded: dict[ir.Value, ir.Value] = {}
        found = [node for node in graph if node.op_type == "MatMul" and _is_wide(node.inputs[1])]
        for node in found:
            value = node.inputs[0]
            assert value is not None
            if value not in rounded:
                rounded[value] = _rounded(stage, value, self.group)
            node.replace_input_with(0, rounded[value])
        if found:
            graph.sort()
        return ir.passes.PassResult(model, modified=bool(found))


def _is_wide(value: ir.Value | None) -> bool:
    """Whether a weight is widened from int8: a Mul of a Cast of it."""
    for op_type in ("Mul", "Cast"):
        producer = None if value is None else value.producer()
        if producer is None or producer.op_type != op_type:
            return False
        value = producer.inputs[0]
    return value is not None and value.dtype == ir.DataType.INT8


def _rounded(stage: Stage, value: ir.Value, size: int) -> ir.Value:
    shape = value.shape
    assert shape is not None
    channels = shape[-1]
    assert isinstance(channels, int)
    group = size if channels % size == 0 else channels
    same = [0] * (len(shape) - 1)
    grouped = stage.op("Reshape", value, stage.axes(*same, channels // group, group))
    largest = stage.op("ReduceMax", stage.op("Abs", grouped), stage.axes(-1))
    step = stage.constant("step", 1 / LARGEST)
    scale = stage.op("Max", stage.op("Mul", largest, step), stage.constant("tiny", TINY))
    whole = stage.op("Round", stage.op("Div", grouped, scale))
    return stage.op("Reshape", stage.op("Mul", whole, scale), stage.axes(*same, channels), shape=shape)
