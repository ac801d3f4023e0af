"""Whether other programs disturbed a window: what the processors did meanwhile, and which rounds count.

Two signs, both as a share of the time of a system's threads, and the larger one counts:

- processor time that it did not get: what its best round got for each second, less what this one got. A runtime's
  threads spin, or wait for each other, each in its own way, so a system is held against itself alone;
- processor time that others took, beyond the cores that the system's threads leave free. It is what the CPUs neither
  idled nor gave to this process, so time that a hypervisor stole is in it. A machine that is busy all along, where even
  the best round got too little, shows here.

A round counts for a system where both its own window and its baseline's stayed below LIMIT. What no counter shows, such
as a neighbour on the same hardware, shows in times that vary from round to round: see `report.timing`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.host.environment import idle_processors

LIMIT = 0.1
"""Share of a window. Undisturbed ones of 20 to 400 ms showed less than 0.05, those beside one other process 0.4."""

_TICK_S = 0.01
"""What the system's count of idle time may be off by."""


@dataclass(frozen=True)
class Watched:
    """A window: how long it took, and in it the processor time of this process and of all others, in seconds."""

    wall_s: float
    processor_s: float
    others_s: float


@dataclass(frozen=True)
class Moment:
    """Counters, in seconds; `idle` as `idle_processors`."""

    wall_s: float
    processor_s: float
    idle: tuple[float, int] | None


@dataclass(frozen=True)
class Disturbance:
    """Of a whole measurement.

    windows: how many there were.
    disturbed: how many of them others disturbed.
    others: the share of the processors' time that others took, over all windows.
    """

    windows: int = 0
    disturbed: int = 0
    others: float = 0.0

    def __str__(self) -> str:
        return (
            f"other programs took {self.others:.0%} of the processors' time, and {self.disturbed} of {self.windows} "
            "timed windows were disturbed"
        )


CALM = Disturbance()


def now() -> Moment:
    """The counters of this process, all its threads, and of the machine."""
    return Moment(time.perf_counter(), time.process_time(), idle_processors())


def since(start: Moment) -> Watched:
    """What happened since then."""
    end = now()
    wall_s, processor_s = end.wall_s - start.wall_s, end.processor_s - start.processor_s
    others_s = 0.0
    if start.idle is not None and end.idle is not None:
        (before, cpus), (after, _) = start.idle, end.idle
        others_s = max(0.0, cpus * wall_s - (after - before) - processor_s - _TICK_S)
    return Watched(wall_s, processor_s, others_s)


def shares(windows: Sequence[Watched], threads: int, spare: int) -> list[float]:
    """How much each window of one system on one workload was disturbed, from 0 on.

    Args:
        windows: all of them.
        threads: of the system.
        spare: cores that its threads leave free.
    """
    got = [window.processor_s / max(window.wall_s, 1e-9) for window in windows]
    taken = [window.others_s / max(window.wall_s, 1e-9) - spare for window in windows]
    return [max(0.0, max(got) - g, t) / threads for g, t in zip(got, taken, strict=True)]


def calm(disturbed: Sequence[float]) -> list[int]:
    """The rounds that stayed below the limit, from how much each was disturbed."""
    return [number for number, share in enumerate(disturbed) if share <= LIMIT]


def counted(disturbed: Sequence[float], least: int) -> tuple[list[int], bool]:
    """The rounds whose times count, and whether they are disturbed all the same.

    They are the calm ones; where these are fewer than `least`, so many of the least disturbed.
    """
    rounds = calm(disturbed)
    if len(rounds) >= least:
        return rounds, False
    return sorted(sorted(range(len(disturbed)), key=disturbed.__getitem__)[:least]), True


def summary(windows: Sequence[tuple[Watched, float]], cores: int) -> Disturbance:
    """Of all windows, each with how much it was disturbed, on a machine with so many cores."""
    wall_s = sum(watched.wall_s for watched, _ in windows)
    others_s = sum(watched.others_s for watched, _ in windows)
    return Disturbance(
        windows=len(windows),
        disturbed=sum(share > LIMIT for _, share in windows),
        others=min(1.0, others_s / (cores * wall_s)) if wall_s else 0.0,
    )
