"""Measure systems against each other: warm up, then let them take turns on every workload.

One call at a time on the whole machine: while a system is timed the others sleep. Knows neither torch nor a runtime.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeVar

from exporter.host.environment import environment, load_average
from exporter.measure import report, schedule
from exporter.measure.process import LOAD_LIMIT_S, Worker
from exporter.measure.protocol import Ran, Run
from exporter.measure.report import LatencyReport
from exporter.measure.systems import System
from exporter.measure.workloads import Workload
from poolfold.errors import InputError
from poolfold.sessions.threads import default_threads

PAUSE_S = 0.1
"""Before each window. The previous system's threads may still spin: onnxruntime's did for 40 to 50 ms after a call."""

_LONG_CALL_S = 1.0
"""Seconds: a longer call needs no second warm-up; allocating memory and starting threads is a small part of it."""
_ORDER_SEED = 0

T = TypeVar("T")

Progress = Callable[[int, int, str], None]
"""`progress(done, total, what)`: warm-ups, then from zero again windows, done so far; what is being done."""


def measure(
    systems: Sequence[System],
    workloads: Sequence[Workload],
    *,
    threads: int | None = None,
    budget_s: float,
    progress: Progress,
    leave_out: bool = True,
) -> LatencyReport:
    """Time every system on every workload, and take the peak of its memory on the biggest.

    All systems are in memory at once, each in a process of its own unless `System.process` says otherwise.

    Args:
        systems: what to measure, the baselines among them.
        workloads: what to measure on, smallest first.
        threads: of an operator, in every system alike; None for `default_threads()`.
        budget_s: seconds for the timed windows together. Passed where even the fewest rounds take longer.
        progress: told before each step. A terminal's bar that it feeds should not redraw often: it would be measured.
        leave_out: leave out a workload whose fewest rounds would alone pass the budget; the report says so.

    Raises:
        InputError: nothing to measure, a name twice, or a baseline that is not among the systems.
        CheckFailed: a system's process died or hung.
    """
    _check(systems, workloads)
    start = time.monotonic()
    load_before = load_average()
    threads = threads or default_threads()
    with ExitStack() as stack:
        places = _places(systems)
        # The first system of each place stands for it.
        workers = [
            stack.enter_context(Worker(systems[places.index(place)], threads)) for place in range(max(places) + 1)
        ]
        before_load = [worker.loaded() for worker in workers]

        kept, calls_s, peaks, left_out = _warm_up(workers, workloads, budget_s if leave_out else math.inf, progress)
        rounds_s = [schedule.round_seconds(row, PAUSE_S) for row in calls_s]
        counts = schedule.rounds(rounds_s, budget_s)
        windows = _windows(workers, kept, calls_s, counts, progress)

    seconds = [
        [
            [ran.pooled_seconds.get(system.strategy, ran.seconds) for ran in row[place]]
            for system, place in zip(systems, places, strict=True)
        ]
        for row in windows
    ]
    names = [system.name for system in systems]
    return LatencyReport(
        systems=tuple(report.Measured(s.name, s.strategy, s.dtype, s.runtime, s.baseline) for s in systems),
        workloads=tuple(
            report.Shape(w.name, w.batch, w.seq_len, w.real_tokens, count)
            for w, count in zip(kept, counts, strict=True)
        ),
        threads=threads,
        pause_s=PAUSE_S,
        order_seed=_ORDER_SEED,
        budget_s=budget_s,
        seconds=time.monotonic() - start,
        timings=tuple(
            report.timing(system, workload, seconds[w][s], seconds[w][names.index(system.baseline)])
            for w, workload in enumerate(kept)
            for s, system in enumerate(systems)
        ),
        memory=tuple(
            report.memory(system, kept[-1], before_load[place], peaks[place])
            for system, place in zip(systems, places, strict=True)
        ),
        left_out=left_out,
        environment={**environment(), "load_average_before": load_before, "load_average_after": load_average()},
    )


def _warm_up(
    workers: Sequence[Worker], workloads: Sequence[Workload], budget_s: float, progress: Progress
) -> tuple[list[Workload], list[list[float]], list[int | None], dict[str, str]]:
    """Run each workload a few times, smallest first, and learn how long a call takes.

    Returns:
        The workloads that are kept; seconds of a call, [workload][worker]; each worker's peak of memory, in bytes, on
        the last workload kept; the workloads left out, each with the reason.
    """
    kept: list[Workload] = []
    calls_s: list[list[float]] = []
    peaks: list[int | None] = []
    left_out: dict[str, str] = {}
    for number, workload in enumerate(workloads):
        progress(number, len(workloads), f"warming up on {workload.name}")
        # Time grows at least in proportion to the tokens, so this never leaves out what would have fitted.
        more = workload.tokens / kept[-1].tokens if kept else 0.0
        needed = more * sum(calls_s[-1]) * schedule.MIN_ROUNDS if kept else 0.0
        if needed > budget_s:
            left_out[workload.name] = f"needs at least {needed:.0f} s of a budget of {budget_s:.0f} s"
            continue
        kept.append(workload)
        warmed = [_warm_up_worker(worker, workload) for worker in workers]
        calls_s.append([call_s for call_s, _ in warmed])
        peaks = [peak for _, peak in warmed]
    return kept, calls_s, peaks, left_out


def _warm_up_worker(worker: Worker, workload: Workload) -> tuple[float, int | None]:
    """Call twice, or once where a call is long: seconds of the faster call, and the peak of memory in bytes."""
    first = worker.run(Run(workload.batches, untimed=0, timed=1), LOAD_LIMIT_S)
    if first.seconds[0] > _LONG_CALL_S:
        return first.seconds[0], first.peak_bytes
    second = worker.run(Run(workload.batches, untimed=0, timed=1), LOAD_LIMIT_S)
    peaks = [ran.peak_bytes for ran in (first, second) if ran.peak_bytes is not None]
    return min(first.seconds[0], second.seconds[0]), max(peaks, default=None)


def take_turns(counts: Sequence[int], systems: int, run: Callable[[int, int, int], T]) -> list[list[list[T]]]:
    """Run every system on every workload, in turns: what times one thing beside another goes through here.

    Args:
        counts: rounds of each workload.
        systems: how many there are.
        run: called with the numbers of the round, the workload and the system.

    Returns:
        What `run` returned, [workload][system][round].
    """
    results: list[list[list[T]]] = [[[] for _ in range(systems)] for _ in counts]
    for number, workload, system in schedule.turns(counts, systems, _ORDER_SEED):
        results[workload][system].append(run(number, workload, system))
    return results


def _windows(
    workers: Sequence[Worker],
    workloads: Sequence[Workload],
    calls_s: Sequence[Sequence[float]],
    counts: Sequence[int],
    progress: Progress,
) -> list[list[list[Ran]]]:
    """Every window, [workload][worker][round]."""
    done = itertools.count()
    total = sum(counts) * len(workers)

    def run(number: int, w: int, s: int) -> Ran:
        what = f"round {number + 1} of {max(counts)}, {workloads[w].name}, {workers[s].system.name}"
        progress(next(done), total, what)
        time.sleep(PAUSE_S)
        untimed, timed = schedule.window(calls_s[w][s])
        limit_s = 60 + 20 * calls_s[w][s] * (untimed + timed)
        return workers[s].run(Run(workloads[w].batches, untimed, timed), limit_s)

    return take_turns(counts, len(workers), run)


def _places(systems: Sequence[System]) -> list[int]:
    """The process of each system, numbered from 0 in the order of the systems."""
    processes = [system.process or system.name for system in systems]
    distinct = list(dict.fromkeys(processes))
    return [distinct.index(process) for process in processes]


def _check(systems: Sequence[System], workloads: Sequence[Workload]) -> None:
    """Refuse systems or workloads without distinct names, and systems without their baseline."""
    if not systems or not workloads:
        raise InputError(f"got {len(systems)} systems and {len(workloads)} workloads to measure, expected one or more.")
    for kind, names in (("system", [s.name for s in systems]), ("workload", [w.name for w in workloads])):
        if len(set(names)) < len(names):
            raise InputError(f"a {kind} comes twice among {', '.join(names)}; name each once.")
    for system in systems:
        if system.baseline not in {s.name for s in systems}:
            raise InputError(f"{system.name} is compared with {system.baseline}, which is not measured; add it.")
