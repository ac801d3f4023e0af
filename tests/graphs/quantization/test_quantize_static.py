"""Layers in 8 bits at scales that stand in the graph, against the same by hand."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.precision.float16 import ConvertToFloat16Pass
from graphs.precision.rehearsal import RehearseFloat16Pass
from graphs.quantization.numbers import FP8, INT8, Number
from graphs.quantization.quantize_static import QuantizeStaticPass
from graphs.quantization.quantized import Quantization
from tests.graphs.build import ops
from tests.graphs.quantization.layers import CHANNELS, close, graph, inputs, run, weight

FACTORS = np.exp(np.random.default_rng(3).normal(size=CHANNELS)).astype(np.float32)
LARGEST = 20.0
"""Less than the largest of `inputs`: what is larger is clipped."""


def static(number: Number, *weights: np.ndarray, smoothing: bool = False, **more: object) -> ir.Model:
    model, names = graph(*weights), [f"w{place}" for place in range(len(weights))]
    factors = dict.fromkeys(names, FACTORS) if smoothing else {}
    quantize = QuantizeStaticPass(
        Quantization(factors, largest=dict.fromkeys(names, LARGEST), number=number, **more)  # type: ignore[arg-type]
    )
    quantize(model)
    assert quantize.layers == len(weights) - len(more.get("kept", ()))  # type: ignore[arg-type]
    return model


def by_hand(number: Number, values: np.ndarray, scale: np.ndarray | np.float32) -> np.ndarray:
    """Values in 8 bits and back, float64; int8 clips at -128, which no weight reaches."""
    steps = np.clip(values / scale, -number.largest - (number is INT8), number.largest)
    nearest = np.rint(steps) if number is INT8 else eighths(steps)
    return nearest.astype(np.float64) * scale


def eighths(values: np.ndarray) -> np.ndarray:
    """To three bits of fraction, ties to even; below 2 ** -6 in steps of 2 ** -9."""
    exponent = np.maximum(np.floor(np.log2(np.maximum(np.abs(values), 1e-30))), -6)
    step = 2.0 ** (exponent - 3)
    return np.rint(values / step) * step


@pytest.mark.parametrize("number", [INT8, FP8])
@pytest.mark.parametrize("smoothing", [False, True])
def test_products_are_those_of_rounded_inputs_and_columns(number: Number, smoothing: bool) -> None:
    x, w = inputs(), weight()
    assert np.abs(x).max() > LARGEST
    (got,) = run(static(number, w, smoothing=smoothing), {"x": x})
    factors = FACTORS if smoothing else np.ones(CHANNELS, np.float32)
    scale = np.float32(LARGEST) / np.float32(number.largest)
    smooth = w * factors[:, None]
    columns = np.abs(smooth).max(axis=0) / np.float32(number.largest)
    wanted = by_hand(number, x * (1 / factors), scale) @ by_hand(number, smooth, columns)
    assert close(got, wanted)


def test_layers_that_share_an_input_round_it_once_and_kept_ones_do_not() -> None:
    model = static(INT8, *map(weight, (1, 2, 3)), smoothing=True, kept={"w2"})
    assert ops(model).count("QuantizeLinear") == 1
    assert ops(model).count("DequantizeLinear") == 1 + 2
    assert ops(model).count("Mul") == 1
    assert model.graph.initializers["w2"].dtype == ir.DataType.FLOAT
    x = inputs()
    np.testing.assert_array_equal(run(model, {"x": x})[2], run(graph(*map(weight, (1, 2, 3))), {"x": x})[2])


@pytest.mark.parametrize("number", [INT8, FP8])
def test_in_half_precision_the_numbers_stay_the_same(number: Number) -> None:
    x, w = inputs(), weight()
    exact = static(number, w)
    half = exact.clone()
    ConvertToFloat16Pass({}, {})(half)
    stored = {value.name: value.dtype for value in half.graph.initializers.values()}
    assert stored[f"w0.{number.name}"] == number.dtype
    assert ir.DataType.FLOAT not in stored.values()
    RehearseFloat16Pass()(half)
    (wanted,), (got,) = run(exact, {"x": x}), run(half, {"x": x})
    assert np.abs(got - wanted).max() <= 0.01 * np.abs(wanted).max()
    assert got.dtype == np.float32
