"""One system alone in a process: whether it runs, its vectors, single calls, and the peak of its memory.

What does not run is refused in the words of whoever refused it. Windows against other systems come later; a 99th
percentile needs many calls, and memory a process that holds nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.goals import smallest_cosine
from bench.gpu.card import watch
from bench.systems import Entry
from exporter.host.child_process import OwnProcess
from exporter.measure import worker
from exporter.measure.process import in_words
from exporter.measure.protocol import Pooled, Run
from exporter.measure.workloads import Batch, Workload

Vectors = npt.NDArray[np.float32]

LEAST_S = 5.0
"""With less time left a system is not tried."""
_CALLS_S = 0.4
_LONG_CALL_MS = 1000.0
_LEAST_CALLS, _MOST_CALLS = 3, 200


class Probed(NamedTuple):
    """What a probe found.

    vectors: of each workload, float32 [rows, dim].
    calls_ms: of each workload, milliseconds of each call, back to back, after at least one other.
    increase_bytes: the peak of memory above what was in use before; None where the machine does not tell.
    """

    vectors: list[Vectors]
    calls_ms: list[list[float]]
    increase_bytes: int | None


def probe(
    entry: Entry, workloads: Sequence[Workload], wanted: Mapping[str, list[Vectors]], device: str, threads: int,
    limit_s: float, least_bytes: float,
) -> tuple[Probed, float] | str:  # fmt: skip
    """What a system gave, with its smallest cosine; or why it does not count as running.

    Args:
        entry: the system.
        workloads: what it runs.
        wanted: by strategy, PyTorch's fp32 vectors of each workload.
        device: whose memory is watched.
        threads: of an operator on the processor.
        limit_s: after which it is ended.
        least_bytes: that it must take of the memory: less means that its weights are not there.
    """
    if limit_s < LEAST_S:
        return "not tried: the time was spent on the systems before it; give more with --seconds"
    batches = [batch for workload in workloads for batch in workload.batches]
    with OwnProcess("bench.gpu.probe:run", entry.load, dict(entry.arguments), threads, batches, device) as process:
        try:
            outcome = Probed(*process.result(limit_s))
        except Exception as error:  # whatever a runtime raises is the reason that it does not run
            return in_words(error)
    if outcome.increase_bytes is not None and outcome.increase_bytes < least_bytes:
        return (
            f"it took {outcome.increase_bytes} bytes of the card's memory, and its weights alone are more than "
            f"{least_bytes:.0f}: it computed elsewhere"
        )
    try:
        return outcome, smallest_cosine(outcome.vectors, wanted[entry.strategies[0]])
    except ValueError as error:
        return str(error)


def run(load: str, arguments: Mapping[str, Any], threads: int, batches: Sequence[Batch], device: str) -> Probed:
    """What the process runs."""
    with watch(device) as memory:
        _, system = worker.load(load, arguments, threads)
        vectors = [np.asarray(system.forward(*batch)) for batch in batches]
        increase = memory()
    # The watch is over: its thread would disturb the calls. Every shape has been met.
    return Probed(vectors, [_single_calls(system, batch) for batch in batches], increase)


def reference(
    folder: str, strategies: Sequence[str], workloads: Sequence[Workload], device: str, threads: int
) -> dict[str, list[Vectors]]:
    """PyTorch's fp32 vectors by strategy, for each workload float32 [rows, dim].

    Raises:
        CheckFailed: its process died.
    """
    batches = [batch for workload in workloads for batch in workload.batches]
    with OwnProcess("bench.gpu.probe:run_reference", folder, list(strategies), batches, device, threads) as process:
        vectors: dict[str, list[Vectors]] = process.result()
        return vectors


def run_reference(
    folder: str, strategies: Sequence[str], batches: Sequence[Batch], device: str, threads: int
) -> dict[str, list[Vectors]]:
    """What the reference's process runs."""
    from bench.load_pytorch import load_on

    vectors = {}
    for strategy in strategies:
        embed = load_on(folder, strategy, "fp32", device, compiled=False, threads=threads)
        vectors[strategy] = [embed(*batch) for batch in batches]
    return vectors


def calls(call_s: float) -> int:
    """How often to repeat a call that takes so long."""
    return min(_MOST_CALLS, max(_LEAST_CALLS, math.ceil(_CALLS_S / call_s)))


def _single_calls(system: Pooled, batch: Batch) -> list[float]:
    """Milliseconds of each call; a long one needs no warm-up beside the one that every shape has had."""
    first = _timed(system, batch, 1)
    if first[0] > _LONG_CALL_MS:
        return first + _timed(system, batch, _LEAST_CALLS - 1)
    (call_ms,) = _timed(system, batch, 1)
    return _timed(system, batch, calls(call_ms / 1e3))


def _timed(system: Pooled, batch: Batch, times: int) -> list[float]:
    """Milliseconds of calls, timed as a window's are."""
    return [s * 1e3 for s in worker.run(system, Run([batch], 0, times)).seconds]
