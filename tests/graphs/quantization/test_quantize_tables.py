"""Tables of embeddings in int8: a row is rounded by its own largest value, wherever it is looked up."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.quantization import quantized
from graphs.quantization.quantize_tables import QuantizeTablesPass
from graphs.quantization.quantized import Quantization
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, run

ROWS, WIDTH = 64, 32
IDS = np.array([[0, 5, 63], [7, 7, 1]])


def table() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(ROWS, WIDTH)) * np.exp(rng.normal(size=(ROWS, 1)) * 3)).astype(np.float32)


def model(values: np.ndarray, axis: int = 0) -> ir.Model:
    build = GraphBuilder()
    ids = build.input("ids", INT64, "batch", "seq")
    found = build.op("Gather", build.constant("table", values), ids, name="found", axis=axis)
    found.type, found.shape = ir.TensorType(FLOAT), ir.Shape(["batch", "seq", WIDTH])
    return build.model(found)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphs.quantization.quantize_tables.LEAST_TABLE_BYTES", 4 * ROWS * WIDTH)


def test_each_row_is_rounded_by_its_own_scale() -> None:
    after = model(table())
    assert QuantizeTablesPass(Quantization())(after).modified
    assert sorted(ops(after)) == ["Cast", "Gather", "Gather", "Mul"]
    assert [value.name for value in after.graph.outputs] == ["found"]
    (got,) = run(after, {"ids": IDS})
    scale = np.abs(table()).max(axis=1, keepdims=True) / np.float32(127)
    np.testing.assert_allclose(got, (np.rint(table() / scale) * scale)[IDS], rtol=1e-6)
    assert set(after.graph.initializers) == {"table.int8", "table.scale"}


def test_small_tables_and_other_axes_stay() -> None:
    assert quantized.LEAST_TABLE_BYTES == 2**22
    assert not QuantizeTablesPass(Quantization())(model(table()[:-1])).modified
    across = model(np.ascontiguousarray(table().T), axis=1)
    assert not QuantizeTablesPass(Quantization())(across).modified
