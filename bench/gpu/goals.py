"""What poolfold holds itself to on a GPU, and whether a measurement bears it out. Arithmetic on results.

The figure is the peer's window over ours in the same round, and its median must reach the goal. Throughput on equal
batches is the inverse of time, so the same ratio serves both goals. Vectors that fail parity reach nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.gpu.batches import ALONE, RAGGED
from bench.gpu.parity import LIMITS
from bench.gpu.results import ModelResult, SystemResult, TimingResult
from bench.gpu.systems import compiled_label, eager_label
from bench.peers.systems import name
from exporter.measure.report import Quartiles, quartiles

BEST = "best"


@dataclass(frozen=True)
class Goal:
    """Ours against a peer on a workload, at the least so many times as fast."""

    what: str
    workload: str
    peer: str
    least: float


def goals(dtype: str) -> tuple[Goal, ...]:
    """The goals, against peers of this precision."""
    compiled, eager = compiled_label(dtype), eager_label(dtype)
    return (
        *(Goal("ragged throughput", workload, compiled, 1.5) for workload in RAGGED),
        Goal("batch 1 latency", ALONE, eager, 3.0),
    )


@dataclass(frozen=True)
class Verdict:
    """A goal against a measurement of one strategy.

    ours: the label that was asked for, or BEST; `fastest` is the label that was compared.
    ratio: None where it was not measured, and `missing` says why.
    """

    goal: Goal
    strategy: str
    ours: str
    fastest: str = ""
    ratio: Quartiles | None = None
    missing: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the goal; None where nothing was measured."""
        return None if self.ratio is None else self.ratio.median >= self.goal.least

    @property
    def margin(self) -> float | None:
        """The median above the goal, as a share of the goal; negative where it is missed."""
        return None if self.ratio is None else self.ratio.median / self.goal.least - 1


def verdicts(model: ModelResult) -> list[Verdict]:
    """Each goal, for each strategy and each of our systems, and for the best where it is not the only one."""
    strategies = list(dict.fromkeys(s.strategy for s in model.systems))
    return [
        _verdict(model, goal, strategy, label, labels)
        for goal in goals(model.dtype)
        for strategy in strategies
        for ours in [[s.label for s in model.systems if s.ours and s.strategy == strategy]]
        for label, labels in [*((label, [label]) for label in ours), *([] if len(ours) == 1 else [(BEST, ours)])]
    ]


def parity_passes(system: SystemResult) -> bool:
    """Whether the vectors are as near to PyTorch's as the precision's limit asks."""
    return system.smallest_cosine >= LIMITS[system.dtype]


def _verdict(model: ModelResult, goal: Goal, strategy: str, label: str, labels: Sequence[str]) -> Verdict:
    systems = {s.name: s for s in model.systems}
    timings = {t.system: t for t in model.timings if t.workload == goal.workload}
    peer_name = name(goal.peer, strategy)
    peer = timings.get(peer_name)
    if peer is None:
        reason = model.missing.get(peer_name) or model.failed or "it was not timed"
        return Verdict(goal, strategy, label, missing=f"{goal.peer}: {reason}")
    right = [other for other in labels if parity_passes(systems[name(other, strategy)])]
    timed = [(other, timings[name(other, strategy)]) for other in right if name(other, strategy) in timings]
    if not timed:
        return Verdict(goal, strategy, label, missing=_why(model, strategy, labels, right))
    fastest, ours = min(timed, key=lambda pair: pair[1].latency_ms.median)
    return Verdict(goal, strategy, label, fastest, _ratio(peer, ours))


def _ratio(peer: TimingResult, ours: TimingResult) -> Quartiles:
    return quartiles([b / a for a, b in zip(ours.windows_ms, peer.windows_ms, strict=True)])


def _why(model: ModelResult, strategy: str, labels: Sequence[str], right: Sequence[str]) -> str:
    """Why none of ours can be judged."""
    reasons = [model.missing.get(name(label, strategy)) or model.failed or "it was not timed" for label in right]
    if set(labels) - set(right):
        reasons.append("its vectors fail parity" if len(labels) == 1 else "vectors fail parity")
    return "; ".join(dict.fromkeys(reasons)) or "none of ours ran"
