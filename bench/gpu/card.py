"""The card: which it is, and how fast it multiplies and copies. Imports torch: call it in a process of its own.

The rates are what PyTorch reaches with one large product and one large copy, the best of many, so that a share of them
is never flattering.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DRIVER = Path("/proc/driver/nvidia/version")
_WARM_UP_S, _MEASURE_S = 0.5, 1.0
_CALLS = 10
_SIZES = {"cuda": (8192, 1 << 30), "cpu": (512, 1 << 24)}
"""By device: the side of the square matrices, and the bytes of the copied tensor."""


def describe(device: str) -> dict[str, Any] | str:
    """The fields of `results.Card`, or in words why there is no such device."""
    import torch

    if device == "cpu":
        return {"name": "the processor", "capability": "", "memory_bytes": 0, "driver": "", "cuda": ""}
    if not torch.cuda.is_available():
        how = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        return f"torch {torch.__version__} ({how}) finds no NVIDIA GPU"
    card = torch.cuda.get_device_properties(0)
    return {
        "name": card.name,
        "capability": f"{card.major}.{card.minor}",
        "memory_bytes": card.total_memory,
        "driver": _DRIVER.read_text().splitlines()[0] if _DRIVER.is_file() else "unknown",
        "cuda": torch.version.cuda or "",
    }


def rates(device: str, dtype: str) -> tuple[float, float]:
    """Operations a second of a square product, and bytes a second of a copy (read and written both count)."""
    import torch

    side, size = _SIZES[device]
    kind = {"fp16": torch.float16, "fp32": torch.float32}[dtype]
    synchronise = torch.cuda.synchronize if device == "cuda" else _nothing
    with torch.inference_mode():
        left, right = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
        product = torch.empty_like(left)
        multiply = best_seconds(lambda: torch.mm(left, right, out=product), synchronise)
        source = torch.zeros(size, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        copy = best_seconds(lambda: target.copy_(source), synchronise)
    return 2 * side**3 / multiply, 2 * size / copy


def best_seconds(call: Callable[[], object], synchronise: Callable[[], None]) -> float:
    """Seconds of a call: the best group of calls, each group ended by `synchronise`."""
    end = time.perf_counter() + _WARM_UP_S
    while time.perf_counter() < end:
        call()
        synchronise()
    best, end = float("inf"), time.perf_counter() + _MEASURE_S
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(_CALLS):
            call()
        synchronise()
        best = min(best, (time.perf_counter() - start) / _CALLS)
    return best


def _nothing() -> None:
    """A processor's calls are over when they return."""
