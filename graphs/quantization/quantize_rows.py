"""Multiply in int8, with a scale for each row of the activations: for ONNX Runtime on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from graphs.ir.stage import Stage
from graphs.quantization.numbers import LARGEST, TINY
from graphs.quantization.quantized import (
    Quantization,
    Quantized,
    finished,
    initializer,
    own_initializer,
    replace,
    smoothed,
)

_ZERO = 128
_STEPS = 255
_UINT8, _INT64 = ir.DataType.UINT8, ir.DataType.INT64
ORT_DOMAIN, _PRODUCT = "com.microsoft", "MatMulIntegerToFloat"


class QuantizeRowsPass(ir.passes.InPlacePass):
    """Give each linear layer int8 weights, and each row (token) of its input a scale of its own.

    Before: x [..., channels] -> MatMul(weight fp32) -> ...
    After:  x / smoothing -> its largest magnitude over 127 is the row's scale -> QuantizeLinear, uint8 around 128
              -> MatMulIntegerToFloat(weight int8, scale a column) -> Mul(scale of the row) -> ...
    Where rows lie mostly on one side of 0, the 255 steps of a row go from its lowest value to its highest: up to twice
              as fine. The lowest value times the sum of each weight column is then added to the product.

    MatMulIntegerToFloat is ONNX Runtime's: MatMulInteger, Cast and Mul in one. Apart they write the product thrice,
    which took a tenth of a full batch of MiniLM.

    A scale of the whole batch would make a vector depend on the other texts; a row's own cannot.

    Requires: an fp32 graph, shapes inferred; the last pass but those of storage.
    Ensures: a row of the product depends on that row of the input alone. Layers of `kept`, attention, pooling and head
        stay fp32.
    Numerics: weights round to their column's largest magnitude over 127, activations to their row's. The product is
        exact, in int32; on CPUs without VNNI only where ONNX Runtime is told so (`session.x64quantprecision`).
    Source: SmoothQuant; per-token activations as in ZeroQuant (Yao et al., 2022).

    After a run, `layers` is the number of layers in int8.
    """

    def __init__(self, quantization: Quantization) -> None:
        self.quantization = quantization
        self.layers = 0

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every linear layer that is not kept."""
        graph = model.graph
        stage = Stage(graph, "int8")
        rows: dict[tuple[ir.Value, bytes], _Rows] = {}
        found = self.quantization.rounded(graph)
        for node, value, weight in found:
            factors = self.quantization.smoothing.get(str(weight.name))
            key = value, b"" if factors is None else factors.tobytes()
            if key not in rows:
                one_sided = weight.name in self.quantization.one_sided
                smooth = smoothed(stage, value, factors, len(rows))
                rows[key] = _one_sided(stage, smooth) if one_sided else _symmetric(stage, smooth)
            replace(node.outputs[0], _product(stage, node, self.quantization.weight(weight), rows[key]))
        if found:
            model.opset_imports.setdefault(ORT_DOMAIN, 1)
        self.layers = len(found)
        return finished(model, modified=bool(found))


class _Rows(NamedTuple):
    """Rows in uint8.

    whole: [..., channels].
    scale: of each row, float32 [..., 1].
    zero: what all rows have in the place of 0, a scalar; None where it is 0.
    lowest: what 0 stands for in each row, float32 [..., 1]; None where all rows have the same in its place.
    """

    whole: ir.Value
    scale: ir.Value
    zero: ir.Value | None
    lowest: ir.Value | None


def _symmetric(stage: Stage, value: ir.Value) -> _Rows:
    highest, lowest, column = _extremes(stage, value)
    below = stage.op("Neg", lowest, shape=column)
    largest = stage.op("Max", highest, below, stage.constant("tiny", TINY), shape=column)
    scale = stage.op("Mul", largest, stage.constant("step", 1 / LARGEST), shape=column)
    zero = stage.constant("zero", _ZERO, np.uint8)
    # In steps first, so that all rows are rounded alike: fewer nodes than a zero point for each row, as below.
    steps = stage.op("Mul", value, stage.op("Reciprocal", scale, shape=column), shape=value.shape)
    whole = stage.op("QuantizeLinear", steps, stage.constant("one", 1.0), zero, dtype=_UINT8, shape=value.shape)
    return _Rows(whole, scale, zero, None)


def _one_sided(stage: Stage, value: ir.Value) -> _Rows:
    highest, lowest, column = _extremes(stage, value)
    nothing = stage.constant("nothing", 0.0)
    high, low = stage.op("Max", highest, nothing, shape=column), stage.op("Min", lowest, nothing, shape=column)
    span = stage.op("Max", stage.op("Sub", high, low, shape=column), stage.constant("tiny", TINY), shape=column)
    scale = stage.op("Mul", span, stage.constant("one_sided_step", 1 / _STEPS), shape=column)
    # A whole number of steps below 0, so that 0 stays 0.
    steps = stage.op("Round", stage.op("Div", low, scale, shape=column), shape=column)
    above = stage.op("Neg", steps, shape=column)
    places = _flat(stage, stage.op("Cast", above, to=_UINT8, dtype=_UINT8, shape=column))
    return _Rows(_round(stage, value, scale, places), scale, None, stage.op("Mul", steps, scale, shape=column))


def _extremes(stage: Stage, value: ir.Value) -> tuple[ir.Value, ir.Value, ir.Shape]:
    """The highest and the lowest value of each row, [..., 1], and that shape."""
    assert value.shape is not None
    column = ir.Shape([*value.shape[:-1], 1])
    highest, lowest = (stage.op(op_type, value, stage.axes(-1), shape=column) for op_type in ("ReduceMax", "ReduceMin"))
    return highest, lowest, column


def _flat(stage: Stage, column: ir.Value) -> ir.Value:
    """[..., 1] -> [rows]."""
    assert column.dtype is not None
    return stage.op("Reshape", column, stage.axes(-1), dtype=column.dtype, shape=ir.Shape([None]))


def _round(stage: Stage, value: ir.Value, scale: ir.Value, places: ir.Value) -> ir.Value:
    """Each row in steps of its scale, with 0 in its place of `places`, uint8 [rows]."""
    assert value.shape is not None
    rank, channels = len(value.shape), value.shape[-1]
    assert isinstance(channels, int)
    rows = stage.op("Reshape", value, stage.axes(-1, channels), shape=ir.Shape([None, channels]))
    whole = stage.op("QuantizeLinear", rows, _flat(stage, scale), places, axis=0, dtype=_UINT8, shape=rows.shape)
    shape = stage.op("Shape", value, dtype=_INT64, shape=ir.Shape([rank]))
    return stage.op("Reshape", whole, shape, dtype=_UINT8, shape=value.shape)


def _product(stage: Stage, node: ir.Node, int8: Quantized, rows: _Rows) -> ir.Value:
    graph, shape = stage.graph, node.outputs[0].shape
    # ONNX Runtime converts the weight of each product where the CPU lacks VNNI, and fails at the second of one weight.
    weight, scales = own_initializer(graph, int8.values), initializer(graph, int8.scales)
    inputs = (rows.whole, weight, stage.constant("one", 1.0), scales, rows.zero)
    product = stage.op(_PRODUCT, *inputs, domain=ORT_DOMAIN, shape=shape)
    scaled = stage.op("Mul", product, rows.scale, shape=shape)
    if rows.lowest is None:
        return scaled
    shift = stage.op("Mul", rows.lowest, initializer(graph, int8.sums), shape=shape)
    return stage.op("Add", scaled, shift, shape=shape)
