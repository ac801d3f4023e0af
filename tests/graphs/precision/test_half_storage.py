"""Weights in 16 bits: only where every value survives, and then every value that a node reads is the same bits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from graphs.files.weights import load_graph, save_graphs
from graphs.precision import half_storage
from graphs.precision.half_storage import HalfStoragePass
from tests.graphs.build import FLOAT, INT64, GraphBuilder, ops, run

ROWS, WIDTH = 96, 256
BF16, FP16 = ir.DataType.BFLOAT16, ir.DataType.FLOAT16
IDS = np.array([[0, 5, 95], [7, 7, 1]])


def values(dtype: ir.DataType, *shape: int, seed: int = 0) -> np.ndarray:
    """Random values of a dtype, as fp32; the smallest and largest of it, and a negative zero, among them."""
    array = np.random.default_rng(seed).normal(size=shape or (ROWS, WIDTH)).astype(np.float32)
    array.flat[:3] = (-0.0, 1e-7, 60000.0) if dtype == FP16 else (-0.0, 1e-39, 3e38)
    return array.astype(dtype.numpy()).astype(np.float32)


def model(table: np.ndarray, weight: np.ndarray) -> ir.Model:
    build = GraphBuilder()
    looked_up = build.op("Gather", build.constant("table", table), build.input("ids", INT64, "batch", "seq"))
    product = build.op("MatMul", looked_up, build.constant("weight", weight))
    return build.model(looked_up, product)


def stored(graph: ir.Model) -> dict[str, ir.DataType]:
    return {name: value.dtype for name, value in graph.graph.initializers.items()}


def same_bits(before: ir.Model, after: ir.Model) -> None:
    assert [value.name for value in before.graph.outputs] == [value.name for value in after.graph.outputs]
    for a, b in zip(run(before, {"ids": IDS}), run(after, {"ids": IDS}), strict=True):
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


@pytest.mark.parametrize("dtype", [BF16, FP16])
def test_a_table_is_widened_behind_its_gather_and_a_weight_before_its_product(dtype: ir.DataType) -> None:
    before = model(values(dtype) / 2**4 * 2**4, values(dtype, WIDTH, 128, seed=1).clip(-2, 2))
    after = before.clone()
    assert HalfStoragePass({})(after).modified
    assert stored(after) == {"table": dtype, "weight": dtype}
    assert sorted(ops(after)) == ["Cast", "Cast", "Gather", "MatMul"]
    (gather,) = (node for node in after.graph if node.op_type == "Gather")
    assert gather.inputs[0].name == "table"
    same_bits(before, after)
    for name, value in after.graph.initializers.items():
        wide = before.graph.initializers[name].const_value.numpy()
        np.testing.assert_array_equal(
            value.const_value.numpy().astype(np.float32).view(np.uint32), wide.view(np.uint32)
        )


@pytest.mark.parametrize(
    ("dtype", "odd"),
    [(BF16, 1.0), (BF16, 1e-39), (BF16, 3e38), (FP16, 1.0), (FP16, 6e-8), (FP16, 65504), (FP16, np.nan)],
)
def test_one_value_that_would_round_keeps_its_weight_fp32(
    dtype: ir.DataType, odd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it lies: the values are looked at in pieces."""
    monkeypatch.setattr(half_storage, "_PIECE", 1000)
    table = values(dtype)
    table.flat[-1] = np.nextafter(np.float32(odd), np.float32(np.inf))
    after = model(table, values(dtype, WIDTH, 128, seed=1))
    HalfStoragePass({})(after)
    assert stored(after) == {"table": ir.DataType.FLOAT, "weight": dtype}


def test_small_weights_and_other_dtypes_stay() -> None:
    after = model(values(BF16, 8, WIDTH), values(BF16, WIDTH, 8))
    assert not HalfStoragePass({})(after).modified
    assert sorted(ops(after)) == ["Gather", "MatMul"]


def test_a_table_that_is_multiplied_too_and_a_transposed_weight() -> None:
    build = GraphBuilder()
    table = build.constant("table", values(BF16).clip(-2, 2))
    looked_up = build.op("Gather", table, build.input("ids", INT64, "batch", "seq"))
    view = values(BF16, WIDTH, ROWS, seed=1).T
    transposed = ir.Value(
        name="t", type=ir.TensorType(FLOAT), shape=ir.Shape(view.shape), const_value=ir.tensor(view, name="t")
    )
    build.constants.append(transposed)
    before = build.model(
        build.op("MatMul", looked_up, build.op("Add", build.op("Transpose", table), build.op("Transpose", transposed)))
    )
    after = before.clone()
    HalfStoragePass({})(after)
    assert stored(after) == {"table": BF16, "t": BF16}
    assert [node.inputs[0].name for node in after.graph if node.op_type == "Gather"] == ["table"]
    assert ops(after).count("Cast") == 3
    same_bits(before, after)


def test_graphs_that_share_a_weight_store_it_once_and_no_second_time_in_fp32(tmp_path) -> None:
    first = model(values(BF16), values(BF16, WIDTH, 128, seed=1))
    second, shared = first.clone(), {}
    for graph in (first, second):
        HalfStoragePass(shared)(graph)
    paths = tmp_path / "a.onnx", tmp_path / "b.onnx"
    save_graphs(dict(zip(paths, (first, second), strict=True)), tmp_path / "w")
    assert (tmp_path / "w").stat().st_size == 2 * WIDTH * (ROWS + 128)
    for path in paths:
        np.testing.assert_array_equal(
            load_graph(path).graph.initializers["table"].const_value.numpy().astype(np.float32), values(BF16)
        )


def test_a_second_run_finds_nothing_more() -> None:
    graph = model(values(BF16), values(BF16, WIDTH, 128))
    assert HalfStoragePass({})(graph).modified
    assert not HalfStoragePass({})(graph).modified
