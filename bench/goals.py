"""Whether a measurement bears out what poolfold holds itself to. Arithmetic on results.

Fastest is whose median is smallest; the figure is the median of the rounds' ratios, the peer's window over ours in the
same round. Vectors that fail parity reach nothing. Which goals there are, and who is held against whom, is the
programs': `peers.goals`, `gpu.goals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.parity import LIMITS
from bench.results import ModelResult, SystemResult, TimingResult
from bench.systems import name
from exporter.measure.report import Quartiles, quartiles

BEST = "best"


@dataclass(frozen=True)
class Goal:
    """Our speed-up on a workload, at the least."""

    workload: str
    strategy: str
    least: float


@dataclass(frozen=True)
class Comparison:
    """Who is held against whom for a goal: `target` names it, `ours` and `peers` are labels."""

    goal: Goal
    target: str
    ours: tuple[str, ...]
    peers: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """A goal against a measurement.

    ours, peer: labels of what was compared; `ratio`: the peer's time over ours. None and empty where one of the two
    is missing, and `missing` says which and why.
    """

    goal: Goal
    target: str
    ours: str = ""
    peer: str = ""
    ratio: Quartiles | None = None
    missing: str = ""

    @property
    def reached(self) -> bool | None:
        """None where it was not measured."""
        return None if self.ratio is None else self.ratio.median >= self.goal.least


@dataclass(frozen=True)
class MemoryVerdict:
    """`smaller` should need less memory than `larger`; increases in bytes, None where not measured."""

    smaller: str
    larger: str
    smaller_bytes: int | None
    larger_bytes: int | None

    @property
    def reached(self) -> bool | None:
        """None where it was not measured."""
        if self.smaller_bytes is None or self.larger_bytes is None:
            return None
        return self.smaller_bytes < self.larger_bytes


def parity_passes(system: SystemResult) -> bool:
    """Whether the vectors are as near to PyTorch's as the precision's limit asks, where they were looked at."""
    return system.smallest_cosine is None or system.smallest_cosine >= LIMITS[system.dtype]


def verdict(model: ModelResult, comparison: Comparison) -> Verdict:
    """Our fastest against the fastest peer."""
    goal, systems = comparison.goal, {s.name: s for s in model.systems}

    def wrong(label: str) -> bool:
        system = systems.get(name(label, goal.strategy))
        return system is not None and not parity_passes(system)

    mine = _fastest(model, [label for label in comparison.ours if not wrong(label)], goal)
    theirs = _fastest(model, comparison.peers, goal)
    if mine is None or theirs is None:
        if theirs is None:
            why = [_why(model, label, goal) for label in comparison.peers] or ["no peer of this precision ran"]
        else:
            why = [
                f"{label}: vectors fail parity" if wrong(label) else _why(model, label, goal)
                for label in comparison.ours
            ]
        return Verdict(goal, comparison.target, missing="; ".join(dict.fromkeys(why)) or "none of ours ran")
    (our_label, ours), (peer_label, peer) = mine, theirs
    ratios = [b / a for a, b in zip(ours.windows_ms, peer.windows_ms, strict=True)]
    return Verdict(goal, comparison.target, our_label, peer_label, quartiles(ratios))


def _fastest(model: ModelResult, labels: Sequence[str], goal: Goal) -> tuple[str, TimingResult] | None:
    """The one of these with the smallest median on the goal's workload, and its windows."""
    timings = [(label, model.timing(name(label, goal.strategy), goal.workload)) for label in labels]
    return min(
        ((label, timing) for label, timing in timings if timing is not None),
        key=lambda pair: pair[1].latency_ms.median,
        default=None,
    )


def _why(model: ModelResult, label: str, goal: Goal) -> str:
    reasons = (model.missing.get(key) for key in (name(label, goal.strategy), label))
    return f"{label}: {next((r for r in reasons if r), model.failed or 'it was not timed')}"
