"""How many rounds the time allows, and whose turn it is. Pure functions; nothing is run or timed here."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence

MIN_ROUNDS, MAX_ROUNDS = 3, 15
_WINDOW_S = 0.1
_MAX_CALLS = 50
_SLOW_CALL_S = 0.05


def window(call_s: float) -> tuple[int, int]:
    """Untimed and timed calls of a window, for a call that takes `call_s` seconds.

    Short calls are repeated, after one that wakes threads and refills caches after the pause; in a slow call neither
    shows, so it is made once.
    """
    return (1 if call_s < _SLOW_CALL_S else 0), min(_MAX_CALLS, max(1, math.ceil(_WINDOW_S / call_s)))


def round_seconds(calls_s: Sequence[float], pause_s: float) -> float:
    """What one round of a workload takes: a pause and a window for each system's call time."""
    return sum(pause_s + call_s * sum(window(call_s)) for call_s in calls_s)


def rounds(rounds_s: Sequence[float], budget_s: float) -> tuple[int, ...]:
    """Rounds of each workload, from what a round of it takes, in seconds.

    Each gets MIN_ROUNDS, even past the budget: a median of fewer says nothing. What is left of the budget is shared
    out equally, from the fastest on; what one does not use goes to the slower ones.
    """
    left = max(0.0, budget_s - MIN_ROUNDS * sum(rounds_s))
    counts = [MIN_ROUNDS] * len(rounds_s)
    for place, i in enumerate(sorted(range(len(rounds_s)), key=rounds_s.__getitem__)):
        share = left / (len(rounds_s) - place)
        more = min(MAX_ROUNDS - MIN_ROUNDS, int(share / rounds_s[i]))
        counts[i] += more
        left -= more * rounds_s[i]
    return tuple(counts)


def estimate(tokens: Sequence[int], seconds: Sequence[float], wanted: int) -> float:
    """Seconds of a call on `wanted` tokens, from calls on smaller sizes, in rising order.

    A call takes a fixed time, such as that of reading the weights, and a time for each token; neither is negative. The
    last two sizes tell both. From one size nothing is known but that more tokens take no less.
    """
    last = tokens[-1]
    smaller = [(n, s) for n, s in zip(tokens, seconds, strict=True) if n < last]
    if not smaller:
        return seconds[-1]
    before, before_s = smaller[-1]
    per_token = (seconds[-1] - before_s) / (last - before)
    return seconds[-1] + min(max(0.0, per_token), seconds[-1] / last) * (wanted - last)


def turns(counts: Sequence[int], systems: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """Whose turn it is: (round, workload, system), as indices; `counts` are the rounds of each workload."""
    return turns_while(lambda number, workload: number < counts[workload], len(counts), systems, seed)


def turns_while(
    wanted: Callable[[int, int], bool], workloads: int, systems: int, seed: int
) -> Iterator[tuple[int, int, int]]:
    """Whose turn it is, as long as `wanted(round, workload)` is asked for and true of any workload.

    A round visits every workload that still wants one, and there every system once, in an order drawn afresh: a
    machine that slows down, or a neighbour that wakes up, then meets all systems alike, and a few rounds of each
    workload rather than all rounds of one.
    """
    order = random.Random(seed)
    left, number = list(range(workloads)), 0
    while left:
        for workload in list(left):
            if not wanted(number, workload):
                left.remove(workload)
                continue
            for system in order.sample(range(systems), systems):
                yield number, workload, system
        number += 1
