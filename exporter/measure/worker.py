"""A worker, as it runs: load one system, then time windows of it on request. What times a call stands here alone."""

from __future__ import annotations

import importlib
import time
from collections.abc import Generator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from exporter.measure import disturbance, memory
from exporter.measure.protocol import Embed, Pooled, Ran, Run
from exporter.measure.workloads import Batch


def serve(function: str, arguments: Mapping[str, object], threads: int) -> Generator[int | Ran | None, Run, None]:
    """Yield the memory before the load, in bytes, then what each window gave; arguments as `load`."""
    before, system = load(function, arguments, threads)
    request = yield before
    while True:
        request = yield run(system, request)


def load(function: str, arguments: Mapping[str, object], threads: int) -> tuple[int | None, Pooled]:
    """Import the libraries, note the memory, load the system; one that embeds by itself has no pools.

    Args:
        function: `module:function`, as `systems.System.load`.
        arguments: it is called with.
        threads: of an operator.

    Returns:
        Resident memory with the libraries imported and no model, in bytes, None where unknown; the system.
    """
    module, _, name = function.partition(":")
    library = importlib.import_module(module)
    if hasattr(library, "prepare"):
        library.prepare(**arguments)
    before = memory.resident_bytes()
    system: Embed | Pooled = getattr(library, name)(**arguments, threads=threads)
    return before, system if isinstance(system, Pooled) else Pooled(system, {})


def run(system: Pooled, request: Run) -> Ran:
    """Time a window.

    Raises:
        ValueError: the system did not return a vector for each row.
    """
    reset = memory.reset_peak()
    for _ in range(request.untimed):
        _call(system, request.batches)
    start = disturbance.now()
    calls = [_call(system, request.batches) for _ in range(request.timed)]
    watched = disturbance.since(start)
    return Ran(
        seconds=[forward + sum(pooling.values()) for forward, pooling in calls],
        pooled_seconds={name: [forward + pooling[name] for forward, pooling in calls] for name in system.pools},
        peak_bytes=memory.peak_bytes() if reset else None,
        watched=watched,
    )


def _call(system: Pooled, batches: Sequence[Batch]) -> tuple[float, dict[str, float]]:
    """Run the batches once: seconds of the forward, and of each strategy's pooling."""
    forward, pooling = 0.0, dict.fromkeys(system.pools, 0.0)
    for ids, mask in batches:
        start = time.perf_counter()
        output = system.forward(ids, mask)
        forward += time.perf_counter() - start
        if not system.pools:
            _check(output, ids)
        for name, pool in system.pools.items():
            start = time.perf_counter()
            vectors = pool(output, mask)
            pooling[name] += time.perf_counter() - start
            _check(vectors, ids)
    return forward, pooling


def _check(vectors: npt.NDArray[np.float32], ids: npt.NDArray[np.int64]) -> None:
    """Refuse to time what is no embedding."""
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise ValueError(f"got vectors of shape {vectors.shape} for {len(ids)} rows, expected [{len(ids)}, dim]")
