"""Systems in turns, for every program here: `exporter.measure`'s windows as results. One that dies is named."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bench.results import MemoryResult, ModelResult, SystemResult, TimingResult, WorkloadResult
from bench.systems import STRATEGIES, Entry
from bench.work import Size, product_flops, useful_flops
from exporter.measure.interleave import measure
from exporter.measure.process import in_words
from exporter.measure.workloads import Workload
from poolfold.errors import CheckFailed

Say = Callable[[str], None]


def to_stderr(done: int, total: int, what: str) -> None:
    """Progress of a measurement."""
    print(f"{done} of {total}: {what}", file=sys.stderr, flush=True)


def begun(name: str, size: Size, export: str, workloads: Sequence[Workload], missing: Mapping[str, str]) -> ModelResult:
    """The results of a model before anything is timed, in 0 rounds."""
    return ModelResult(
        name=name,
        size=size,
        export=export,
        missing=missing,
        workloads=tuple(_workload(workload, size) for workload in workloads),
        systems=(),
        timings=(),
        memory=(),
        encode=(),
        seconds=0.0,
        load_averages=(None, None),
    )


def in_turns(
    result: ModelResult, entries: Sequence[Entry], workloads: Sequence[Workload], threads: int, seconds: float, say: Say
) -> ModelResult:
    """The results with interleaved windows. A system that dies beside the others is named, and they go on without.

    Raises:
        CheckFailed: what the others are compared with died.
    """
    missing, left = dict(result.missing), list(entries)
    while True:
        names = {system.name: entry for entry in left for system in entry.systems()}
        try:
            report = measure(
                [system for entry in left for system in entry.systems()],
                workloads,
                threads=threads,
                budget_s=max(0.0, seconds),
                progress=_each_workload_once(say),
                leave_out=False,
            )
        except CheckFailed as error:
            died = next((e for name, e in names.items() if str(error).startswith(f"measuring {name}: ")), None)
            if died is None or any(died.label == entry.baseline for entry in left):
                raise
            reason = f"not beside the others: {in_words(error)}"
            say(f"{died.label}: {reason}")
            missing |= {name: reason for name, entry in names.items() if entry is died}
            left.remove(died)
            continue
        break
    rounds = {shape.name: shape.rounds for shape in report.workloads}
    timings = [
        TimingResult(
            system=t.system,
            workload=t.workload,
            calls_per_window=t.calls_per_window,
            windows_ms=tuple(round(ms, 5) for ms in t.windows_ms),
            latency_ms=t.latency_ms,
            p90_ms=t.p90_ms if result.rates else None,
        )
        for t in report.timings
    ]
    changed: ModelResult = msgspec.structs.replace(
        result,
        missing=missing,
        systems=result.systems or tuple(system for entry in left for system in system_results(entry)),
        workloads=tuple(msgspec.structs.replace(w, rounds=rounds[w.name]) for w in result.workloads),
        timings=tuple(timings),
        seconds=report.seconds,
        load_averages=tuple(report.environment[f"load_average_{when}"] for when in ("before", "after")),
    )
    return changed


def system_results(entry: Entry) -> list[SystemResult]:
    """Every system of the entry."""
    told: dict[str, Any] = {part: getattr(entry, part) for part in ("label", "side", "runtime", "dtype")}
    return [SystemResult(name=system.name, strategy=system.strategy, **told) for system in entry.systems()]


def memory_result(entry: Entry, workload: str, increase_bytes: int | None) -> MemoryResult:
    """What a system added; a peer's memory is that of either strategy."""
    told: dict[str, Any] = {part: getattr(entry, part) for part in ("label", "side", "runtime", "dtype")}
    strategy = entry.strategies[0] if len(entry.strategies) == 1 else ""
    return MemoryResult(strategy=strategy, workload=workload, increase_bytes=increase_bytes, **told)


def _workload(workload: Workload, size: Size) -> WorkloadResult:
    lengths = [int(n) for batch in workload.batches for n in batch.attention_mask.sum(axis=1)]
    return WorkloadResult(
        name=workload.name,
        rows=workload.batch,
        batches=len(workload.batches),
        tokens=workload.tokens,
        real_tokens=workload.real_tokens,
        rounds=0,
        useful_flops={strategy: useful_flops(lengths, size, strategy) for strategy in STRATEGIES},
        product_flops=product_flops(workload.tokens, size),
    )


def _each_workload_once(say: Say) -> Callable[[int, int, str], None]:
    """A line for each round of a workload: who of its systems has its turn would only scroll by."""
    last = ""

    def progress(done: int, total: int, what: str) -> None:
        nonlocal last
        line = ", ".join(what.split(", ")[:2])
        if line != last:
            last = line
            say(f"{line} ({done} of {total} steps done)")

    return progress
