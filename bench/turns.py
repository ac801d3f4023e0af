"""Systems in turns, for every program here: `exporter.measure`'s windows as results. One that dies is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from bench.results import ModelResult, SystemResult, TimingResult, WorkloadResult
from bench.systems import Entry
from bench.work import Size, least_bytes, product_flops, useful_flops
from exporter.measure.interleave import Progress, measure
from exporter.measure.process import in_words
from exporter.measure.workloads import Workload
from poolfold.errors import CheckFailed

STRATEGIES = ("cls", "mean")
Say = Callable[[str], None]


def begun(
    name: str,
    size: Size,
    export: str,
    workloads: Sequence[Workload],
    missing: Mapping[str, str],
    moved: Sequence[str] = (),
) -> ModelResult:
    """The results of a model before anything is timed, with the bytes that must move in these precisions."""
    return ModelResult(
        name=name,
        size=size,
        export=export,
        systems=(),
        missing=missing,
        workloads=tuple(_workload(workload, size, moved) for workload in workloads),
        timings=(),
        memory=(),
        encode=(),
        seconds=0.0,
        load_averages=(None, None),
    )


def in_turns(
    result: ModelResult,
    entries: Sequence[Entry],
    workloads: Sequence[Workload],
    *,
    threads: int,
    seconds: float,
    say: Say,
    progress: Progress = lambda done, total, what: None,
) -> ModelResult:
    """The results with interleaved windows. A system that dies beside the others is named, and they go on without.

    Raises:
        CheckFailed: what the others are compared with died.
    """
    missing, left = dict(result.missing), list(entries)
    while True:
        try:
            report = measure(
                [system for entry in left for system in entry.systems()],
                workloads,
                threads=threads,
                budget_s=max(0.0, seconds),
                progress=progress,
                leave_out=False,
            )
        except CheckFailed as error:
            names = {system.name: entry for entry in left for system in entry.systems()}
            died = next((e for name, e in names.items() if str(error).startswith(f"measuring {name}: ")), None)
            if died is None or any(died.label == entry.baseline for entry in left):
                raise
            reason = f"not beside the others: {in_words(error)}"
            say(f"{died.label}: {reason}")
            missing |= {name: reason for name, entry in names.items() if entry is died}
            left.remove(died)
            continue
        rounds = {shape.name: shape.rounds for shape in report.workloads}
        loads = [msgspec.structs.replace(w, rounds=rounds[w.name]) for w in result.workloads]
        timings = [
            TimingResult(
                system=t.system,
                workload=t.workload,
                calls_per_window=t.calls_per_window,
                windows_ms=tuple(round(ms, 5) for ms in t.windows_ms),
                latency_ms=t.latency_ms,
            )
            for t in report.timings
        ]
        averages = tuple(report.environment[f"load_average_{when}"] for when in ("before", "after"))
        return msgspec.structs.replace(
            result,
            missing=missing,
            systems=result.systems or system_results(left),
            workloads=tuple(loads),
            timings=tuple(timings),
            seconds=report.seconds,
            load_averages=averages,
        )


def system_results(entries: Sequence[Entry]) -> tuple[SystemResult, ...]:
    """Every system of the entries."""
    return tuple(
        SystemResult(
            name=system.name,
            label=entry.label,
            side=entry.side,
            runtime=entry.runtime,
            dtype=entry.dtype,
            strategy=system.strategy,
        )
        for entry in entries
        for system in entry.systems()
    )


def _workload(workload: Workload, size: Size, moved: Sequence[str]) -> WorkloadResult:
    lengths = [int(n) for batch in workload.batches for n in batch.attention_mask.sum(axis=1)]
    rows, tokens, real = workload.batch, workload.tokens, workload.real_tokens
    return WorkloadResult(
        name=workload.name,
        rows=rows,
        batches=len(workload.batches),
        tokens=tokens,
        real_tokens=real,
        rounds=0,
        useful_flops={strategy: useful_flops(lengths, size, strategy) for strategy in STRATEGIES},
        product_flops=product_flops(tokens, size),
        least_bytes={dtype: least_bytes(rows, tokens, real, size, dtype) for dtype in moved},
    )
