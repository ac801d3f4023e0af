"""One system alone in a process: whether it runs, its vectors, single calls, and the peak of its memory.

What does not run is refused in the words of whoever refused it. Windows against other systems come later; a 99th
percentile needs many calls, and memory a process that holds nothing else.
"""

from __future__ import annotations

import faulthandler
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.gpu.memory import watch
from exporter.host.child_process import OwnProcess
from exporter.measure import worker
from exporter.measure.protocol import Load, Run
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload

_CALLS_S = 0.4
_LONG_CALL_MS = 1000.0
_LEAST_CALLS, _MOST_CALLS = 3, 200


class Probed(NamedTuple):
    """What a probe found.

    vectors: of each workload, float32 [rows, dim].
    calls_ms: of each workload, milliseconds of each call, back to back, after at least one other.
    increase_bytes: the peak of memory above what was in use before; None where the machine does not tell.
    """

    vectors: list[npt.NDArray[np.float32]]
    calls_ms: list[list[float]]
    increase_bytes: int | None


def probe(system: System, workloads: Sequence[Workload], device: str, threads: int, limit_s: float) -> Probed | str:
    """Run a system on every workload, or tell why it does not run."""
    batches = [(b.input_ids, b.attention_mask) for w in workloads for b in w.batches]
    start = time.monotonic()
    request = (system.load, dict(system.arguments), threads, batches, device, limit_s)
    with OwnProcess("bench.gpu.probe:run", *request) as process:
        try:
            return Probed(*process.result())
        except Exception as error:  # whatever a runtime raises is the reason that it does not run
            if time.monotonic() - start >= limit_s:
                return f"it was not done within {limit_s:.0f} s and was ended"
            return in_words(error)


def reference(
    folder: str, strategies: Sequence[str], workloads: Sequence[Workload], device: str, threads: int
) -> dict[str, list[npt.NDArray[np.float32]]]:
    """PyTorch's fp32 vectors by strategy, for each workload float32 [rows, dim].

    Raises:
        CheckFailed: its process died.
    """
    batches = [(b.input_ids, b.attention_mask) for w in workloads for b in w.batches]
    with OwnProcess("bench.gpu.probe:run_reference", folder, list(strategies), batches, device, threads) as process:
        found: dict[str, list[npt.NDArray[np.float32]]] = process.result()
        return found


def in_words(error: BaseException) -> str:
    """An error on one line, under its kind where it is not one that poolfold words itself."""
    told = " ".join(str(error).split())
    if type(error).__module__ == "poolfold.errors":
        return told
    return told if isinstance(error, RuntimeError) and told else f"{type(error).__name__}: {told}"


def run(
    load: str,
    arguments: Mapping[str, Any],
    threads: int,
    batches: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    device: str,
    limit_s: float,
) -> Probed:
    """What the process runs; one that takes longer than its limit ends itself, even inside a library's call."""
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(limit_s, exit=True, file=nowhere)
        try:
            return _run(load, arguments, threads, batches, device)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _run(
    load: str,
    arguments: Mapping[str, Any],
    threads: int,
    batches: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    device: str,
) -> Probed:
    with watch(device) as memory:
        _, system = worker.load(Load(load, arguments, threads))
        vectors = [np.asarray(system.forward(*batch)) for batch in batches]
        increase = memory.increase_bytes()
    # The watch is over: its thread would disturb the calls. Every shape has been met.
    return Probed(vectors, [_single_calls(system, batch) for batch in batches], increase)


def _single_calls(system: Any, batch: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> list[float]:
    """Milliseconds of each call; a long one needs no warm-up beside the one that every shape has had."""
    first = _timed(system, batch, 1)
    if first[0] > _LONG_CALL_MS:
        return first + _timed(system, batch, _LEAST_CALLS - 1)
    (call_ms,) = _timed(system, batch, 1)
    return _timed(system, batch, calls(call_ms / 1e3))


def calls(call_s: float) -> int:
    """How often to repeat a call that takes so long."""
    return min(_MOST_CALLS, max(_LEAST_CALLS, math.ceil(_CALLS_S / call_s)))


def run_reference(
    folder: str, strategies: Sequence[str], batches: Sequence[Batch], device: str, threads: int
) -> dict[str, list[npt.NDArray[np.float32]]]:
    """What the reference's process runs."""
    from bench.gpu.load_torch import load

    found = {}
    for strategy in strategies:
        embed = load(folder, strategy, "fp32", device, compiled=False, threads=threads)
        found[strategy] = [embed(*batch) for batch in batches]
    return found


def _timed(system: Any, batch: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], times: int) -> list[float]:
    """Milliseconds of calls, timed as a window's are."""
    ids, mask = batch
    return [s * 1e3 for s in worker.run(system, Run([(ids.tolist(), mask.tolist())], 0, times)).seconds]
