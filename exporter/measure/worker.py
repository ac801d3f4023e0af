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
from typing import BinaryIO

import msgspec
import numpy as np

from exporter.measure import memory
from exporter.measure.protocol import Embed, Load, Loaded, Ran, Run


def main() -> None:
    """Serve the parent's requests."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # Not sys.stdin: a thread that waits in it would break the interpreter's own end after a failure.
    lines = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    threading.Thread(target=_receive, args=(lines, requests), daemon=True).start()

    loaded, embed = load(msgspec.json.decode(requests.get(), type=Load))
    replies.write(msgspec.json.encode(loaded) + b"\n")
    while True:
        ran = run(embed, msgspec.json.decode(requests.get(), type=Run))
        replies.write(msgspec.json.encode(ran) + b"\n")


def load(request: Load) -> tuple[Loaded, Embed]:
    """Import the libraries, note the memory, load the system."""
    module, _, function = request.load.partition(":")
    library = importlib.import_module(module)
    before = memory.resident_bytes()
    embed: Embed = getattr(library, function)(**request.arguments, threads=request.threads)
    return Loaded(before), embed


def run(embed: Embed, request: Run) -> Ran:
    """Time a window.

    Raises:
        ValueError: the system did not return a vector for each row.
    """
    ids = np.array(request.input_ids, dtype=np.int64)
    mask = np.array(request.attention_mask, dtype=np.int64)
    reset = memory.reset_peak()
    for _ in range(request.untimed):
        embed(ids, mask)
    seconds = []
    for _ in range(request.timed):
        start = time.perf_counter()
        vectors = embed(ids, mask)
        seconds.append(time.perf_counter() - start)
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise ValueError(f"got vectors of shape {vectors.shape} for {len(ids)} rows, expected [{len(ids)}, dim]")
    return Ran(seconds, memory.peak_bytes() if reset else None)


def _receive(lines: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    """Pass requests on; when standard input ends the parent is gone, and so is this process, whatever it is doing."""
    for line in lines:
        requests.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
