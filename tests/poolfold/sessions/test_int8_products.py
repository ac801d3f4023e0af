"""Products of int8 are exact: on x86 CPUs without VNNI, ONNX Runtime lets them overflow unless it is told otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from graphs.files.weights import save_graphs
from graphs.quantization.quantize_rows import QuantizeRowsPass
from graphs.quantization.quantized import Quantization
from poolfold.sessions.int8_products import exact_products
from poolfold.sessions.ort import OnnxRuntimeSession
from tests.graphs.build import FLOAT, INT64, GraphBuilder

CHANNELS, COLUMNS = 512, 8


def test_products_of_the_largest_numbers_do_not_overflow(tmp_path: Path) -> None:
    build = GraphBuilder()
    ids, mask = (build.input(name, INT64, "batch", "seq") for name in ("input_ids", "attention_mask"))
    axis = build.constant("axis", [1], np.int64)
    of_row = build.op("ReduceMax", build.op("Mul", ids, mask), axis, keepdims=0)
    rows = build.op("Gather", build.constant("table", np.ones((4, CHANNELS))), of_row)
    rows.type, rows.shape = ir.TensorType(FLOAT), ir.Shape(["batch", CHANNELS])
    weight = build.constant("weight", np.ones((CHANNELS, COLUMNS)))
    product = build.op("MatMul", rows, weight, name="sentence_embedding")
    product.type, product.shape = ir.TensorType(FLOAT), ir.Shape(["batch", COLUMNS])
    model = build.model(product)
    QuantizeRowsPass(Quantization())(model)
    save_graphs({tmp_path / "graph.onnx": model}, tmp_path / "weights.bin")
    ones = np.ones((5, 1), np.int64)
    got = OnnxRuntimeSession(tmp_path / "graph.onnx", threads=1).run(ones, ones)
    np.testing.assert_allclose(got, CHANNELS, rtol=1e-5)


@pytest.mark.parametrize(
    ("flags", "value"),
    [("fpu avx2 fma", "1"), ("avx2 avx512f avx512_vnni", "0"), ("avx2 avx_vnni", "0"), ("avx2 avx512_vnni2", "1")],
)
def test_only_a_cpu_with_vnni_needs_no_telling(tmp_path: Path, flags: str, value: str) -> None:
    """Asked for exact products there, ONNX Runtime would take slower kernels."""
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: A CPU\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    assert exact_products(tmp_path / "cpuinfo") == value


def test_where_the_system_does_not_say_products_are_exact(tmp_path: Path) -> None:
    (tmp_path / "arm").write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert exact_products(tmp_path / "arm") == exact_products(tmp_path / "nowhere") == "1"
