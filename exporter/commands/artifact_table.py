"""An artifact's candidates as a table for people, and all of it as one object for scripts. Reads the manifest only."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from exporter.host.console import Console, count
from exporter.spec.options import LATENCY, PADDING
from exporter.spec.origin import BASELINES, CHECKPOINT
from poolfold.manifest import Engine, Latency, Manifest, Parity, Quantized, Strategy
from poolfold.sessions.targets import has_engine_files

_MOST_TOLD = ("1x128", "32x128", "32x128 ragged")
"""Workloads that a narrow table has before others: they are what most texts look like."""
DISTURBED = (
    "(1.40x?): disturbed by other programs, so that neither time nor ratio is a finding. Measure again with "
    "`poolfold bench` when the machine is idle."
)
"""What the mark behind a ratio means."""
_STAGES = {LATENCY: "Latency and memory", PADDING: "Where the padding-free form is faster"}


def as_json(manifest: Manifest, directory: Path) -> Mapping[str, Any]:
    """The manifest without its list of files, and where it lies."""
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    del fields["files"]
    return {"directory": str(directory), **fields}


def print_table(manifest: Manifest, directory: Path, console: Console) -> None:
    """One row for each candidate, and one for each model they were measured against; below it what the words mean."""
    workloads = list(dict.fromkeys(row.workload for row in manifest.latency))
    header = ["strategy", "dtype", "target", "status", "cosine\nat least", "top-10\nshared"]
    header += [f"{name}\nms (ratio)" for name in workloads]
    header += ["memory\nMiB"] * bool(workloads)
    rows = [row for strategy in manifest.strategies for row in _strategy_rows(manifest, strategy, workloads)]
    by_need = [name for name in _MOST_TOLD if name in workloads] + [w for w in workloads if w not in _MOST_TOLD]
    shapes = [f"{name} ms (ratio)" for name in by_need]
    most_needed = [*shapes[:3], "memory MiB", "top-10 shared", *shapes[3:]]
    # The first workload stays whatever the width: a time without its ratio says little, and none nothing.
    left_out = console.table(_title(manifest, directory), header, rows, gives_way=most_needed[:0:-1])
    for line in ("", *_how_to_read(manifest, left_out), *_missing(manifest, left_out)):
        console.note(line)


def _title(manifest: Manifest, directory: Path) -> str:
    model = manifest.model
    dims = " or ".join(str(dim) for dim in dict.fromkeys(strategy.dim for strategy in manifest.strategies))
    up_to, limit = manifest.validated_up_to, model.text.max_seq_length
    tokens = f"up to {limit} tokens" if manifest.unproven_from is None else f"validated up to {up_to} of {limit} tokens"
    return (
        f"{directory}: {model.source} ({model.model_type}, {count(model.num_layers, 'layer')}, {dims} dimensions, "
        f"{tokens})"
    )


def _strategy_rows(manifest: Manifest, strategy: Strategy, workloads: Sequence[str]) -> list[list[str]]:
    """The model itself where it was measured, then the graphs, then the engines."""
    name, baseline = strategy.name, _baseline(manifest)
    candidates = [("fp32", baseline, "reference")] * bool(manifest.latency)
    own = [graph for graph in manifest.graphs if graph.strategy == name and graph.runs_on("onnxruntime")]
    candidates += [(graph.dtype, "onnxruntime", graph.status_on_cpu) for graph in own]
    engines: dict[tuple[str, str], list[Engine]] = {}
    for engine in manifest.engines:
        if engine.strategy == name:
            engines.setdefault((engine.dtype, engine.target), []).append(engine)
    # One candidate, whatever forms it has: the loader takes the right one for a batch.
    candidates += [(*key, "built" if _any_built(forms) else forms[0].status) for key, forms in engines.items()]
    rows = []
    for dtype, target, status in candidates:
        checks = _parity_cells(manifest.parity if status == "validated" else (), name, dtype, target)
        measured = [r for r in manifest.latency if (r.strategy, r.dtype, r.runtime) == (name, dtype, target)]
        rows.append([name, dtype, target, status, *checks, *_latency_cells(manifest, measured, workloads)])
    return rows


def _any_built(engines: Sequence[Engine]) -> bool:
    return any(engine.status == "built" for engine in engines)


def _baseline(manifest: Manifest) -> str:
    """The runtime that others are compared with."""
    return next((row.runtime for row in manifest.latency if row.runtime in BASELINES), CHECKPOINT.baseline)


def _latency_cells(manifest: Manifest, measured: Sequence[Latency], workloads: Sequence[str]) -> list[str]:
    """A time and a ratio for each workload, and the memory."""
    if not workloads:
        return []
    rows = {row.workload: row for row in measured}
    cells = []
    for name in workloads:
        marks = any(row.disturbed for row in manifest.latency if row.workload == name)
        row = rows.get(name)
        cells.append(
            "-" if row is None else f"{milliseconds(row.median_ms)} {ratio(row.speedup, row.disturbed, marks=marks)}"
        )
    memory = next((row.increase_mib for row in measured), None)
    return [*cells, "-" if memory is None else f"{memory:.0f}"]


def ratio(value: float, disturbed: bool, *, marks: bool) -> str:
    """A ratio, with a mark where it is no finding; `marks`: others of the column have one, and digits are aligned."""
    return f"({value:.2f}x?)" if disturbed else f"({value:.2f}x){' ' * marks}"


def milliseconds(value: float) -> str:
    """Three digits, and whole milliseconds from 100 on: more would be noise."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _parity_cells(parity: Sequence[Parity], strategy: str, dtype: str, target: str) -> list[str]:
    """The worse of a graph's own figures and its rehearsal's, on a target."""
    checks = [row.checks for row in parity if (row.strategy, row.dtype, row.ran_on.target) == (strategy, dtype, target)]
    if not checks:
        return ["-", "-"]
    cosine = min(entry["cosine"].value for entry in checks)
    neighbours = min(entry["neighbours"].value for entry in checks)
    return [at_least(cosine), f"{neighbours:.3f}"]


