"""What an artifact runs against the model it came from: which systems, and what the manifest says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from exporter.measure.interleave import measure
from exporter.measure.report import LatencyReport
from exporter.measure.systems import System, artifact_system, baseline_system
from exporter.measure.warm_up import Progress
from exporter.measure.workloads import workloads
from exporter.spec.model import ModelSpec
from graphs.pooling.head import Cut
from graphs.pooling.strategy import Strategy, parse_strategy
from poolfold.choice import runnables
from poolfold.manifest import Latency, Manifest

ROUNDED = 4
_VARIES = "times vary by half from round to round, as beside a neighbour of a virtual machine"


def warn_if_disturbed(report: LatencyReport, warn: Callable[[str], None]) -> None:
    """Say what other programs did to the numbers, if they did."""
    marked, seen = sum(timing.disturbed for timing in report.timings), report.disturbance
    again = (
        f"{marked} of {len(report.timings)} times are unreliable and marked as disturbed: measure again with "
        "`poolfold bench` when the machine is idle."
    )
    if marked:
        warn(f"{seen if seen.disturbed else _VARIES}. {again}")
    elif seen.disturbed:
        warn(f"{seen}. They do not count; the others sufficed.")


def measure_artifact(
    directory: Path,
    manifest: Manifest,
    spec: ModelSpec,
    targets: Sequence[str] | None = None,
    *,
    budget_s: float,
    until: float = math.inf,
    threads: int | None,
    provider: str = "cpu",
    progress: Progress,
) -> LatencyReport:
    """Time everything that an artifact runs beside the model it came from, pooled by its strategy.

    Args:
        directory: the artifact, complete, manifest included.
        manifest: its own.
        spec: the checkpoint that it came from.
        targets: only what runs on these; None for all.
        budget_s: seconds for the timed windows together.
        until: the `time.monotonic` at which all is over, loading and warming up included.
        threads: of every system alike; None for `default_threads`.
        provider: what ONNX Runtime computes the graphs with.
    """
    systems: list[System] = []
    for strategy in manifest.strategies:
        modes: Strategy = parse_strategy(strategy.name)
        baseline = baseline_system(spec, modes, Cut(manifest.model.dimensions, manifest.model.renormalized))
        systems.append(baseline)
        systems += [
            artifact_system(directory, modes, runs.dtype, runs.target, baseline.runtime, provider)
            for runs in runnables(manifest)
            if runs.form == "plain"  # the loader takes the faster form by itself
            if runs.strategy == strategy.name and (targets is None or runs.target in targets)
        ]
    # Up to what was proven: of longer texts nobody knows that they can be run here.
    text = msgspec.structs.replace(spec.text, max_seq_length=manifest.validated_up_to or spec.text.max_seq_length)
    batches = workloads(text, spec.vocab_size, spec.tokenizer_json)
    return measure(systems, batches, threads=threads, budget_s=budget_s, until=until, progress=progress)


def as_rows(report: LatencyReport) -> tuple[Latency, ...]:
    """One row for each system and workload, small enough for the manifest."""
    memory = {entry.system: entry.increase_bytes for entry in report.memory}
    systems = {system.name: system for system in report.systems}
    return tuple(
        Latency(
            strategy=systems[timing.system].strategy,
            dtype=systems[timing.system].dtype,
            runtime=systems[timing.system].runtime,
            workload=timing.workload,
            threads=report.threads,
            median_ms=round(timing.latency_ms.median, ROUNDED),
            q1_ms=round(timing.latency_ms.q1, ROUNDED),
            q3_ms=round(timing.latency_ms.q3, ROUNDED),
            speedup=round(timing.speedup.median, ROUNDED),
            sentences_per_s=round(timing.sentences_per_s, 1),
            tokens_per_s=round(timing.tokens_per_s, 1),
            increase_mib=_mib(memory[timing.system]),
            disturbed=timing.disturbed,
        )
        for timing in report.timings
    )


def _mib(size: int | None) -> float | None:
    return None if size is None else round(size / 2**20, 1)
