"""What poolfold holds itself to, and whether a measurement bears it out. Arithmetic on results.

Fastest is whose median is smallest; the figure is the median of the rounds' ratios, the peer's window over ours in the
same round. On a processor, at equal precision, each of our targets is held against the fastest peer in the same
runtime, PyTorch counting in every one, and the best of our targets against the fastest peer of all; on a GPU each of
ours and the best of them against one peer. Vectors that fail parity reach nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.batches import ALONE, FULL, MANY_RAGGED, RAGGED, SORTED
from bench.results import ModelResult, SystemResult, TimingResult
from bench.systems import COMPILED, EAGER, ONNXRUNTIME, OPENVINO, OURS, PYTORCH, STRATEGIES, name, our_label
from exporter.measure.quartiles import Quartiles, quartiles

LIMITS = {"fp32": 1 - 1e-6, "fp16": 0.999, "bf16": 0.99}
"""The smallest row cosine that is accepted, by precision. Never an average: one bad row must show."""

BEST = "best"
_SIX_LAYERS = 6
_ON_GPU = ((RAGGED, COMPILED, 1.5), (MANY_RAGGED, COMPILED, 1.5), (ALONE[1], EAGER, 3.0))
"""On a GPU: the workload, the peer, and how many times as fast: ragged throughput, and the latency of one text."""

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Goal:
    """Our speed-up on a workload, at the least."""

    workload: str
    strategy: str
    least: float


@dataclass(frozen=True)
class Verdict:
    """A goal against a measurement.

    target: who was held against it: a target of ours, or the best one.
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


class MemoryVerdict(NamedTuple):
    """`smaller` should need less memory than `larger`; increases in bytes, None where not measured."""

    smaller: str
    larger: str
    smaller_bytes: int | None
    larger_bytes: int | None

    @property
    def reached(self) -> bool | None:
        """None where it was not measured."""
        *_, less, more = self
        return None if less is None or more is None else less < more


def goals(layers: int) -> tuple[Goal, ...]:
    """On a processor. What `cls` saves in the last layer is a smaller share of a deeper model."""
    return (
        Goal(RAGGED, "cls", 1.8),
        Goal(RAGGED, "mean", 1.6),
        Goal(FULL, "cls", 1.12 if layers <= _SIX_LAYERS else 1.05),
        Goal(FULL, "mean", 0.98),
        Goal(SORTED, "cls", 1.15),
        Goal(SORTED, "mean", 1.0),
        *(Goal(workload, strategy, 0.97) for workload in ALONE for strategy in STRATEGIES),
    )


def comparisons(model: ModelResult) -> list[tuple[str, Labels, Labels]]:
    """Who is held against whom on a processor: the target's name, our labels, the peers' labels."""
    peers = {s.label: s for s in model.systems if s.side == "peer"}

    def those(dtype: str, *runtimes: str) -> Labels:
        return tuple(label for label, s in peers.items() if s.dtype == dtype and s.runtime in runtimes)

    held: list[tuple[str, Labels, Labels]] = [
        (f"{target} {dtype}", (our_label(target, dtype),), those(dtype, target, PYTORCH)) for target, dtype in OURS
    ]
    for dtype in dict.fromkeys(dtype for _, dtype in OURS):
        mine = tuple(our_label(target, other) for target, other in OURS if other == dtype)
        # With one target alone at this precision it is the best one, and stands there already.
        if len(mine) > 1:
            held.append((f"{BEST} {dtype}", mine, those(dtype, PYTORCH, ONNXRUNTIME, OPENVINO)))
    return held


def verdicts(model: ModelResult) -> list[Verdict]:
    """Every goal on every target, in the order of the goals."""
    if not model.rates:
        held = comparisons(model)
        return [_verdict(model, goal, *one) for goal in goals(model.size.layers) for one in held]
    return [
        _verdict(model, Goal(workload, strategy, least), target, labels, (f"{peer} {model.rates['dtype']}",))
        for workload, peer, least in _ON_GPU
        for strategy in STRATEGIES
        if any(s.strategy == strategy for s in model.systems)
        for ours in [tuple(s.label for s in model.systems if s.side == "ours" and s.strategy == strategy)]
        for target, labels in [*((label, (label,)) for label in ours), *([] if len(ours) == 1 else [(BEST, ours)])]
    ]


