"""What poolfold holds itself to against its peers, and whether a measurement bears it out. Arithmetic on results.

At equal precision, each of our targets is held against the fastest peer in the same runtime, PyTorch counting in every
one, and the best of our targets against the fastest peer of all. Fastest is whose median is smallest; the figure is the
median of the rounds' ratios, the peer's window over ours in the same round.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.peers.inputs import ALONE, FULL, RAGGED, SORTED
from bench.peers.results import MemoryResult, ModelResult, TimingResult
from bench.peers.systems import ONNXRUNTIME, OPENVINO, OURS, PYTORCH, name, our_label
from exporter.measure.report import Quartiles, quartiles

_SIX_LAYERS = 6
BEST = "best"


@dataclass(frozen=True)
class Goal:
    """Our speed-up on a workload, at the least."""

    workload: str
    strategy: str
    least: float


def goals(layers: int) -> tuple[Goal, ...]:
    """The goals for a model. What `cls` saves in the last layer is a smaller share of a deeper model."""
    return (
        Goal(RAGGED, "cls", 1.8),
        Goal(RAGGED, "mean", 1.6),
        Goal(FULL, "cls", 1.12 if layers <= _SIX_LAYERS else 1.05),
        Goal(FULL, "mean", 0.98),
        Goal(SORTED, "cls", 1.15),
        Goal(SORTED, "mean", 1.0),
        *(Goal(workload, strategy, 0.97) for workload in ALONE for strategy in ("cls", "mean")),
    )


@dataclass(frozen=True)
class Verdict:
    """A goal against a measurement.

    ours, peer: labels of what was compared; `ratio`: the peer's time over ours. None and empty where one of the two
    is missing, and `missing` says which and why.
    target: `onnxruntime fp32` and the like, or `best fp32`.
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


def verdicts(model: ModelResult) -> tuple[Verdict, ...]:
    """Every goal on every target, in the order of the goals."""
    return tuple(
        _verdict(model, goal, *comparison) for goal in goals(model.size.layers) for comparison in comparisons(model)
    )


def comparisons(model: ModelResult) -> list[tuple[str, list[str], list[str]]]:
    """Who is held against whom: the target's name, our labels, the peers' labels."""
    peers = {s.label: s for s in model.systems if s.side == "peer"}

    def of(dtype: str, runtimes: tuple[str, ...]) -> list[str]:
        return [label for label, s in peers.items() if s.dtype == dtype and s.runtime in runtimes]

    found = [(f"{target} {dtype}", [our_label(target, dtype)], of(dtype, (target, PYTORCH))) for target, dtype in OURS]
    for dtype in dict.fromkeys(dtype for _, dtype in OURS):
        mine = [our_label(target, dtype_) for target, dtype_ in OURS if dtype_ == dtype]
        # With one target alone at this precision it is the best one, and stands there already.
        if len(mine) > 1:
            found.append((f"{BEST} {dtype}", mine, of(dtype, (PYTORCH, ONNXRUNTIME, OPENVINO))))
    return found


def memory_verdicts(model: ModelResult) -> tuple[MemoryVerdict, ...]:
    """`cls` below `mean`, and both below the peers' export, in each runtime at fp32."""
    found = []
    for runtime in dict.fromkeys(target for target, _ in OURS):
        here = [m for m in model.memory if m.runtime == runtime]
        ours = {m.strategy: m for m in here if m.side == "ours"}
        peer = next((m for m in here if m.side == "peer"), None)
        pairs = [("cls", "mean"), ("cls", ""), ("mean", "")]
        for smaller, larger in pairs:
            left, right = ours.get(smaller), ours.get(larger) if larger else peer
            found.append(
                MemoryVerdict(
                    smaller=name(our_label(runtime, "fp32"), smaller),
                    larger=name(our_label(runtime, "fp32"), larger) if larger else _label(peer, runtime),
                    smaller_bytes=left.increase_bytes if left else None,
                    larger_bytes=right.increase_bytes if right else None,
                )
            )
    return tuple(found)


def _label(peer: MemoryResult | None, runtime: str) -> str:
    return peer.label if peer else f"the peers' export in {runtime}"


def _verdict(model: ModelResult, goal: Goal, target: str, ours: list[str], peers: list[str]) -> Verdict:
    mine, theirs = _fastest(model, ours, goal), _fastest(model, peers, goal)
    if mine is None or theirs is None:
        reasons = [f"{label}: {model.missing[label]}" for label in ours if label in model.missing]
        return Verdict(goal, target, missing="; ".join(reasons) or "no peer of this precision ran")
    (our_name, our_windows), (peer_name, peer_windows) = mine, theirs
    ratios = [b / a for a, b in zip(our_windows.windows_ms, peer_windows.windows_ms, strict=True)]
    return Verdict(goal, target, our_name, peer_name, quartiles(ratios))


def _fastest(model: ModelResult, labels: list[str], goal: Goal) -> tuple[str, TimingResult] | None:
    """The one of these with the smallest median on the goal's workload, and its windows."""
    wanted = {name(label, goal.strategy): label for label in labels}
    timings = [t for t in model.timings if t.workload == goal.workload and t.system in wanted]
    if not timings:
        return None
    fastest = min(timings, key=lambda timing: timing.latency_ms.median)
    return wanted[fastest.system], fastest
