"""An artifact as tables for people and as one object for scripts. Reads the manifest only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from exporter.host.console import Console
from exporter.spec.origin import BASELINES, CHECKPOINT
from poolfold.manifest import Manifest, PaddingFree, Strategy
from poolfold.sessions.by_padding import FASTER_BELOW

_SHOWN = ("1x128", "32x128", "32x128 ragged")
"""Workloads in the table; reports/latency.json has them all."""


def print_graphs(manifest: Manifest, console: Console) -> None:
    """One row for each graph: how many nodes, which attention, and what the optimisations did to it."""
    rows = []
    for graph in manifest.graphs:
        free = graph.padding_free
        below = "-" if free is None else _faster_below(free)
        attention = f"{graph.attention_ops} of {graph.attention_layers}"
        nodes = str(graph.nodes) if free is None else f"{graph.nodes}, {free.nodes}"
        rows.append([graph.strategy, graph.dtype, nodes, attention, below])
    header = ("strategy", "dtype", "nodes, padding-free", "attention in one operator", "padding-free at real tokens")
    console.table("Graphs", header, rows)
    for strategy in manifest.strategies:
        graph = next(g for g in manifest.graphs if g.strategy == strategy.name)
        for name, note in graph.passes.items():
            console.line(f"{strategy.name}, {name}: {note}")


def print_engines(manifest: Manifest, console: Console) -> None:
    """One row for each engine that is a file: what it takes, and what its library says is inside."""
    rows = []
    for engine in manifest.engines:
        if engine.contents is not None:
            inside = engine.contents
            precisions = ", ".join(f"{name} {count}" for name, count in inside.precisions.items())
            memory = "-" if not inside.device_memory else "/".join(f"{b / 2**20:.0f}" for b in inside.device_memory)
            runs_on = engine.target if engine.form == "plain" else f"{engine.target} {engine.form}"
            kernels = f"{inside.layers}: {precisions}"
            fused = f"{engine.attention_fused} of {engine.attention_layers}"
            seconds, kept = f"{engine.build_seconds:.1f}", str(inside.fp32_kept)
            rows.append([engine.strategy, engine.dtype, runs_on, kernels, kept, fused, memory, seconds])
    if not rows:
        return
    header = ("strategy", "dtype", "engine", "kernels", "nodes kept fp32", "attention fused", "MiB a run", "built in s")
    console.table("Engines", header, rows)
    for target in dict.fromkeys(engine.target for engine in manifest.engines if engine.profiles):
        profiles = next(e.profiles for e in manifest.engines if e.target == target)
        for profile in profiles:
            batch, seq = profile.batch, profile.seq_len
            share = "" if profile.share is None else f": {profile.share:.0%} of the texts"
            console.line(
                f"{target} takes {batch.min} to {batch.max} texts of {seq.min} to {seq.max} tokens, tuned for "
                f"{batch.opt} x {seq.opt}{share}"
            )
        shares = [profile.share for profile in profiles if profile.share is not None]
        if shares and sum(shares) < 1 - 1e-9:
            console.line(f"{target} takes no longer texts: {1 - sum(shares):.0%} of them are longer than every profile")


def _faster_below(free: PaddingFree) -> str:
    measured = ", ".join(f"{target} below {share:.0%}" for target, share in free.faster_below.items())
    return measured or f"below {FASTER_BELOW:.0%} (not measured)"


def as_json(manifest: Manifest, directory: Path) -> Mapping[str, Any]:
    """The manifest without its list of files, and where it lies."""
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    del fields["files"]
    return {"directory": str(directory), **fields}


def print_table(manifest: Manifest, directory: Path, console: Console) -> None:
    """One row for each graph and engine, and one for each model they were measured against."""
    workloads = [name for name in _SHOWN if any(row.workload == name for row in manifest.latency)]
    header = ["strategy", "dtype", "runs on", "trained", "checked", "cosine >=", "top-10", *_latency_header(workloads)]
    rows: list[list[str]] = []
    for strategy in manifest.strategies:
        rows += _strategy_rows(manifest, strategy, workloads)
    model = manifest.model
    dims = "/".join(str(dim) for dim in dict.fromkeys(strategy.dim for strategy in manifest.strategies))
    console.table(f"{directory}: {model.model_type}, {model.num_layers} layers, {dims} dimensions", header, rows)
    if manifest.latency:
        console.line(
            f"Milliseconds for batch x tokens, {manifest.latency[0].threads} threads, median; (x) is "
            f"{BASELINES[_baseline(manifest)]} time over this one's, interleaved in one run. MiB: what model and "
            "largest batch add to the process."
        )
    for line in _remarks(manifest):
        console.line(line)


def _strategy_rows(manifest: Manifest, strategy: Strategy, workloads: Sequence[str]) -> list[list[str]]:
    """The model itself where it was measured, then the graphs, then the engines."""
    name, trained = strategy.name, "yes" if strategy.trained else "no"
    rows = []
    if manifest.latency:
        cells = _latency_cells(manifest, name, "fp32", _baseline(manifest), workloads)
        rows.append([name, "fp32", _baseline(manifest), trained, "reference", "", "", *cells])
    for graph in (g for g in manifest.graphs if g.strategy == name):
        parity = _parity_cells(manifest, name, graph.dtype, "onnxruntime")
        cells = _latency_cells(manifest, name, graph.dtype, "onnxruntime", workloads)
        rows.append([name, graph.dtype, "onnxruntime", trained, graph.status, *parity, *cells])
    for engine in (e for e in manifest.engines if e.strategy == name):
        fused = f"{engine.status}, {engine.attention_fused}/{engine.attention_layers} attention fused"
        parity = _parity_cells(manifest, name, engine.dtype, engine.target)
        cells = _latency_cells(manifest, name, engine.dtype, engine.target, workloads)
        never_ran = [""] * len([*parity, *cells])
        measured = never_ran if engine.status == "built" else [*parity, *cells]
        runs_on = engine.target if engine.form == "plain" else f"{engine.target} {engine.form}"
        rows.append([name, engine.dtype, runs_on, trained, fused, *measured])
    return rows


def _baseline(manifest: Manifest) -> str:
    """The runtime that others are compared with."""
    return next((row.runtime for row in manifest.latency if row.runtime in BASELINES), CHECKPOINT.baseline)


def _latency_header(workloads: Sequence[str]) -> list[str]:
    return [*workloads, "MiB"] if workloads else []


def _latency_cells(manifest: Manifest, strategy: str, dtype: str, runtime: str, workloads: Sequence[str]) -> list[str]:
    rows = {
        row.workload: row
        for row in manifest.latency
        if (row.strategy, row.dtype, row.runtime) == (strategy, dtype, runtime)
    }
    if not workloads:
        return []
    cells = [f"{rows[w].median_ms:.1f} ({rows[w].speedup:.2f}x)" if w in rows else "-" for w in workloads]
    memory = next((row.increase_mib for row in rows.values()), None)
    return [*cells, "-" if memory is None else f"{memory:.0f}"]


def _parity_cells(manifest: Manifest, strategy: str, dtype: str, target: str) -> list[str]:
    """The worse of a graph's own figures and its rehearsal's, on a target."""
    checks = [
        row.checks
        for row in manifest.parity
        if (row.strategy, row.dtype, row.ran_on.target) == (strategy, dtype, target)
    ]
    if not checks:
        return ["-", "-"]
    cosine = min(entry["cosine"].value for entry in checks)
    neighbours = min(entry["neighbours"].value for entry in checks)
    return [f"{cosine:.7f}", f"{neighbours:.3f}"]


def _remarks(manifest: Manifest) -> list[str]:
    """Remarks below the table: how to read what it shows."""
    lines = []
    if any(graph.dtype == "fp16" for graph in manifest.graphs):
        lines.append(
            "fp16 is also checked on its rehearsal, the graph in fp32 with every fp16 tensor rounded; the smaller "
            "figure is shown. ONNX Runtime's CPU provider computes fp16 mostly in fp32: its times say nothing of a GPU."
        )
    if any(engine.dtype == "bf16" for engine in manifest.engines):
        lines.append("bf16 is how OpenVINO executes the fp32 graph on this CPU; no graph is stored in it.")
    if any(engine.status == "built" for engine in manifest.engines):
        lines.append("built: made for its target, and not run on this machine; its vectors have not been checked.")
    return lines
