"""What each strategy costs, as a section of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exporter.comparison.comparison import Comparison
from exporter.comparison.cost import Cost, system_name
from exporter.host.console import count
from exporter.reporting import plots
from exporter.reporting.page import Figure, Section, Table

_MEASURED = (
    "All systems took turns on {threads} of this machine's CPU. Each row is full: padding, on which poolfold's "
    "graphs save the most, depends on how texts are batched."
)
_BESIDE = (
    "Beside poolfold's graphs: pytorch is the model itself, and token embeddings its graph as exporters commonly leave "
    "it, pooled by the caller. For these the pooling makes no difference to time or memory: every token's vector is "
    "computed and kept whatever is read of them."
)
_HALF = (
    "On a CPU, ONNX Runtime computes fp16 graphs in fp32 between conversions: their times and memory here say nothing "
    "about a GPU's."
)


def cost_sections(folder: Path, comparison: Comparison) -> Sequence[Section]:
    """Speed against quality, and time and memory against length; what was not measured, and why."""
    cost, first = comparison.cost, comparison.dtype
    if cost is None:
        return (Section("Speed and memory", (f"They were {comparison.no_cost.removesuffix('.')}.",)),)
    shapes = {shape.name: shape for shape in cost.latency.workloads}
    against = cost.latency.systems[0].name
    disturbed = {(timing.system, timing.workload) for timing in cost.latency.timings if timing.disturbed}
    latency: dict[str, dict[int, float]] = {}
    rows = []
    for timing in cost.latency.timings:
        shape = shapes[timing.workload]
        if shape.batch == cost.rows and not timing.disturbed:
            latency.setdefault(timing.system, {})[shape.seq_len] = timing.latency_ms.median
        mark = "?" if timing.disturbed else ""
        spread = f"{timing.latency_ms.median:.2f}{mark} [{timing.latency_ms.q1:.2f}, {timing.latency_ms.q3:.2f}]"
        faster = f"{timing.speedup.median:.2f} [{timing.speedup.q1:.2f}, {timing.speedup.q3:.2f}]"
        if timing.disturbed or (against, timing.workload) in disturbed:
            faster = "-"
        rows.append([timing.system, timing.workload, spread, faster, f"{timing.sentences_per_s:.0f}"])
    metric = comparison.metrics[0]
    points = {
        name: (usual.latency_ms.median, value.value, value.low, value.high)
        for name in comparison.quality[first]
        if (usual := cost.timing(system_name(comparison.entry(name), first))) is not None and not usual.disturbed
        if (value := comparison.quality[first][name].get(metric)) is not None
    }
    parts: list[Figure | Table] = []
    if points and cost.usual is not None and comparison.verdict.metric is not None:
        what = f"{count(cost.usual.batch, 'text')} of {cost.usual.seq_len} tokens"
        svg = plots.scatter(
            folder, "trade-off", points, list(comparison.vectors), x=f"milliseconds for {what}", y=metric
        )
        parts.append(Figure(svg, f"{metric} in {first} against the time for {what}: further up is better, left faster"))
    shown = _drawn_systems(comparison, cost)
    curves = {name: latency[name] for name in shown if name in latency}
    if curves:
        svg = plots.lines(folder, "latency", curves, x="tokens of a text", y=f"ms for {cost.rows} texts")
        parts.append(Figure(svg, f"Milliseconds for {count(cost.rows, 'text')} against their length"))
    weights = {name: cost.memory[name] for name in shown if cost.memory.get(name)}
    if weights:
        memory = plots.lines(folder, "memory", weights, x="tokens of a text", y="MiB added to the process")
        parts.append(Figure(memory, f"Peak memory that the model and {cost.rows} texts add, against their length"))
        lengths = sorted({length for interval in cost.memory.values() for length in interval})
        parts.append(
            Table(
                f"MiB that the model and {cost.rows} texts of a length add to a process",
                ("system", *(f"{length} tokens" for length in lengths)),
                [
                    [name, *(f"{interval[n]:.0f}" if n in interval else "-" for n in lengths)]
                    for name, interval in cost.memory.items()
                ],
            )
        )
    parts.append(
        Table(
            "Times, interleaved in one run; medians with quartiles",
            ("system", "texts x tokens", "ms", f"times as fast as {against}", "texts/s"),
            rows,
            folded=True,
        )
    )
    sizes = ", ".join(
        f"{system_name(entry, dtype)} {entry.disk_bytes(dtype) / 2**20:.0f} MiB"
        for dtype in comparison.quality
        for entry in comparison.entries
        if entry.disk_bytes(dtype)
    )
    text = [
        _MEASURED.format(threads=count(cost.latency.threads, "thread")),
        *([_BESIDE] if len(shown) > len(comparison.entries) else []),
        f"Graph and weights on disk: {sizes}. Strategies of one precision share their weights.",
        *([_HALF] if "fp16" in comparison.quality else []),
        *cost.remarks,
    ]
    return (Section("Speed and memory", text, parts),)


def _drawn_systems(comparison: Comparison, cost: Cost) -> list[str]:
    """Those that fit into one plot: everything without poolfold, and each strategy in the first precision."""
    names = [system_name(entry, comparison.dtype) for entry in comparison.entries]
    beside = [system.name for system in cost.latency.systems if system.name not in _graphs(comparison)]
    return [*names, *beside]


def _graphs(comparison: Comparison) -> set[str]:
    return {system_name(entry, dtype) for entry in comparison.entries for dtype in comparison.quality}
