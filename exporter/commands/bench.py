"""`poolfold bench`: what an artifact runs on a target against the model it came from, interleaved."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from exporter.host.console import Console
from exporter.host.libraries import keep_out
from exporter.measure.artifact_latency import measure_artifact, warn_if_busy
from exporter.measure.systems import BASELINES
from exporter.parity.validation import refuse_unrunnable
from exporter.spec.model import is_graph
from poolfold.verify import verify


def run(
    *,
    directory: Path,
    target: str,
    provider: str,
    seconds: int,
    model: str | None,
    threads: int | None,
    allow_pickle: bool,
    trust_remote_code: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print one row for each system and workload."""
    console = Console(as_json=as_json, quiet=quiet)
    manifest = verify(directory)
    refuse_unrunnable(directory, manifest, target, provider)
    if is_graph(model or manifest.model.source):
        keep_out("torch")
    # Not before: it imports transformers, and that imports PyTorch.
    from exporter.model.of_artifact import find_baseline

    baseline = find_baseline(manifest, model, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    with console.stage("bench") as stage:
        warn_if_busy(stage.warn)
        report = measure_artifact(
            directory,
            manifest,
            baseline.spec,
            [target],
            budget_s=seconds,
            threads=threads,
            provider=provider,
            progress=stage.progress,
        )
        stage.outcome = f"{len(report.systems)} systems, {len(report.workloads)} workloads, {report.threads} threads"
    for name, why in report.left_out.items():
        console.warn(f"{name} was left out: {why}. Give it more time with --seconds.")
    whose = BASELINES[report.systems[0].runtime]
    memory = {entry.system: entry.increase_bytes for entry in report.memory}
    console.table(
        f"{directory}, {report.threads} threads: median [quartiles] of the rounds; x is {whose} time over this one's",
        ("system", "batch x tokens", "ms", "x", "sentences/s", "real tokens/s", "MiB added"),
        [
            (
                timing.system,
                timing.workload,
                f"{timing.latency_ms.median:.2f} [{timing.latency_ms.q1:.2f}, {timing.latency_ms.q3:.2f}]",
                f"{timing.speedup.median:.2f} [{timing.speedup.q1:.2f}, {timing.speedup.q3:.2f}]",
                f"{timing.sentences_per_s:.0f}",
                f"{timing.tokens_per_s:.0f}",
                _mib(memory[timing.system]),
            )
            for timing in report.timings
        ],
    )
    console.json({"directory": str(directory), **dataclasses.asdict(report)})


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.0f}"