def memory_verdicts(model: ModelResult) -> list[MemoryVerdict]:
    """`cls` below `mean`, and both below the peers' export, in each runtime at fp32; none on a GPU."""
    judged = []
    for runtime in dict.fromkeys(target for target, _ in OURS if not model.rates):
        here, label = [m for m in model.memory if m.runtime == runtime], our_label(runtime, "fp32")
        sizes = {name(label, m.strategy): m.increase_bytes for m in here if m.side == "ours"}
        sizes |= {m.label: m.increase_bytes for m in here if m.side == "peer"}
        peer = next((m.label for m in here if m.side == "peer"), f"the peers' export in {runtime}")
        cls, mean = (name(label, strategy) for strategy in STRATEGIES)
        pairs = ((cls, mean), (cls, peer), (mean, peer))
        judged += [MemoryVerdict(*pair, *(sizes.get(one) for one in pair)) for pair in pairs]
    return judged


def parity_passes(system: SystemResult) -> bool:
    """Whether the vectors are as near to PyTorch's as the precision's limit asks, where they were looked at."""
    return system.smallest_cosine is None or system.smallest_cosine >= LIMITS[system.dtype]


def smallest_cosine(vectors: Sequence[npt.NDArray[np.float32]], reference: Sequence[npt.NDArray[np.float32]]) -> float:
    """The smallest cosine of a row with the reference's same row, over all batches, each float32 [rows, dim].

    Raises:
        ValueError: a batch of another shape, or a vector that is not finite or is zero.
    """
    smallest = 1.0
    for got, wanted in zip(vectors, reference, strict=True):
        if got.shape != wanted.shape:
            raise ValueError(f"got vectors of shape {list(got.shape)}, expected {list(wanted.shape)}")
        a, b = got.astype(np.float64), wanted.astype(np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if bad.size:
            raise ValueError(f"the vector of row {bad[0]} of {len(got)} is not finite, or is zero")
        smallest = min(smallest, float(((a * b).sum(axis=1) / lengths).min()))
    return smallest


def _verdict(model: ModelResult, goal: Goal, target: str, ours: Labels, peers: Labels) -> Verdict:
    """Our fastest against the fastest peer."""
    wrong = {s.label for s in model.systems if s.strategy == goal.strategy and not parity_passes(s)}
    mine, theirs = _fastest(model, [label for label in ours if label not in wrong], goal), _fastest(model, peers, goal)
    if theirs is None:
        why = [_why(model, label, goal) for label in peers] or ["no peer of this precision ran"]
    elif mine is None:
        why = [f"{label}: vectors fail parity" if label in wrong else _why(model, label, goal) for label in ours]
    else:
        ratios = [b / a for a, b in zip(mine[1].windows_ms, theirs[1].windows_ms, strict=True)]
        return Verdict(goal, target, mine[0], theirs[0], quartiles(ratios))
    return Verdict(goal, target, missing="; ".join(dict.fromkeys(why)) or "none of ours ran")


def _fastest(model: ModelResult, labels: Sequence[str], goal: Goal) -> tuple[str, TimingResult] | None:
    """The one of these with the smallest median on the goal's workload, and its windows."""
    timings = {label: model.timing(name(label, goal.strategy), goal.workload) for label in labels}
    there = [(label, timing) for label, timing in timings.items() if timing is not None]
    return min(there, key=lambda pair: pair[1].latency_ms.median, default=None)


def _why(model: ModelResult, label: str, goal: Goal) -> str:
    reasons = (model.missing.get(key) for key in (name(label, goal.strategy), label))
    return f"{label}: {next((r for r in reasons if r), model.failed or 'it was not timed')}"