def at_least(cosine: float) -> str:
    """A cosine of the worst text: rounded down, but for what a double cannot tell apart."""
    return f"{math.floor(round(cosine * 1e7, 4)) / 1e7:.7f}"


def _how_to_read(manifest: Manifest, left_out: Sequence[str]) -> list[str]:
    """What the words of the table mean, as far as they are in it."""
    lines = [_about_strategies(manifest)]
    if manifest.parity:
        texts = count(max(row.texts for row in manifest.parity), "text")
        shared = (
            "" if "top-10 shared" in left_out else "; top-10: the share of its nearest neighbours that are the same"
        )
        lines.append(
            f"validated: gives the vectors of {manifest.parity[0].reference}; cosine: with these, of the worst of "
            f"{texts}{shared}."
        )
    if any(graph.dtype == "fp16" for graph in manifest.graphs):
        lines.append(
            "fp16: the smaller cosine of the graph and its rehearsal (fp32, with each fp16 tensor rounded). On a CPU "
            "ONNX Runtime computes fp16 mostly in fp32: its times say nothing of a GPU."
        )
    lines += _about_8_bits(manifest)
    if any(engine.dtype == "bf16" for engine in manifest.engines):
        lines.append("bf16: how OpenVINO executes the fp32 graph on this CPU; no graph is stored in it.")
    if _any_built(manifest.engines):
        lines.append("built: made for its target and not run here; its vectors have not been checked.")
    if manifest.folded_prompts:
        folded = ", ".join(f"{prompt.name} ({count(len(prompt.ids), 'token')})" for prompt in manifest.folded_prompts)
        lines.append(f"Prompts that need not be computed: {folded}.")
    if (graph := manifest.portable) is not None:
        lines.append(
            f"For other programs: {graph.path} ({graph.strategy}, fp32, {graph.status}), with the vectors of tokens."
        )
    if manifest.latency:
        ragged = " (ragged: of many lengths)" * any("ragged" in row.workload for row in manifest.latency)
        memory = "" if "memory MiB" in left_out else " MiB: what model and largest batch add to the process."
        lines.append(
            f"ms: to embed texts x tokens{ragged}, median, {count(manifest.latency[0].threads, 'thread')}. (1.40x): "
            f"{BASELINES[_baseline(manifest)]} time over this one's, taken in turns; above 1 is faster.{memory}"
        )
    if any(row.disturbed for row in manifest.latency):
        lines.append(DISTURBED)
    return lines


