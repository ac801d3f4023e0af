"""Useful operations per second, and what share that is of a bare matrix product's. Arithmetic on results."""

from __future__ import annotations

from bench.peers.inputs import FULL
from bench.peers.results import ModelResult, TimingResult
from bench.peers.systems import name

_MS, _GIGA = 1e3, 1e9


def timing_of(model: ModelResult, label: str, strategy: str, workload: str) -> TimingResult:
    """The timing of a system that was measured."""
    wanted = (name(label, strategy), workload)
    return next(t for t in model.timings if (t.system, t.workload) == wanted)


def useful_gflops(model: ModelResult, timing: TimingResult) -> float:
    """10^9 useful operations a second of a system on a workload, at its median."""
    system = next(s for s in model.systems if s.name == timing.system)
    workload = next(w for w in model.workloads if w.name == timing.workload)
    return workload.useful_flops[system.strategy] / timing.latency_ms.median * _MS / _GIGA


def product_gflops(model: ModelResult, dtype: str) -> float | None:
    """10^9 operations a second of the bare product on the full batch, in the runtime that is fastest at it.

    None where no runtime multiplied at this precision.
    """
    products = {s.name for s in model.systems if s.side == "product" and s.dtype == dtype}
    medians = [t.latency_ms.median for t in model.timings if t.workload == FULL and t.system in products]
    if not medians:
        return None
    flops = next(w.product_flops for w in model.workloads if w.name == FULL)
    return flops / min(medians) * _MS / _GIGA


def rate(model: ModelResult, timing: TimingResult) -> str:
    """Useful GFLOP/s, and in brackets their share of the bare product's at the same precision."""
    dtype = next(s.dtype for s in model.systems if s.name == timing.system)
    useful, product = useful_gflops(model, timing), product_gflops(model, dtype)
    return f"{useful:.3g}" if product is None else f"{useful:.3g} ({useful / product:.0%})"
