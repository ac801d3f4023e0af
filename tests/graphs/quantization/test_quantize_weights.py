"""Weights in int8 that the graph widens, and what a CPU that multiplies int8 makes of them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.quantization.quantize_weights import QuantizeWeightsPass
from graphs.quantization.quantized import Quantization
from graphs.quantization.rehearsal import RehearseGroupsPass
from tests.graphs.build import ops
from tests.graphs.quantization.layers import CHANNELS, columns_by_hand, graph, inputs, rows_by_hand, run, weight

GROUP = 128
FACTORS = np.exp(np.random.default_rng(3).normal(size=CHANNELS)).astype(np.float32)


def quantized(quantization: Quantization, *weights: np.ndarray) -> ir.Model:
    model = graph(*weights)
    QuantizeWeightsPass(quantization)(model)
    return model


@pytest.mark.parametrize("factors", [None, FACTORS])
def test_products_are_those_of_rounded_columns(factors: np.ndarray | None) -> None:
    x, w = inputs(), weight()
    model = quantized(Quantization({} if factors is None else {"w0": factors}), w)
    (got,) = run(model, {"x": x})
    smooth = x if factors is None else x * (1 / factors)
    wanted = smooth.astype(np.float64) @ columns_by_hand(w if factors is None else w * factors[:, None])
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_layers_that_share_input_and_factors_share_the_division() -> None:
    model = quantized(Quantization(dict.fromkeys(("w0", "w1"), FACTORS), kept={"w2"}), *map(weight, (1, 2, 3)))
    assert ops(model).count("Cast") == 2
    assert ops(model).count("Mul") == 1 + 2
    assert model.graph.initializers["w2"].dtype == ir.DataType.FLOAT


def test_rehearsal_rounds_each_row_in_groups_of_channels() -> None:
    x, w = inputs(), weight()
    model = quantized(Quantization(kept={"w1"}), w, weight(2))
    RehearseGroupsPass(GROUP)(model)
    got, kept = run(model, {"x": x})
    groups = rows_by_hand(x.reshape(3, 5, CHANNELS // GROUP, GROUP)).values.reshape(x.shape)
    np.testing.assert_allclose(got, groups @ columns_by_hand(w), rtol=1e-3, atol=1e-3 * np.abs(got).max())
    np.testing.assert_array_equal(kept, run(graph(weight(2)), {"x": x})[0])
    rows = rows_by_hand(x).values
    assert np.abs(groups - x).mean() < 0.8 * np.abs(rows - x).mean(), "a large channel spoils its own group alone"


def test_channels_that_make_no_whole_groups_share_one_scale() -> None:
    x, w = inputs()[..., :100], weight()[:100]
    model = graph(w)
    model.graph.inputs[0].shape = ir.Shape(["batch", "seq", 100])
    QuantizeWeightsPass(Quantization())(model)
    RehearseGroupsPass(GROUP)(model)
    (got,) = run(model, {"x": x})
    wanted = rows_by_hand(x).values @ columns_by_hand(w)
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
