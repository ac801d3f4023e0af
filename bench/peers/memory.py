"""Peak memory of one large batch, in a process that has run nothing else."""

from __future__ import annotations

from bench.peers.results import MemoryResult
from bench.peers.systems import Entry
from exporter.measure.process import LOAD_LIMIT_S, Worker
from exporter.measure.protocol import Run
from exporter.measure.workloads import Workload


def weigh(entry: Entry, workload: Workload, threads: int) -> MemoryResult:
    """Load a system, run the workload once, and tell what both added to the process with its libraries imported.

    Raises:
        CheckFailed: the process died or hung.
    """
    batches = [(batch.input_ids.tolist(), batch.attention_mask.tolist()) for batch in workload.batches]
    with Worker(entry.systems()[0], threads) as worker:
        worker.start_load()
        before = worker.loaded().before_load_bytes
        peak = worker.run(Run(batches, untimed=0, timed=1), LOAD_LIMIT_S).peak_bytes
    return MemoryResult(
        label=entry.label,
        runtime=entry.runtime,
        dtype=entry.dtype,
        side=entry.side,
        strategy=entry.strategies[0] if entry.side == "ours" else "",
        workload=workload.name,
        increase_bytes=None if before is None or peak is None else peak - before,
    )
