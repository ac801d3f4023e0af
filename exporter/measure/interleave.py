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
from exporter.measure import disturbance, report, schedule, warm_up
from exporter.measure.process import Worker
from exporter.measure.protocol import Ran, Run
from exporter.measure.report import LatencyReport
from exporter.measure.systems import System
from exporter.measure.warm_up import Allowance, Progress, Warmed
from exporter.measure.workloads import Workload
from poolfold.errors import InputError
from poolfold.sessions.threads import allowed_cores, default_threads

PAUSE_S = 0.1
"""Before each window. The previous system's threads may still spin: onnxruntime's did for 40 to 50 ms after a call."""

_ORDER_SEED = 0

T = TypeVar("T")


def measure(
    systems: Sequence[System],
    workloads: Sequence[Workload],
    *,
    threads: int | None = None,
    budget_s: float,
    until: float = math.inf,
    progress: Progress,
    leave_out: bool = True,
) -> LatencyReport:
    """Time every system on every workload, and take the peak of its memory on the biggest.

    All systems are in memory at once, each in a process of its own unless `System.process` says otherwise.

    Args:
        systems: what to measure, the baselines among them.
        workloads: what to measure on, smallest first.
        threads: of an operator, in every system alike; None for `default_threads()`.
        budget_s: as `Allowance`.
        until: as `Allowance`.
        progress: told before each step. A terminal's bar that it feeds should not redraw often: it would be measured.
        leave_out: leave out a workload whose fewest rounds do not fit; the report says so.

    Raises:
        InputError: nothing to measure, a name twice, or a baseline that is not among the systems.
        CheckFailed: a system's process died or hung, or the time did not suffice for one round.
    """
    _check(systems, workloads)
    allowed = Allowance(budget_s, until, leave_out)
    start = time.monotonic()
    load_before = load_average()
    threads = threads or default_threads()
    with ExitStack() as stack:
        places = _places(systems)
        # The first system of each place stands for it.
        workers = [
            stack.enter_context(Worker(systems[places.index(place)], threads)) for place in range(max(places) + 1)
        ]
        before_load = warm_up.load(workers, until)
        warmed = warm_up.warm_up(workers, workloads, allowed, PAUSE_S, progress)
        names = [system.name for system in systems]
        bases = [places[names.index(system.baseline)] for system in systems]
        pairs = list(zip(places, bases, strict=True))
        windows = _windows(workers, warmed, allowed, pairs, threads, progress)

    rounds_s = [schedule.round_seconds(row, PAUSE_S) for row in warmed.calls_s]
    never = [(w.name, s) for w, s, row in zip(warmed.workloads, rounds_s, windows, strict=True) if not row[0]]
    left_out = warmed.left_out | {name: warm_up.refused(schedule.MIN_ROUNDS * round_s, 0.0) for name, round_s in never}
    timed = [(w, row) for w, row in zip(warmed.workloads, windows, strict=True) if row[0]]
    if not timed:
        raise warm_up.too_late("warming up")
    disturbed = [_disturbed(row, threads) for _, row in timed]

    def seconds(system: int, row: Sequence[Sequence[Ran]]) -> list[list[float]]:
        return [ran.pooled_seconds.get(systems[system].strategy, ran.seconds) for ran in row[places[system]]]

    return LatencyReport(
        systems=tuple(report.Measured(s.name, s.strategy, s.dtype, s.runtime, s.baseline) for s in systems),
        workloads=tuple(report.Shape(w.name, w.batch, w.seq_len, w.real_tokens, len(row[0])) for w, row in timed),
        threads=threads,
        pause_s=PAUSE_S,
        order_seed=_ORDER_SEED,
        budget_s=budget_s,
        seconds=time.monotonic() - start,
        timings=tuple(
            report.timing(
                system,
                workload,
                seconds(s, row),
                seconds(names.index(system.baseline), row),
                shares[places[s]],
                shares[bases[s]],
            )
            for (workload, row), shares in zip(timed, disturbed, strict=True)
            for s, system in enumerate(systems)
        ),
        memory=tuple(
            report.memory(system, warmed.workloads[-1], before_load[place], warmed.peaks[place])
            for system, place in zip(systems, places, strict=True)
        ),
        left_out=left_out,
        environment={**environment(), "load_average_before": load_before, "load_average_after": load_average()},
        disturbance=disturbance.summary(
            [
                (ran.watched, share)
                for (_, row), shares in zip(timed, disturbed, strict=True)
                for worker, of_worker in zip(row, shares, strict=True)
                for ran, share in zip(worker, of_worker, strict=True)
            ],
            max(threads, allowed_cores()),
        ),
    )


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
    warmed: Warmed,
    allowed: Allowance,
    pairs: Sequence[tuple[int, int]],
    threads: int,
    progress: Progress,
) -> list[list[list[Ran]]]:
    """Every window, [workload][worker][round].

    First the rounds that the time allows for. Then, while there is time, rounds of the workloads in which other
    programs disturbed so many that too few are left for one of the pairs, a system's worker and its baseline's.
    """
    rounds_s = [schedule.round_seconds(row, PAUSE_S) for row in warmed.calls_s]
    end = min(allowed.until, time.monotonic() + allowed.budget_s)
    counts = schedule.rounds(rounds_s, max(0.0, end - time.monotonic()))
    runs: list[list[list[Ran]]] = [[[] for _ in workers] for _ in counts]

    def wanted(number: int, w: int) -> bool:
        if number < schedule.MIN_ROUNDS and not allowed.is_strict:
            return True
        last_s = sum(PAUSE_S + worker[-1].watched.wall_s for worker in runs[w]) if number else 0.0
        if time.monotonic() + max(rounds_s[w], last_s) > end:
            return False
        return number < counts[w] or (
            number < 2 * schedule.MAX_ROUNDS and _fewest_calm(runs[w], pairs, threads) < schedule.MIN_ROUNDS
        )

    done, planned = itertools.count(), sum(counts) * len(workers)
    for number, w, s in schedule.turns_while(wanted, len(counts), len(workers), _ORDER_SEED):
        workload, call_s = warmed.workloads[w], warmed.calls_s[w][s]
        so_far = next(done)
        what = f"round {number + 1} of {max(number + 1, *counts)}, {workload.name}, {workers[s].system.name}"
        progress(so_far, max(planned, so_far + 1), what)
        time.sleep(PAUSE_S)
        untimed, timed = schedule.window(call_s)
        limit_s = 60 + 20 * call_s * (untimed + timed)
        runs[w][s].append(workers[s].run(Run(workload.batches, untimed, timed), limit_s))
    return runs


def _disturbed(row: Sequence[Sequence[Ran]], threads: int) -> list[list[float]]:
    """How much each window was disturbed, [worker][round]."""
    spare = max(0, allowed_cores() - threads)
    return [disturbance.shares([ran.watched for ran in worker], threads, spare) for worker in row]


def _fewest_calm(row: Sequence[Sequence[Ran]], pairs: Sequence[tuple[int, int]], threads: int) -> int:
    """In how many rounds both of a pair were undisturbed, of the pair that has the fewest."""
    shares = _disturbed(row, threads)
    return min(len(disturbance.calm([*map(max, shares[own], shares[base])])) for own, base in pairs)


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