def _about_8_bits(manifest: Manifest) -> list[str]:
    """What int8 and fp8 cost on average, and which layers are not in them."""
    lines = []
    made = {(graph.dtype, graph.quantized.target): graph.quantized for graph in manifest.graphs if graph.quantized}
    on_cpu = {key: of for key, of in made.items() if not has_engine_files(key[1])}
    if rows := _parity_of(manifest, on_cpu):
        cosine, neighbours = _averages(rows)
        told = (
            f"int8: cosine and top-10 of the worst text; on average {cosine} and {neighbours}. "
            f"{_made_by(next(iter(on_cpu.values())), 'fp32')}"
        )
        if any(row.ran_on.rehearsed for row in rows):
            told += (
                " On openvino the smaller figures of the graph and its rehearsal (fp32, with activations rounded as a "
                "CPU does that multiplies int8)."
            )
        lines.append(told)
    for (dtype, target), of in made.items():
        if (dtype, target) not in on_cpu and (rows := _parity_of(manifest, [(dtype, target)])):
            worst = at_least(min(row.checks["cosine"].value for row in rows))
            cosine, neighbours = _averages(rows)
            lines.append(
                f"{dtype} for {target}, rehearsed on this CPU (fp32, with what is in 8 bits or fp16 rounded): cosine "
                f"{worst} of the worst text; on average {cosine}, and top-10 {neighbours}. {_made_by(of, 'fp16')}"
            )
    return lines


def _parity_of(manifest: Manifest, of: Collection[tuple[str, str]]) -> list[Parity]:
    return [row for row in manifest.parity if (row.dtype, row.ran_on.target) in of and "cosine_mean" in row.checks]


def _averages(rows: Sequence[Parity]) -> tuple[str, str]:
    cosine, neighbours = (min(row.checks[name].value for row in rows) for name in ("cosine_mean", "neighbours_mean"))
    return at_least(cosine), f"{neighbours:.3f}"


def _made_by(made: Quantized, else_in: str) -> str:
    kept = f"; in {else_in} stay {made.kept.layers}" if made.kept else ""
    return f"Made by {count(made.texts, 'text')} that judge nothing{kept}."


def _about_strategies(manifest: Manifest) -> str:
    trained = [strategy.name for strategy in manifest.strategies if strategy.trained]
    others = [strategy.name for strategy in manifest.strategies if not strategy.trained]
    meaning = "strategy: how a text's token vectors become one."
    if manifest.model.trained_strategy is None:
        return f"{meaning} The model does not say with which it was trained."
    worse = f"; an untrained one ({', '.join(others)}) is usually worse" if others else ""
    return f"{meaning} The model was trained with {' and '.join(trained) or manifest.model.trained_strategy}{worse}."


def _missing(manifest: Manifest, left_out: Sequence[str]) -> list[str]:
    """What is not in the table, and why."""
    reasons = manifest.latency_left_out
    lines = left_out_lines({name: reason for name, reason in reasons.items() if name not in _STAGES})
    lines += [f"{what} left out: {reasons[stage].rstrip('.')}." for stage, what in _STAGES.items() if stage in reasons]
    if not manifest.latency and LATENCY not in reasons:
        lines.append("Latency and memory left out: not measured. `poolfold bench` measures them.")
    if left_out:
        shown = ", ".join(name.removesuffix(" ms (ratio)") for name in left_out)
        lines.append(f"Too wide for this terminal: {shown}. `poolfold inspect --wide` shows all.")
    return lines


def left_out_lines(reasons: Mapping[str, str]) -> list[str]:
    """A line for each reason, with all that it is the reason for."""
    names = {why: ", ".join(name for name, other in reasons.items() if other == why) for why in reasons.values()}
    return [f"{left_out} left out: {why.rstrip('.')}." for why, left_out in names.items()]
