"""Write what is rounded into the graph, at scales that do not change at run time: for engines, which fuse the pairs."""

from __future__ import annotations

import onnx_ir as ir

from graphs.ir.stage import Stage
from graphs.quantization.quantized import Quantization, finished, initializer, smoothed


class QuantizeStaticPass(ir.passes.InPlacePass):
    """Round the input and the weight of each linear layer by a QuantizeLinear and a DequantizeLinear.

    Before: x -> MatMul(weight fp32) -> ...
    After:  x / smoothing -> QuantizeLinear -> DequantizeLinear -> MatMul(DequantizeLinear(weight, scale a column))

    An input has one scale: the largest magnitude that calibration saw. What is larger is clipped.

    Requires: an fp32 graph, shapes inferred; `largest` of each weight that is rounded.
    Ensures: layers of `kept`, tables, attention, pooling and head stay as they are; no vector depends on its batch.
    Numerics: as `quantized.number` rounds; products sum exactly in int8, and in fp32 in fp8.
    Source: NVIDIA's explicit quantisation, which TensorRT fuses into products of 8 bits.

    After a run, `layers` is the number of layers in 8 bits.
    """

    def __init__(self, quantization: Quantization) -> None:
        self.quantization = quantization
        self.layers = 0

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every linear layer that is not kept."""
        graph, quantization = model.graph, self.quantization
        stage, number = Stage(graph, quantization.number.name), quantization.number
        wide: dict[ir.Value, ir.Value] = {}
        rounded: dict[tuple[ir.Value, float, bytes], ir.Value] = {}
        found = quantization.rounded(graph)
        for node, value, weight in found:
            name = str(weight.name)
            factors, largest = quantization.smoothing.get(name), quantization.largest[name]
            key = value, largest, b"" if factors is None else factors.tobytes()
            if key not in rounded:
                place = len(rounded)
                smooth = smoothed(stage, value, factors, place)
                scale = stage.constant(f"scale_{place}", number.scales(largest))
                zero = stage.constant("zero", 0, number.stored)
                whole = stage.op("QuantizeLinear", smooth, scale, zero, dtype=number.dtype, shape=value.shape)
                rounded[key] = stage.op("DequantizeLinear", whole, scale, shape=value.shape)
            node.replace_input_with(0, rounded[key])
            if weight not in wide:
                made = quantization.weight(weight)
                values, scales = initializer(graph, made.values), initializer(graph, made.scales)
                wide[weight] = stage.op("DequantizeLinear", values, scales, axis=1, shape=weight.shape)
            node.replace_input_with(1, wide[weight])
        self.layers = len(found)
        return finished(model, modified=bool(found))
