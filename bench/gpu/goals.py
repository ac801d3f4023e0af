"""What poolfold holds itself to on a GPU, for each of ours and for the best of them.

Throughput on equal batches is the inverse of time, so the same ratio serves throughput and latency.
"""

from __future__ import annotations

from bench.batches import ALONE, MANY_RAGGED, RAGGED
from bench.goals import BEST, Comparison, Goal, Verdict, verdict
from bench.results import ModelResult
from bench.systems import COMPILED, EAGER
from bench.turns import STRATEGIES

_LEAST = ((RAGGED, COMPILED, 1.5), (MANY_RAGGED, COMPILED, 1.5), (ALONE[1], EAGER, 3.0))
"""The workload, the peer, and how many times as fast: ragged throughput, and the latency of one text."""


def verdicts(model: ModelResult) -> list[Verdict]:
    """Each goal, for each strategy and each of our systems, and for the best where it is not the only one."""
    assert model.rates is not None
    return [
        verdict(model, Comparison(Goal(workload, strategy, least), target, labels, (f"{peer} {model.rates.dtype}",)))
        for workload, peer, least in _LEAST
        for strategy in STRATEGIES
        if any(s.strategy == strategy for s in model.systems)
        for ours in [tuple(s.label for s in model.systems if s.side == "ours" and s.strategy == strategy)]
        for target, labels in [*((label, (label,)) for label in ours), *([] if len(ours) == 1 else [(BEST, ours)])]
    ]
