"""One system alone in a process: whether it runs, its vectors, and the peak of its memory.

What does not run is refused in the words of whoever refused it. Windows against other systems come later.
"""

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
from exporter.measure.workloads import Batch, Workload

LEAST_S = 5.0
"""With less time left a system is not tried."""


class Probed(NamedTuple):
    """What a probe gave.

    vectors: of each workload, float32 [rows, dim].
    increase_bytes: the peak of memory above what was in use before; None where the machine does not tell.
    """

    vectors: list[npt.NDArray[np.float32]]
    increase_bytes: int | None


def probe(
    entry: Entry, workloads: Sequence[Workload], wanted: Probed, device: str, threads: int, limit_s: float, least: float
) -> tuple[Probed, float] | str:
    """What a system gave, with its smallest cosine to what is wanted; or why it does not count as running.

    One that takes fewer than `least` bytes of the device's memory does not have its weights there.
    """
    if limit_s < LEAST_S:
        return "not tried: the time was spent on the systems before it; give more with --seconds"
    try:
        probed = alone(entry, workloads, device, threads, limit_s)
        cosine = smallest_cosine(probed.vectors, wanted.vectors)
    except Exception as error:  # whatever a runtime raises is the reason that it does not run
        return in_words(error)
    if probed.increase_bytes is not None and probed.increase_bytes < least:
        took = f"it took {probed.increase_bytes} bytes of the card's memory, and its weights alone are more than"
        return f"{took} {least:.0f}: it computed elsewhere"
    return probed, cosine


def alone(entry: Entry, workloads: Sequence[Workload], device: str, threads: int, limit_s: float) -> Probed:
    """Run a system in a process of its own; raises what it raises there, and CheckFailed where it dies or hangs."""
    batches = [batch for workload in workloads for batch in workload.batches]
    with OwnProcess("bench.gpu.probe:run", entry.load, dict(entry.arguments), threads, batches, device) as process:
        return Probed(*process.result(limit_s))


def run(load: str, arguments: Mapping[str, Any], threads: int, batches: Sequence[Batch], device: str) -> Probed:
    """What the process runs."""
    with watch(device) as increase_bytes:
        _, system = worker.load(load, arguments, threads)
        return Probed([np.asarray(system.forward(*batch)) for batch in batches], increase_bytes())
