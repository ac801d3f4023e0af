"""One call of a system in a fresh process: its vectors, its seconds, its memory, under a limit where one is set."""

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.host.child_process import OwnProcess
from exporter.measure import memory, worker
from exporter.measure.systems import System
from exporter.measure.workloads import Batch
from poolfold.errors import PoolfoldError

FAILURES = (PoolfoldError, RuntimeError, MemoryError)
"""What a call raises that does not fit into its memory or its time."""


@dataclass(frozen=True)
class Once:
    """What a call gave.

    vectors: float32 [rows, dim].
    load_s, seconds: of the load, and of the call, which is the process's first.
    before_bytes: resident memory with the libraries imported and no model; None, like the next two, where unknown.
    loaded_bytes: with the model.
    peak_bytes: the largest during the call.
    """

    vectors: npt.NDArray[np.float32]
    load_s: float
    seconds: float
    before_bytes: int | None
    loaded_bytes: int | None
    peak_bytes: int | None

    def numbers(self) -> dict[str, float | None]:
        """Seconds; and bytes that model and call add to the process, and that the call adds to the loaded model."""
        return {
            "load_s": self.load_s,
            "seconds": self.seconds,
            "increase_bytes": _less(self.peak_bytes, self.before_bytes),
            "call_bytes": _less(self.peak_bytes, self.loaded_bytes),
        }


def once(
    system: System, batch: Batch, threads: int, *, limit_bytes: int | None = None, limit_s: float | None = None
) -> Once:
    """Load a system and call it once.

    Args:
        system: what is called; texts that came with it are embedded whatever the ids of the batch.
        batch: that it is called with.
        threads: of an operator.
        limit_bytes: of the process's private memory, as `ulimit -d` sets it.
        limit_s: after which the process is ended.

    Raises:
        FAILURES: there was not enough memory or time, or the system failed.
    """
    variables = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    request = ("bench.long.once:call", system.load, dict(system.arguments), threads, batch, limit_bytes)
    with OwnProcess(*request, variables=variables, quiet=True) as process:
        found: Once = process.result(limit_s)
        return found


def call(load: str, arguments: Mapping[str, Any], threads: int, batch: Batch, limit_bytes: int | None) -> Once:
    """In the process; arguments as `once`."""
    if limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    start = time.perf_counter()
    before, system = worker.load(load, arguments, threads)
    loaded = memory.resident_bytes()
    reset = memory.reset_peak()
    called = time.perf_counter()
    vectors = system.forward(*batch)
    ended = time.perf_counter()
    peak = memory.peak_bytes() if reset else None
    return Once(vectors, called - start, ended - called, before, loaded, peak)


def _less(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other
