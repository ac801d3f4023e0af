"""Measure systems against each other: warm up, then let them take turns on every workload.

One call at a time on the whole machine: while a system is timed the others sleep. Knows neither torch nor a runtime.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from exporter.environment import cores, environment, load_average
from exporter.measure import report, schedule
from exporter.measure.process import LOAD_LIMIT_S, Worker
from exporter.measure.protocol import Run
from exporter.measure.report import LatencyReport
from exporter.measure.systems import System
from exporter.measure.workloads import Workload
from poolfold.errors import InputError

PAUSE_S = 0.1
"""Before each window. The previous system's threads may still spin: onnxruntime's did for 40 to 50 ms after a call."""

_WARM_UP_CALLS = 2
_ORDER_SEED = 0

Progress = Callable[[int, int, str], None]
"""`progress(done, total, what)`: warm-ups, then from zero again windows, done so far; what is being done."""


def measure(
    systems: Sequence[System],
    workloads: Sequence[Workload],
    *,
    threads: int | None = None,
    budget_s: float,
    progress: Progress,
) -> LatencyReport:
    """Time every system on every workload, and take the peak of its memory on the biggest.

    All systems are in memory at once. A workload whose fewest rounds would alone pass the budget is left out, and the
    report says so.

    Args:
        systems: what to measure, the baselines among them.
        workloads: what to measure on, smallest first.
        threads: of an operator, in every system alike; None for `environment.cores()`.
        budget_s: seconds for the timed windows together. Passed where even the fewest rounds take longer.
        progress: told before each step. A terminal's bar that it feeds should not redraw often: it would be measured.

    Raises:
        InputError: nothing to measure, a name twice, or a baseline that is not among the systems.
        CheckFailed: a system's process died or hung.
    """
    _check(systems, workloads)
    start = time.monotonic()
    load_before = load_average()
    threads = threads or cores()
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(system, threads)) for system in systems]
        for worker in workers:
            worker.start_load()
        before_load = [worker.loaded().before_load_bytes for worker in workers]

        kept, calls_s, peaks, left_out = _warm_up(workers, workloads, budget_s, progress)
        rounds_s = [schedule.round_seconds(row, PAUSE_S) for row in calls_s]
        counts = schedule.rounds(rounds_s, budget_s)
        seconds = _take_turns(workers, kept, calls_s, counts, progress)

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
            report.memory(system, kept[-1], before, peak)
            for system, before, peak in zip(systems, before_load, peaks, strict=True)
        ),
        left_out=left_out,
        environment={**environment(), "load_average_before": load_before, "load_average_after": load_average()},
    )


def _warm_up(
    workers: Sequence[Worker], workloads: Sequence[Workload], budget_s: float, progress: Progress
) -> tuple[list[Workload], list[list[float]], list[int | None], dict[str, str]]:
    """Run each workload a few times, smallest first, and learn how long a call takes.

    Returns:
        The workloads that are kept; seconds of a call, [workload][system]; each system's peak of memory, in bytes, on
        the last workload kept; the workloads left out, each with the reason.
    """
    kept: list[Workload] = []
    calls_s: list[list[float]] = []
    peaks: list[int | None] = []
    left_out: dict[str, str] = {}
    for number, workload in enumerate(workloads):
        progress(number, len(workloads), f"warming up on {workload.name}")
        # Time grows at least in proportion to the tokens, so this never leaves out what would have fitted.
        more = workload.input_ids.size / kept[-1].input_ids.size if kept else 0.0
        needed = more * sum(calls_s[-1]) * schedule.MIN_ROUNDS if kept else 0.0
        if needed > budget_s:
            left_out[workload.name] = f"needs at least {needed:.0f} s of a budget of {budget_s:.0f} s"
            continue
        kept.append(workload)
        replies = [worker.run(_request(workload, untimed=0, timed=_WARM_UP_CALLS), LOAD_LIMIT_S) for worker in workers]
        calls_s.append([min(reply.seconds) for reply in replies])
        peaks = [reply.peak_bytes for reply in replies]
    return kept, calls_s, peaks, left_out


def _take_turns(
    workers: Sequence[Worker],
    workloads: Sequence[Workload],
    calls_s: Sequence[Sequence[float]],
    counts: Sequence[int],
    progress: Progress,
) -> list[list[list[list[float]]]]:
    """Seconds of every call, [workload][system][round][call]."""
    seconds: list[list[list[list[float]]]] = [[[] for _ in workers] for _ in workloads]
    steps = list(schedule.turns(counts, len(workers), _ORDER_SEED))
    for done, (number, w, s) in enumerate(steps):
        progress(
            done, len(steps), f"round {number + 1} of {max(counts)}, {workloads[w].name}, {workers[s].system.name}"
        )
        untimed, timed = schedule.window(calls_s[w][s])
        limit_s = 60 + 20 * calls_s[w][s] * (untimed + timed)
        time.sleep(PAUSE_S)
        seconds[w][s].append(workers[s].run(_request(workloads[w], untimed, timed), limit_s).seconds)
    return seconds


def _request(workload: Workload, untimed: int, timed: int) -> Run:
    return Run(workload.input_ids.tolist(), workload.attention_mask.tolist(), untimed, timed)


def _check(systems: Sequence[System], workloads: Sequence[Workload]) -> None:
    """Refuse a measurement whose numbers could not be told apart or compared."""
    if not systems or not workloads:
        raise InputError(f"got {len(systems)} systems and {len(workloads)} workloads to measure, expected one or more.")
    for kind, names in (("system", [s.name for s in systems]), ("workload", [w.name for w in workloads])):
        if len(set(names)) < len(names):
            raise InputError(f"a {kind} comes twice among {', '.join(names)}; name each once.")
    for system in systems:
        if system.baseline not in {s.name for s in systems}:
            raise InputError(f"{system.name} is compared with {system.baseline}, which is not measured; add it.")
