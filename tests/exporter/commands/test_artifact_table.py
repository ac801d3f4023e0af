"""The table of an artifact, cell by cell, and its JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter.commands.artifact_table import as_json, print_table
from exporter.host.console import Console
from poolfold.manifest import Executor, Latency, Manifest, Parity, ParityCheck
from tests.artifacts import write_artifact

HEADER = ["strategy", "dtype", "runs on", "trained", "checked", "cosine >=", "top-10"]


def parity(strategy: str, dtype: str, cosine: float, neighbours: float, executor: str = "onnxruntime cpu") -> Parity:
    values = {"cosine": cosine, "neighbours": neighbours}
    return Parity(
        strategy, dtype, executor, Executor.parse(executor), reference="PyTorch", passed=True, texts=3, worst=(),
        checks={name: ParityCheck(value, limit=None, passed=True) for name, value in values.items()},
    )  # fmt: skip


def latency(dtype: str, runtime: str, workload: str, median_ms: float, speedup: float, mib: float | None) -> Latency:
    return Latency(
        "mean", dtype, runtime, workload, threads=3, median_ms=median_ms, q1_ms=median_ms, q3_ms=median_ms,
        speedup=speedup, sentences_per_s=1.0, tokens_per_s=1.0, increase_mib=mib,
    )  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    checks = (
        parity("mean", "fp32", 0.99999991, 1.0),
        parity("mean", "fp16", 0.9999, 1.0),
        parity("mean", "fp16", 0.9995, 0.995, "fp16 rehearsal on onnxruntime cpu"),
    )
    return write_artifact(tmp_path / "a", strategies=("mean", "cls"), dtypes=("fp32", "fp16"), parity=checks)


def table(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> tuple[list[list[str]], str]:
    """The header and the rows, cells apart, and all that was printed."""
    print_table(manifest, Path("out"), Console())
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.strip()]
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == ["strategy"])
    body = [line for line in lines[start + 2 :] if line.startswith(" ")]
    return [re.split(r"\s{2,}", line.strip()) for line in [lines[start], *body]], out


def test_a_row_for_each_graph(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    (header, *rows), out = table(manifest, capsys)
    assert header == HEADER
    assert rows == [
        ["mean", "fp32", "onnxruntime", "yes", "validated", "0.9999999", "1.000"],
        ["mean", "fp16", "onnxruntime", "yes", "validated", "0.9995000", "0.995"],
        ["cls", "fp32", "onnxruntime", "no", "validated", "-", "-"],
        ["cls", "fp16", "onnxruntime", "no", "validated", "-", "-"],
    ]
    assert "out: table, 0 layers, 8 dimensions" in out
    assert "Milliseconds" not in out


def test_an_engine_is_built_and_has_no_vectors(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    with_engine = write_engines(manifest)
    (_, *rows), out = table(with_engine, capsys)
    assert rows[2] == ["mean", "fp16", "tensorrt-rtx", "yes", "built, 5/6 attention fused"]
    assert "its vectors have not been checked" in out
    assert "its vectors have not been checked" not in table(manifest, capsys)[1]


def test_an_engine_that_ran_here_has_figures_of_its_own(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    fields: dict[str, Any] = msgspec.to_builtins(write_engines(manifest))
    ran = fields["engines"][0] | {"path": "onnx/mean_fp32.onnx", "target": "openvino", "status": "validated"}
    fields["engines"] = [*fields["engines"], ran | {"dtype": "fp32"}, ran | {"dtype": "bf16"}]
    parities = (
        *manifest.parity,
        parity("mean", "fp32", 0.9999998, 1.0, "openvino cpu"),
        parity("mean", "bf16", 0.9996, 0.99, "openvino cpu"),
    )
    latencies = (
        latency("fp32", "onnxruntime", "1x128", 10.0, 2.0, 95.0),
        latency("bf16", "openvino", "1x128", 5.0, 4.0, 80.0),
    )
    ran_here = msgspec.structs.replace(msgspec.convert(fields, Manifest), parity=parities, latency=latencies)
    (_, *rows), out = table(ran_here, capsys)
    said = "validated, 5/6 attention fused"
    assert rows[1] == ["mean", "fp32", "onnxruntime", "yes", "validated", "0.9999999", "1.000", "10.0 (2.00x)", "95"]
    assert rows[3:6] == [
        ["mean", "fp16", "tensorrt-rtx", "yes", "built, 5/6 attention fused"],
        ["mean", "fp32", "openvino", "yes", said, "0.9999998", "1.000", "-", "-"],
        ["mean", "bf16", "openvino", "yes", said, "0.9996000", "0.990", "5.0 (4.00x)", "80"],
    ]
    assert "bf16 is how OpenVINO executes the fp32 graph" in out
    assert "OpenVINO" not in table(manifest, capsys)[1]


def write_engines(manifest: Manifest) -> Manifest:
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    fields["engines"] = [
        {
            "path": "engines/a.engine", "target": "tensorrt-rtx", "strategy": "mean", "dtype": "fp16",
            "status": "built", "graph": "onnx/mean_fp16.onnx", "form": "plain",
            "library": "tensorrt-rtx", "library_version": "1.7",
            "compute_capabilities": ["8.9"], "version_compatible": False, "hardware_compatibility": "none",
            "stripped": False, "contents": None, "profiles": [], "attention_layers": 6, "attention_fused": 5,
            "build_seconds": 1.0, "warnings": [],
        }
    ]  # fmt: skip
    return msgspec.convert(fields, Manifest)


def test_latency_stands_beside_pytorchs(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (
        latency("fp32", "pytorch", "1x128", 20.0, 1.0, 130.0),
        latency("fp32", "pytorch", "32x128", 400.0, 1.0, 130.0),
        latency("fp32", "onnxruntime", "1x128", 10.04, 1.996, 95.4),
        latency("fp32", "onnxruntime", "1x7", 1.0, 9.0, 95.4),
        latency("fp16", "onnxruntime", "1x128", 30.0, 0.5, None),
    )
    (header, *found), out = table(msgspec.structs.replace(manifest, latency=rows), capsys)
    assert header == [*HEADER, "1x128", "32x128", "MiB"]
    assert found[:3] == [
        ["mean", "fp32", "pytorch", "yes", "reference", "20.0 (1.00x)", "400.0 (1.00x)", "130"],
        ["mean", "fp32", "onnxruntime", "yes", "validated", "0.9999999", "1.000", "10.0 (2.00x)", "-", "95"],
        ["mean", "fp16", "onnxruntime", "yes", "validated", "0.9995000", "0.995", "30.0 (0.50x)", "-", "-"],
    ]
    assert found[3] == ["cls", "fp32", "pytorch", "no", "reference", "-", "-", "-"]
    assert "3 threads, median" in out


def test_fp16_on_a_cpu_is_explained_where_there_is_any(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "rehearsal" in table(manifest, capsys)[1]
    assert "rehearsal" not in table(write_artifact(tmp_path / "b"), capsys)[1]


def test_json_is_the_manifest_without_its_files(manifest: Manifest) -> None:
    fields = as_json(manifest, Path("out"))
    expected = msgspec.to_builtins(manifest)
    del expected["files"]
    assert fields == {"directory": "out", **expected}
