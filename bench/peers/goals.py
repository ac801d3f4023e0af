"""What poolfold holds itself to against its peers on a processor, and who is held against whom.

At equal precision, each of our targets is held against the fastest peer in the same runtime, PyTorch counting in every
one, and the best of our targets against the fastest peer of all.
"""

from __future__ import annotations

from bench.batches import ALONE, FULL, RAGGED, SORTED
from bench.goals import BEST, Comparison, Goal, MemoryVerdict, Verdict, verdict
from bench.peers.systems import ONNXRUNTIME, OPENVINO, OURS, PYTORCH
from bench.results import ModelResult
from bench.systems import name, our_label

_SIX_LAYERS = 6


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


def comparisons(model: ModelResult) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Who is held against whom: the target's name, our labels, the peers' labels."""
    peers = {s.label: s for s in model.systems if s.side == "peer"}

    def those(dtype: str, runtimes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(label for label, s in peers.items() if s.dtype == dtype and s.runtime in runtimes)

    held: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
        (f"{target} {dtype}", (our_label(target, dtype),), those(dtype, (target, PYTORCH))) for target, dtype in OURS
    ]
    for dtype in dict.fromkeys(dtype for _, dtype in OURS):
        mine = tuple(our_label(target, other) for target, other in OURS if other == dtype)
        # With one target alone at this precision it is the best one, and stands there already.
        if len(mine) > 1:
            held.append((f"{BEST} {dtype}", mine, those(dtype, (PYTORCH, ONNXRUNTIME, OPENVINO))))
    return held


def verdicts(model: ModelResult) -> list[Verdict]:
    """Every goal on every target, in the order of the goals."""
    return [verdict(model, Comparison(goal, *held)) for goal in goals(model.size.layers) for held in comparisons(model)]


def memory_verdicts(model: ModelResult) -> list[MemoryVerdict]:
    """`cls` below `mean`, and both below the peers' export, in each runtime at fp32."""
    judged = []
    for runtime in dict.fromkeys(target for target, _ in OURS):
        here = [m for m in model.memory if m.runtime == runtime]
        ours = {m.strategy: m for m in here if m.side == "ours"}
        peer = next((m for m in here if m.side == "peer"), None)
        peer_label = peer.label if peer else f"the peers' export in {runtime}"
        label = our_label(runtime, "fp32")
        for smaller, larger in (("cls", "mean"), ("cls", ""), ("mean", "")):
            left, right = ours.get(smaller), ours.get(larger) if larger else peer
            judged.append(
                MemoryVerdict(
                    smaller=name(label, smaller),
                    larger=name(label, larger) if larger else peer_label,
                    smaller_bytes=left.increase_bytes if left else None,
                    larger_bytes=right.increase_bytes if right else None,
                )
            )
    return judged
