"""Linear layers in int8 with a scale a row: the numbers are those by hand, and a row is its own business."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.ir.stage import STAGE_KEY
from graphs.quantization.quantize_rows import QuantizeRowsPass
from graphs.quantization.quantized import Quantization
from tests.graphs.build import ops
from tests.graphs.quantization.layers import close, columns_by_hand, graph, inputs, rows_by_hand, run, weight

FACTORS = np.exp(np.random.default_rng(3).normal(size=256)).astype(np.float32)


def quantized(model: ir.Model, quantization: Quantization) -> ir.Model:
    after = model.clone()
    QuantizeRowsPass(quantization)(after)
    return after


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("factors", [None, FACTORS])
def test_products_are_those_of_rounded_rows_and_columns(one_sided: bool, factors: np.ndarray | None) -> None:
    x, w = inputs(one_sided=one_sided), weight()
    smoothing = {} if factors is None else {"w0": factors}
    (got,) = run(quantized(graph(w), Quantization(smoothing, one_sided={"w0"} if one_sided else ())), {"x": x})
    smooth = x if factors is None else x * (1 / factors)
    rows = rows_by_hand(smooth, one_sided=one_sided).values
    wanted = rows @ columns_by_hand(w if factors is None else w * factors[:, None])
    assert close(got, wanted)
    assert not got[1, 2].any(), "a row of zeros gives zeros"


@pytest.mark.parametrize("one_sided", [False, True])
def test_a_row_gives_the_same_bits_alone_and_in_any_company(one_sided: bool) -> None:
    model = quantized(graph(weight()), Quantization({"w0": FACTORS}, one_sided={"w0"} if one_sided else ()))
    x = inputs()
    (together,) = run(model, {"x": x})
    for row in range(3):
        for token in range(5):
            (alone,) = run(model, {"x": x[row : row + 1, token : token + 1]})
            np.testing.assert_array_equal(alone[0, 0], together[row, token])
    (backwards,) = run(model, {"x": np.ascontiguousarray(x[::-1])})
    np.testing.assert_array_equal(backwards[::-1], together)


def test_a_scale_of_the_whole_batch_would_not() -> None:
    """What the test above would see: a row's numbers with one scale for all rows."""
    x = inputs()
    together, alone = rows_by_hand(x, axes=(0, 1, 2)).values[0, 0], rows_by_hand(x[:1, :1], axes=(0, 1, 2)).values[0, 0]
    assert np.abs(together - alone).max() > 0.1 * np.abs(alone).max()


def test_layers_share_the_rounding_of_their_input_and_those_kept_stay() -> None:
    model = quantized(graph(weight(1), weight(2), weight(3)), Quantization(kept={"w1"}))
    count = {op: ops(model).count(op) for op in ("MatMul", "MatMulIntegerToFloat", "QuantizeLinear", "ReduceMax")}
    assert count == {"MatMul": 1, "MatMulIntegerToFloat": 2, "QuantizeLinear": 1, "ReduceMax": 1}
    x = inputs()
    np.testing.assert_array_equal(run(model, {"x": x})[1], run(graph(weight(2)), {"x": x})[0])
    stored = {name: value.dtype for name, value in model.graph.initializers.items() if name.startswith("w")}
    assert stored["w1"] == ir.DataType.FLOAT
    assert stored["w0.int8"] == stored["w2.int8"] == ir.DataType.INT8
    assert "w0" not in stored, "the fp32 weight is gone"


def test_different_factors_are_different_roundings() -> None:
    model = quantized(graph(weight(1), weight(2)), Quantization({"w0": FACTORS, "w1": 1 / FACTORS}))
    assert ops(model).count("QuantizeLinear") == 2


def test_pooling_and_head_stay_as_they_are() -> None:
    model = graph(weight())
    for node in model.graph:
        node.metadata_props[STAGE_KEY] = "head"
    assert not QuantizeRowsPass(Quantization())(model).modified


def test_outputs_keep_their_names_and_the_weight_is_made_once() -> None:
    quantization = Quantization()
    one, other = quantized(graph(weight()), quantization), graph(weight())
    assert [value.name for value in one.graph.outputs] == ["y0"]
    shared = one.graph.initializers["w0.int8"].const_value
    other.graph.initializers["w0"].const_value = next(iter(quantization.made))
    QuantizeRowsPass(quantization)(other)
    assert other.graph.initializers["w0.int8"].const_value is shared
