"""An artifact as a page: what was checked against its model, and what it costs. Reads its manifest only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from exporter.host.console import count
from exporter.reporting import plots
from exporter.reporting.page import Figure, Section, Table, write_page
from exporter.spec.origin import BASELINES
from poolfold.manifest import Manifest, ParityCheck


def write_artifact(folder: Path, directory: Path, manifest: Manifest) -> Path:
    """Write report.html and its plots as PNG into a folder; returns the page."""
    page = folder / "report.html"
    model = manifest.model
    write_page(
        page,
        title=f"{directory.resolve().name}: parity and latency",
        lead=list(_lead(manifest)),
        command=f"poolfold validate {directory}",
        sections=[_parity(folder, manifest), *_latency(folder, manifest), _contents(manifest)],
        environment={
            "model": f"{model.source}{f' @ {model.revision}' if model.revision else ''}",
            "made": manifest.created,
            "command": " ".join(manifest.command),
            **manifest.environment,
        },
    )
    return page


def _lead(manifest: Manifest) -> Iterator[str]:
    model = manifest.model
    names = ", ".join(f"{s.name}{' (trained)' if s.trained else ''}" for s in manifest.strategies)
    yield f"{model.source}: {model.model_type}, {count(model.num_layers, 'layer')}, pooled by {names}."
    failed = [row for row in manifest.parity if not row.passed]
    if manifest.parity:
        reference = manifest.parity[0].reference
        result = "all passed" if not failed else f"{len(failed)} failed"
        were = "candidate was" if len(manifest.parity) == 1 else "candidates were"
        yield f"{len(manifest.parity)} {were} checked against {reference} in fp32, text by text: {result}."
    if manifest.unproven_from is not None:
        limit = model.text.max_seq_length
        yield f"Validated up to {manifest.validated_up_to} of {limit} tokens: longer texts were not checked."
    built = [engine for engine in manifest.engines if engine.status == "built"]
    if built:
        were = "engine was" if len(built) == 1 else "engines were"
        yield f"{len(built)} {were} built and never run where they were made: the vectors are not known."


def _parity(folder: Path, manifest: Manifest) -> Section:
    rows, distances = [], {}
    checks = list(dict.fromkeys(check for row in manifest.parity for check in row.checks))
    for row in manifest.parity:
        name = f"{row.strategy} {row.dtype}, {row.executor}"
        rows.append([name, "passed" if row.passed else "FAILED", *(_cell(row.checks.get(c)) for c in checks)])
        worst = [text.cosine for text in row.worst]
        if worst:
            distances[name] = max(1 - min(worst), 1e-9)
    parts: list[Figure | Table] = []
    if distances:
        svg = plots.points(folder, "parity", distances, x="1 - smallest cosine")
        parts.append(Figure(svg, "How far the worst text lies from the reference, for each candidate; left is better"))
    parts.append(Table("Checks: value, and its limit where it has one", ("candidate", "result", *checks), rows))
    texts = {row.texts for row in manifest.parity}
    scope = f"Every check takes the worst of {max(texts)} texts, never a mean." if texts else "Nothing was checked."
    return Section("Parity", (scope,), parts)


def _cell(check: ParityCheck | None) -> str:
    if check is None:
        return "-"
    limit = "" if check.limit is None else f" ({check.limit:.7g})"
    return f"{'' if check.passed else 'FAILED '}{check.value:.7g}{limit}"


def _latency(folder: Path, manifest: Manifest) -> Sequence[Section]:
    missing = tuple(f"{name} left out: {why.rstrip('.')}." for name, why in manifest.latency_left_out.items())
    if not manifest.latency:
        not_measured = "Not measured when this artifact was made: run poolfold bench."
        return (Section("Latency", (*missing, not_measured)),)
    series: dict[str, dict[str, float]] = {}
    rows = []
    for row in manifest.latency:
        name = f"{row.strategy} {row.dtype} {row.runtime}"
        series.setdefault(name, {})[row.workload] = row.median_ms
        memory = "-" if row.increase_mib is None else f"{row.increase_mib:.0f}"
        rows.append([
            name, row.workload, f"{row.median_ms:.2f} [{row.q1_ms:.2f}, {row.q3_ms:.2f}]",
            f"{row.speedup:.2f}x{'?' * row.disturbed}", f"{row.sentences_per_s:.0f}", memory,
        ])  # fmt: skip
    baselines = [row.runtime for row in manifest.latency if row.runtime in BASELINES]
    against = BASELINES[baselines[0]] if baselines else "the reference's"
    svg = plots.rows(folder, "latency", series, x="milliseconds, median")
    text = (
        f"{count(manifest.latency[0].threads, 'thread')}; every system took turns on each workload, batch x tokens, in "
        f"one run. Speed-up is {against} time over this one's. MiB is what model and largest batch add to a process."
    )
    disturbed = (
        "A ratio with a question mark was disturbed by other programs: neither it nor its times are a finding.",
    ) * any(row.disturbed for row in manifest.latency)
    header = ("system", "texts x tokens", "ms", "speed-up", "texts/s", "MiB")
    figure = Figure(svg, "Milliseconds of each system on each workload; left is better")
    return (
        Section(
            "Latency", (text, *disturbed, *missing), (figure, Table("Times: medians with quartiles", header, rows))
        ),
    )


def _contents(manifest: Manifest) -> Section:
    rows = [
        [
            g.strategy,
            g.dtype,
            "onnxruntime",
            g.status_on_cpu,
            f"{g.attention_ops} of {g.attention_layers}",
            str(g.nodes),
        ]
        for g in manifest.graphs
        if g.runs_on("onnxruntime")
    ]
    rows += [
        [e.strategy, e.dtype, e.target, e.status, f"{e.attention_fused} of {e.attention_layers}", _layers(e)]
        for e in manifest.engines
    ]
    header = ("strategy", "dtype", "target", "status", "attention fused", "nodes or kernels")
    return Section("What is inside", (), (Table("Graphs and engines", header, rows),))


def _layers(engine: Any) -> str:
    return "-" if engine.contents is None else str(engine.contents.layers)
