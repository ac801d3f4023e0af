"""What a run takes, read from a graph: its widths, how attention is written, and its masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
import onnx_ir as ir
import pytest

from exporter.pipeline.run_memory import run_memory
from exporter.spec.model import ModelSpec
from poolfold.manifest import Graph, RunMemory
from tests.graphs.build import FLOAT, GraphBuilder

HIDDEN, HEADS = 16, 4


@dataclass
class Sizes:
    """The part of a ModelSpec that counts here."""

    hidden_size: int = HIDDEN
    heads: int = HEADS


def encoder(*, mask: tuple[int | str, ...] | None = None, wide: str = "MatMul") -> ir.Model:
    """Attention of 4 heads, and a layer that is 40 values wide; MatMul, Gemm, or two experts of 20."""
    build = GraphBuilder()
    hidden = build.input("hidden", FLOAT, "batch", "seq", HIDDEN)
    inputs = [hidden, hidden, hidden]
    if mask is not None:
        inputs.append(build.input("mask", FLOAT, *mask))
    attended = build.op("Attention", *inputs, q_num_heads=HEADS, kv_num_heads=HEADS)
    match wide:
        case "Gemm":
            result = build.op("Gemm", attended, build.constant("w", np.ones((40, HIDDEN))), transB=1)
        case "experts":
            result = build.op("MatMul", attended, build.constant("w", np.ones((2, HIDDEN, 20))))
        case _:
            result = build.op("MatMul", attended, build.constant("w", np.ones((HIDDEN, 40))))
    build.op("MatMul", hidden, attended)  # no weight in it
    return build.model(result)


def of(model: ir.Model, layers: int = 1, ops: int = 1) -> RunMemory:
    graph = msgspec.structs.replace(cast("Graph", _GRAPH), attention_layers=layers, attention_ops=ops)
    return run_memory(cast("ModelSpec", Sizes()), model, graph)


_GRAPH: Any = Graph(
    path="onnx/mean_fp32.onnx", weights=None, strategy="mean", dtype="fp32", inputs=(), output="", opset=23, nodes=3,
    attention_layers=1, attention_ops=1, kept_fp32=(), padding_free=None, packed=None, passes={}, status="built",
)  # fmt: skip


@pytest.mark.parametrize("wide", ["MatMul", "Gemm", "experts"])
def test_the_widest_product_counts_with_all_its_experts(wide: str) -> None:
    assert of(encoder(wide=wide)).token_bytes == 4 * (10 * HIDDEN + 4 * 40)


def test_scores_are_there_once_where_attention_is_one_operator_and_three_times_where_it_is_several() -> None:
    assert of(encoder()).score_bytes == 4 * HEADS
    assert of(encoder(), layers=2, ops=1).score_bytes == 3 * 4 * HEADS


@pytest.mark.parametrize(
    ("mask", "taken"),
    [(None, 0), (("batch", 1, 1, "seq"), 0), (("batch", 1, "seq", "seq"), 8), (("seq", "seq"), 8)],
)
def test_a_mask_counts_where_it_has_a_value_for_each_pair(mask: tuple[int | str, ...] | None, taken: int) -> None:
    assert of(encoder(mask=mask)).mask_bytes == taken


def test_of_slices_a_run_holds_one() -> None:
    sliced = msgspec.structs.replace(cast("Graph", _GRAPH), sliced={_GRAPH.path: "onnx/mean_fp32_sliced.onnx"})
    memory = run_memory(cast("ModelSpec", Sizes()), encoder(), sliced)
    assert (memory.whole_up_to, memory.slice) == (512, 256)
    pair, token = memory.score_bytes + memory.mask_bytes, memory.token_bytes
    assert memory.bytes_of(2, 512) == 2 * 512 * (token + 512 * pair)
    assert memory.bytes_of(2, 513) == 2 * (513 * token + 256 * 513 * pair)
    assert memory.bytes_of(2, 8192, behind=8) == 2 * (8192 * token + 256 * 8200 * pair)
    decomposed = msgspec.structs.replace(sliced, attention_layers=2)
    assert run_memory(cast("ModelSpec", Sizes()), encoder(), decomposed).slice == 0
