"""A worker, as it runs: load one system, then time windows of it on request, until standard input ends.

Standard input and output carry the protocol; whatever the libraries print goes to standard error. A failure is not
handled here: the traceback goes to standard error, and the process ends.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.measure import memory
from exporter.measure.protocol import Embed, Load, Loaded, Pooled, Ran, Run
from exporter.measure.workloads import Batch


def main() -> None:
    """Serve the parent's requests."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # Not sys.stdin: a thread that waits in it would break the interpreter's own end after a failure.
    lines = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    threading.Thread(target=_receive, args=(lines, requests), daemon=True).start()

    loaded, system = load(msgspec.json.decode(requests.get(), type=Load))
    replies.write(msgspec.json.encode(loaded) + b"\n")
    while True:
        ran = run(system, msgspec.json.decode(requests.get(), type=Run))
        replies.write(msgspec.json.encode(ran) + b"\n")


def load(request: Load) -> tuple[Loaded, Pooled]:
    """Import the libraries, note the memory, load the system; one that embeds by itself has no pools."""
    module, _, function = request.load.partition(":")
    library = importlib.import_module(module)
    before = memory.resident_bytes()
    system: Embed | Pooled = getattr(library, function)(**request.arguments, threads=request.threads)
    return Loaded(before), system if isinstance(system, Pooled) else Pooled(system, {})


def run(system: Pooled, request: Run) -> Ran:
    """Time a window.

    Raises:
        ValueError: the system did not return a vector for each row.
    """
    batches = [Batch(np.array(ids, dtype=np.int64), np.array(mask, dtype=np.int64)) for ids, mask in request.batches]
    reset = memory.reset_peak()
    for _ in range(request.untimed):
        _call(system, batches)
    calls = [_call(system, batches) for _ in range(request.timed)]
    return Ran(
        seconds=[forward + sum(pooling.values()) for forward, pooling in calls],
        pooled_seconds={name: [forward + pooling[name] for forward, pooling in calls] for name in system.pools},
        peak_bytes=memory.peak_bytes() if reset else None,
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


def _receive(lines: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    """Pass requests on; when standard input ends the parent is gone, and so is this process, whatever it is doing."""
    for line in lines:
        requests.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
