"""Before anything is timed: load the systems, call each on every workload, and learn how long a call takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exporter.measure import schedule
from exporter.measure.process import LOAD_LIMIT_S, Worker
from exporter.measure.protocol import Run
from exporter.measure.workloads import Workload
from poolfold.errors import CheckFailed

Progress = Callable[[int, int, str], None]
"""`progress(done, total, what)`: warm-ups, then from zero again windows, done so far; what is being done."""

_LONG_CALL_S = 0.25
"""Seconds: a longer call needs no second warm-up; allocating memory and starting threads is a small part of it."""


@dataclass(frozen=True)
class Allowance:
    """The time that a measurement may take.

    budget_s: seconds for the timed windows together. Without `until` it is passed where even the fewest rounds take
        longer.
    until: the `time.monotonic` at which all is over, loading and warming up included; only a call that has begun is
        finished.
    leave_out: whether a workload that does not fit is left out.
    """

    budget_s: float
    until: float = math.inf
    leave_out: bool = True

    @property
    def is_strict(self) -> bool:
        """Whether it is never passed."""
        return self.until < math.inf

    def refusal(self, calls_s: Sequence[float], planned_s: float, pause_s: float, *, warm: bool) -> str | None:
        """Why a workload, whose calls take so long, is left out; None where it fits.

        Args:
            calls_s: of each worker.
            planned_s: what the fewest rounds of the others take.
            pause_s: before each window.
            warm: whether it has been warmed up.
        """
        needed = schedule.MIN_ROUNDS * sum(calls_s)
        if not self.leave_out:
            return None
        if not self.is_strict:
            return (
                None
                if needed <= self.budget_s
                else f"needs at least {needed:.0f} s of a budget of {self.budget_s:.0f} s"
            )
        needed = schedule.MIN_ROUNDS * schedule.round_seconds(calls_s, pause_s) + (0.0 if warm else sum(calls_s))
        left = max(0.0, self.until - time.monotonic() - planned_s)
        return None if needed <= left else refused(needed, left)


@dataclass(frozen=True)
class Warmed:
    """What warming up showed.

    workloads: those that are kept.
    calls_s: seconds of a call, [workload][worker].
    peaks: of each worker's memory on the last workload kept, in bytes.
    left_out: the other workloads, each with the reason.
    """

    workloads: list[Workload]
    calls_s: list[list[float]]
    peaks: list[int | None]
    left_out: dict[str, str]


def refused(needed_s: float, left_s: float) -> str:
    """The reason, where something does not fit into what is left of the time."""
    return f"needs about {needed_s:.0f} s, and {left_s:.0f} s were left"


def too_late(doing: str) -> CheckFailed:
    """The error where nothing at all was timed."""
    return CheckFailed(f"all of the time for measuring went by while the systems were {doing}.")


def load(workers: Sequence[Worker], until: float) -> list[int | None]:
    """Wait until every system is loaded: the memory of each before that, in bytes.

    Raises:
        CheckFailed: one did not load, or not in time.
    """
    try:
        return [worker.loaded(min(LOAD_LIMIT_S, max(0.0, until - time.monotonic()))) for worker in workers]
    except CheckFailed:
        if time.monotonic() < until:
            raise
        raise too_late("loading") from None


def warm_up(
    workers: Sequence[Worker], workloads: Sequence[Workload], allowed: Allowance, pause_s: float, progress: Progress
) -> Warmed:
    """Run each workload a few times, smallest first.

    The very first call, in which weights are paged in, counts nowhere. From the second workload on, what does not fit
    is known before it is run; if its own calls show it, it is left out after all.

    Raises:
        CheckFailed: a system's process died or hung, or all of the time went by in the first calls.
    """
    kept: list[Workload] = []
    calls_s: list[list[float]] = []
    peaks: list[int | None] = []
    left_out: dict[str, str] = {}
    planned_s = 0.0
    for number, workload in enumerate(workloads):
        progress(number, len(workloads), f"warming up on {workload.name}")
        if kept:
            tokens = [before.tokens for before in kept]
            expected = [
                schedule.estimate(tokens, of_worker, workload.tokens) for of_worker in zip(*calls_s, strict=True)
            ]
            reason = allowed.refusal(expected, planned_s, pause_s, warm=False)
            if reason:
                left_out[workload.name] = reason
                continue
        warmed = []
        for worker in workers:
            if time.monotonic() > allowed.until and not kept:
                raise too_late("warming up")
            warmed.append(_warm_up_worker(worker, workload, cold=not kept))
        taken = [call_s for call_s, _ in warmed]
        reason = allowed.refusal(taken, planned_s, pause_s, warm=True) if kept else None
        if reason:
            left_out[workload.name] = reason
            continue
        kept.append(workload)
        calls_s.append(taken)
        peaks = [peak for _, peak in warmed]
        planned_s += schedule.MIN_ROUNDS * schedule.round_seconds(taken, pause_s)
    return Warmed(kept, calls_s, peaks, left_out)


def _warm_up_worker(worker: Worker, workload: Workload, *, cold: bool) -> tuple[float, int | None]:
    """Call twice, or once where a call is long: seconds of the faster call, and the peak of memory in bytes.

    cold: call once more before.
    """
    first = worker.run(Run(workload.batches, untimed=int(cold), timed=1), LOAD_LIMIT_S)
    if first.seconds[0] > _LONG_CALL_S:
        return first.seconds[0], first.peak_bytes
    second = worker.run(Run(workload.batches, untimed=0, timed=1), LOAD_LIMIT_S)
    peaks = [ran.peak_bytes for ran in (first, second) if ran.peak_bytes is not None]
    return min(first.seconds[0], second.seconds[0]), max(peaks, default=None)
