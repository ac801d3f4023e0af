"""Windows -> the numbers a reader wants. Values and arithmetic, all of it ready for `dataclasses.asdict` and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exporter.measure.disturbance import CALM, Disturbance, counted
from exporter.measure.quartiles import Quartiles, quartiles
from exporter.measure.schedule import MIN_ROUNDS
from exporter.measure.systems import System
from exporter.measure.workloads import Workload

_MOST_SPREAD = 1.5
"""The upper quartile of the rounds over the lower: undisturbed, it was below 1.2."""


@dataclass(frozen=True)
class Timing:
    """A system on a workload.

    windows_ms: milliseconds of a call in each round: the median of the window's calls. In the order of the rounds.
    disturbance: of each of these windows, as `disturbance.shares`.
    rounds: numbers of the rounds that count, from 0: where neither this window nor the baseline's was disturbed.
    latency_ms: the quartiles of the windows of these rounds.
    p90_ms: of all calls of these rounds.
    speedup: the baseline's window over this one's, round by round; above 1 is faster than the baseline.
    sentences_per_s: rows over the median latency.
    tokens_per_s: tokens that are not padding, over the median latency.
    disturbed: too few rounds were free of other programs, or the times vary too much between these rounds: what no
        counter shows, such as a virtual machine's neighbours. No claim rests on such numbers.
    """

    system: str
    workload: str
    calls_per_window: int
    windows_ms: tuple[float, ...]
    latency_ms: Quartiles
    p90_ms: float
    speedup: Quartiles
    sentences_per_s: float
    tokens_per_s: float
    disturbance: tuple[float, ...] = ()
    rounds: tuple[int, ...] = ()
    disturbed: bool = False


@dataclass(frozen=True)
class Memory:
    """Resident memory of a system's process, in bytes; None where the machine does not tell.

    before_load_bytes: with its libraries imported and no model.
    peak_bytes: the largest while it ran `workload`, the biggest one measured, after the smaller ones.
    increase_bytes: the difference: what the model and the batch need.
    """

    system: str
    workload: str
    before_load_bytes: int | None
    peak_bytes: int | None
    increase_bytes: int | None


@dataclass(frozen=True)
class Measured:
    """What was measured: a system."""

    name: str
    strategy: str
    dtype: str
    runtime: str
    baseline: str


@dataclass(frozen=True)
class Shape:
    """What it was measured on: a workload, and how many rounds it had."""

    name: str
    batch: int
    seq_len: int
    real_tokens: int
    rounds: int


@dataclass(frozen=True)
class LatencyReport:
    """Latency, throughput and peak memory of several systems on the same inputs and threads.

    threads: of an operator, the same for every system.
    pause_s: before each window.
    order_seed: of the order in which the systems took turns.
    seconds: what the whole measurement took, loading and warm-up included.
    left_out: workloads that were not measured, with the reason.
    disturbance: by other programs, over all windows.
    environment: the machine and the versions, with the load average before the first process was started and after
        the last window.
    """

    systems: tuple[Measured, ...]
    workloads: tuple[Shape, ...]
    threads: int
    pause_s: float
    order_seed: int
    budget_s: float
    seconds: float
    timings: tuple[Timing, ...]
    memory: tuple[Memory, ...]
    left_out: Mapping[str, str]
    environment: Mapping[str, object]
    disturbance: Disturbance = CALM


def timing(
    system: System,
    workload: Workload,
    seconds: Sequence[Sequence[float]],
    baseline: Sequence[Sequence[float]],
    disturbance: Sequence[float] = (),
    baseline_disturbance: Sequence[float] = (),
) -> Timing:
    """The numbers of a system on a workload.

    Args:
        system: what ran.
        workload: what it ran on.
        seconds: of each call, [round][call].
        baseline: the same of the system it is compared with, in the same rounds.
        disturbance: of each window; empty where nobody watched.
        baseline_disturbance: the same of the baseline's.
    """
    rounds, disturbed = list(range(len(seconds))), False
    if disturbance:
        rounds, disturbed = counted([*map(max, disturbance, baseline_disturbance)], MIN_ROUNDS)
    windows = [statistics.median(calls) for calls in seconds]
    against = [statistics.median(calls) for calls in baseline]
    latency = quartiles([windows[number] * 1e3 for number in rounds])
    compared = quartiles([against[number] * 1e3 for number in rounds])
    return Timing(
        system=system.name,
        workload=workload.name,
        calls_per_window=len(seconds[0]),
        windows_ms=tuple(window * 1e3 for window in windows),
        latency_ms=latency,
        p90_ms=float(np.percentile([call * 1e3 for number in rounds for call in seconds[number]], 90)),
        speedup=quartiles([against[number] / windows[number] for number in rounds]),
        sentences_per_s=workload.batch / latency.median * 1e3,
        tokens_per_s=workload.real_tokens / latency.median * 1e3,
        disturbance=tuple(disturbance),
        rounds=tuple(rounds),
        disturbed=disturbed or any(times.q3 > _MOST_SPREAD * times.q1 for times in (latency, compared)),
    )


def memory(system: System, workload: Workload, before_load: int | None, peak: int | None) -> Memory:
    """The memory of a system on the biggest workload, in bytes."""
    increase = None if before_load is None or peak is None else peak - before_load
    return Memory(system.name, workload.name, before_load, peak, increase)
