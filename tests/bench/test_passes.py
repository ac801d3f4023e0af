"""docs/passes.md shows what `bench.passes` kept, and the merge that was tried gives the same vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench.merged_qkv import merge_qkv
from bench.passes import table
from graphs.encoder.cleanup import cleanup
from tests.graphs.build import FLOAT, GraphBuilder, ops, run

ROOT = Path(__file__).parents[2]


def test_the_page_holds_the_table_of_the_kept_result() -> None:
    kept = json.loads((ROOT / "bench" / "results" / "passes.json").read_text())
    page = (ROOT / "docs" / "passes.md").read_text()
    assert page.split("<!-- bench/passes -->\n")[1].split("\n<!-- /bench/passes -->")[0] == table(kept)


def test_the_merged_product_gives_the_same_three() -> None:
    build, rng = GraphBuilder(), np.random.default_rng(0)
    hidden = build.input("hidden", FLOAT, "batch", "seq", 8)
    outputs = []
    for name in "qkv":
        weight, bias = (
            build.constant(f"w{name}", rng.normal(size=(8, 8))),
            build.constant(f"b{name}", rng.normal(size=8)),
        )
        outputs.append(build.op("Neg", build.op("Add", build.op("MatMul", hidden, weight), bias), name=name))
    model = build.model(*outputs)
    cleanup(model)
    feeds = {"hidden": rng.normal(size=(2, 3, 8)).astype(np.float32)}
    before = run(model, feeds)
    assert merge_qkv(model) == 1
    assert ops(model).count("MatMul") == 1
    for old, new in zip(before, run(model, feeds), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


def test_two_products_are_not_three() -> None:
    build = GraphBuilder()
    hidden = build.input("hidden", FLOAT, "batch", "seq", 8)
    outputs = [
        build.op(
            "Add", build.op("MatMul", hidden, build.constant(f"w{i}", np.eye(8))), build.constant(f"b{i}", [1.0] * 8)
        )
        for i in range(2)
    ]
    model = build.model(*outputs)
    cleanup(model)
    assert merge_qkv(model) == 0
