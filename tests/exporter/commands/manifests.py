"""Manifests with what an artifact's tables show: many candidates, times, disturbances, what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from poolfold.manifest import Executor, Latency, Manifest, Parity, ParityCheck
from tests.artifacts import model_values, text_values, write_artifact

WORKLOADS = ("1x16", "1x128", "1x256", "32x16", "32x128", "32x128 ragged", "32x256")
STRATEGIES = ("mean", "cls")


def parity(strategy: str, dtype: str, cosine: float, neighbours: float, executor: str = "onnxruntime cpu") -> Parity:
    values = {"cosine": cosine, "neighbours": neighbours}
    return Parity(
        strategy, dtype, executor, Executor.parse(executor), reference="PyTorch", passed=True, texts=84, worst=(),
        checks={name: ParityCheck(value, limit=None, passed=True) for name, value in values.items()},
    )  # fmt: skip


def latency(
    dtype: str, runtime: str, workload: str, median_ms: float, speedup: float, mib: float | None,
    *, strategy: str = "mean", disturbed: bool = False,
) -> Latency:  # fmt: skip
    return Latency(
        strategy, dtype, runtime, workload, threads=3, median_ms=median_ms, q1_ms=median_ms, q3_ms=median_ms,
        speedup=speedup, sentences_per_s=1.0, tokens_per_s=1.0, increase_mib=mib, disturbed=disturbed,
    )  # fmt: skip


def engine(strategy: str, dtype: str, target: str, **changes: Any) -> dict[str, Any]:
    """An engine that was built, as JSON has it."""
    return {
        "path": f"engines/{strategy}_{dtype}.engine", "target": target, "strategy": strategy, "dtype": dtype,
        "status": "built", "graph": f"onnx/{strategy}_{dtype}.onnx", "form": "plain",
        "library": target, "library_version": "1.7", "compute_capabilities": ["8.9", "12.0"],
        "version_compatible": False, "hardware_compatibility": "none", "stripped": False,
        "contents": {"layers": 67, "precisions": {"float": 2, "half": 64}, "fp32_kept": 9, "device_memory": []},
        "profiles": [{"batch": {"min": 1, "opt": 8, "max": 64}, "seq_len": {"min": 1, "opt": 128, "max": 256}}],
        "attention_layers": 6, "attention_fused": 6, "build_seconds": 1.25, "warnings": [],
    } | changes  # fmt: skip


def with_engines(manifest: Manifest, *engines: dict[str, Any]) -> Manifest:
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    return msgspec.convert(fields | {"engines": engines}, Manifest)


def demo(folder: Path) -> Manifest:
    """As `make demo` makes it: two strategies, two precisions, two targets, everything measured."""
    times = (5.8, 19.31, 31.2, 46.14, 371.4, 371.9, 855.2)
    rows = [
        latency(dtype, runtime, workload, time / speedup, speedup, 430.4, strategy=strategy)
        for strategy in STRATEGIES
        for dtype, runtime, speedup in (
            ("fp32", "pytorch", 1.0), ("fp32", "onnxruntime", 1.4), ("fp16", "onnxruntime", 0.88),
        )
        for workload, time in zip(WORKLOADS, times, strict=True)
    ]  # fmt: skip
    engines = [
        engine(strategy, "fp16", "tensorrt-rtx", form=form) for strategy in STRATEGIES for form in ("plain", "packed")
    ]
    return with_engines(_with_rows(folder, ("fp32", "fp16"), rows), *engines)


def everything(folder: Path) -> Manifest:
    """Ten candidates and more: OpenVINO, bf16, several profiles, long names, a busy machine, a workload left out."""
    names = ("mean_sqrt_len_tokens", "cls+lasttoken")
    plain = msgspec.json.decode(msgspec.json.encode(demo(folder)))
    text = msgspec.json.encode(plain).decode().replace('"mean"', f'"{names[0]}"').replace('"cls"', f'"{names[1]}"')
    manifest = msgspec.json.decode(text, type=Manifest)
    shapes = [
        {"batch": {"min": 1, "opt": 8, "max": 64}, "seq_len": {"min": 1, "opt": n, "max": n}, "share": share}
        for n, share in ((64, 0.75), (256, 0.2))
    ]
    engines = [
        engine(name, *what, **changes)
        for name in names
        for what, changes in (
            (("fp16", "tensorrt-rtx"), {"profiles": shapes}),
            (("fp16", "tensorrt"), {"profiles": shapes}),
            (("fp32", "openvino"), {"status": "validated", "contents": None, "profiles": []}),
            (("bf16", "openvino"), {"status": "validated", "contents": None, "profiles": []}),
        )
    ]
    own = [
        parity(name, dtype, 0.9999876, 0.9981, "openvino cpu") for name in names for dtype in ("fp32", "bf16")
    ] + list(manifest.parity)  # fmt: skip
    rows = [
        msgspec.structs.replace(row, disturbed=row.workload in ("1x128", "1x16") and row.runtime != "pytorch")
        for row in manifest.latency
        if row.workload != "32x256" and (row.workload, row.dtype) != ("32x128 ragged", "fp16")
    ]
    reasons = {"32x256": "it would have taken 74 s of 60", "padding": "the budget was spent before it"}
    made = msgspec.structs.replace(manifest, parity=tuple(own), latency=tuple(rows), latency_left_out=reasons)
    return with_engines(made, *engines)


def unmeasured(folder: Path) -> Manifest:
    """An artifact whose latency stage was left out, of a model that does not say how it was trained."""
    manifest = write_artifact(folder, parity=(parity("mean", "fp32", 0.99999991, 1.0),))
    model = model_values(trained_strategy=None, num_layers=1, source="org/a-model-with-a-long-name-of-many-words-v2.5")
    return msgspec.structs.replace(manifest, model=model, latency_left_out={"latency": "--skip-latency was given"})


def _with_rows(folder: Path, dtypes: Sequence[str], rows: Sequence[Latency]) -> Manifest:
    checks = [
        parity(strategy, dtype, cosine, 1.0, executor)
        for strategy in STRATEGIES
        for dtype, cosine, executor in (
            ("fp32", 0.9999999, "onnxruntime cpu"), ("fp16", 0.9999951, "onnxruntime cpu"),
            ("fp16", 0.9999874, "fp16 rehearsal on onnxruntime cpu"),
        )
    ]  # fmt: skip
    model = model_values(
        source="all-MiniLM-L6-v2", model_type="bert", num_layers=6, text=text_values(max_seq_length=256)
    )
    manifest = write_artifact(folder, strategies=STRATEGIES, dtypes=dtypes, parity=checks, model=model)
    return msgspec.structs.replace(manifest, latency=tuple(rows))
