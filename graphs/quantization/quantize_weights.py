"""Store weights in int8 and widen them in the graph: for runtimes that round the activations themselves."""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.stage import Stage
from graphs.quantization.quantized import Quantization, finished, initializer, smoothed


class QuantizeWeightsPass(ir.passes.InPlacePass):
    """Give each linear layer int8 weights, widened in front of it; OpenVINO multiplies by them as they are stored.

    Before: x -> MatMul(weight fp32) -> ...
    After:  x / smoothing -> MatMul(Mul(Cast(weight int8), scale a column)) -> ...

    Where the CPU multiplies int8 (VNNI, AMX), OpenVINO rounds each row of the activations in groups of channels
    (`DYNAMIC_QUANTIZATION_GROUP_SIZE`); elsewhere it widens the weights as it multiplies.

    Requires: an fp32 graph, shapes inferred; the last pass but those of storage.
    Ensures: layers of `kept`, attention, pooling and head stay fp32.
    Numerics: weights round to their column's largest magnitude over 127.
    Source: OpenVINO's weight compression, which NNCF's INT8_SYM writes in the same operators.

    After a run, `layers` is the number of layers in int8.
    """

    def __init__(self, quantization: Quantization) -> None:
        self.quantization = quantization
        self.layers = 0

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite the weight of every linear layer that is not kept."""
        graph, quantization = model.graph, self.quantization
        stage = Stage(graph, "int8")
        wide: dict[ir.Value, ir.Value] = {}
        smooth: dict[tuple[ir.Value, bytes], ir.Value] = {}
        found = quantization.rounded(graph)
        for node, value, weight in found:
            factors = quantization.smoothing.get(str(weight.name))
            key = value, b"" if factors is None else factors.tobytes()
            if key not in smooth:
                smooth[key] = smoothed(stage, value, factors, len(smooth))
            node.replace_input_with(0, smooth[key])
            if weight not in wide:
                int8 = quantization.weight(weight)
                values, scales = initializer(graph, int8.values), initializer(graph, int8.scales)
                cast = stage.op("Cast", values, to=ir.DataType.FLOAT, shape=weight.shape)
                wide[weight] = stage.op("Mul", cast, scales, shape=weight.shape)
            node.replace_input_with(1, wide[weight])
        self.layers = len(found)
        return finished(model, modified=bool(found))
