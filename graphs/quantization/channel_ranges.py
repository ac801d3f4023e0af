"""Add outputs to an fp32 graph that give the highest and the lowest value of each channel that linear layers read."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from graphs.ir.stage import Stage
from graphs.quantization.linears import Linears, groups


class ProbeChannelsPass(ir.passes.InPlacePass):
    """Add one output for each group of linear layers: highest and lowest value of each channel, float32 [2, channels].

    Before: x [batch, seq, channels] -> MatMul -> ...
    After:  the same, and x -> ReduceMax, ReduceMin over all axes but the last -> Concat -> output

    Padding counts as tokens do: run texts alone.

    Requires: shapes inferred (`cleanup`).
    Ensures: the other outputs do not change.
    Numerics: exact.
    Source: the calibration of SmoothQuant.

    After a run, `channels` has the output's name of each group -> the names of the group's weights.
    """

    def __init__(self) -> None:
        self.channels: dict[str, tuple[str, ...]] = {}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Append the reductions and the outputs."""
        graph = model.graph
        found = groups(graph)
        stage = Stage(graph, "channels")
        for group in found:
            highest = _over_inputs(stage, group.inputs, "ReduceMax", "Max")
            lowest = _over_inputs(stage, group.inputs, "ReduceMin", "Min")
            both = stage.op("Concat", highest, lowest, axis=0, shape=ir.Shape([2, _channels(group)]))
            graph.outputs.append(both)
            self.channels[str(both.name)] = group.weights
        return ir.passes.PassResult(model, modified=bool(found))


def _channels(group: Linears) -> int:
    return group.role[0][0]


def _over_inputs(stage: Stage, values: Sequence[ir.Value], reduce: str, join: str) -> ir.Value:
    """The extreme of each channel over all values, [1, channels]."""
    of_each = []
    for value in values:
        assert value.shape is not None
        extreme = stage.op(reduce, value, stage.axes(*range(len(value.shape) - 1)), keepdims=0)
        of_each.append(stage.op("Reshape", extreme, stage.axes(1, -1), shape=ir.Shape([1, value.shape[-1]])))
    return of_each[0] if len(of_each) == 1 else stage.op(join, *of_each, shape=of_each[0].shape)
