"""The card: which it is, how fast it multiplies, how much of its memory is taken.

`describe` and `product_rate` import torch: call them in a process of their own. The rate is what PyTorch reaches with
one large product, the best of many, so that a share of it is never flattering.
"""

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exporter.measure.memory import peak_bytes, reset_peak, resident_bytes

_DRIVER = Path("/proc/driver/nvidia/version")
_WARM_UP_S, _MEASURE_S = 0.5, 1.0
_CALLS = 10
_SIDES = {"cuda": 8192, "cpu": 512}
_PERIOD_S = 0.002


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


def product_rate(device: str, dtype: str) -> float:
    """Operations a second of a square product."""
    import torch

    side = _SIDES[device]
    kind = {"fp16": torch.float16, "fp32": torch.float32}[dtype]
    # A processor's calls are over when they return.
    synchronise = torch.cuda.synchronize if device == "cuda" else lambda: None
    with torch.inference_mode():
        left, right = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
        product = torch.empty_like(left)
        return float(2 * side**3 / best_seconds(lambda: torch.mm(left, right, out=product), synchronise))


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


@contextmanager
def watch(device: str) -> Iterator[Callable[[], int | None]]:
    """Watch the first GPU's memory in use, or on a processor this process's.

    Read from the driver in the very process that runs the system, by a thread, and not from an allocator: PyTorch, ONNX
    Runtime and TensorRT each have their own. The first GPU's context exists before the watch begins, and is not
    counted; other programs on the card would be. A driver that does not tell is told of on stderr, and stops nothing.

    Yields:
        What tells the peak so far above the beginning, in bytes; None where the machine does not tell.
    """
    if device != "cuda":
        start = resident_bytes() if reset_peak() else None
        yield lambda: None if start is None else (peak_bytes() or start) - start
        return
    try:
        card = _Card()
    except (OSError, AttributeError) as error:
        print(f"the card's memory is not measured: {error}", file=sys.stderr)
        yield lambda: None
        return
    over = threading.Event()
    thread = threading.Thread(target=card.watch, args=(over,), daemon=True)
    thread.start()
    try:
        yield card.increase_bytes
    finally:
        over.set()
        thread.join()


class _Card:
    """The first GPU through its driver, whose functions return 0 or an error's number."""

    def __init__(self) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self._call("cuCtxSetCurrent", self._context)
        self._start = self._peak = self._used()

    def increase_bytes(self) -> int:
        self._peak = max(self._peak, self._used())
        return self._peak - self._start

    def watch(self, over: threading.Event) -> None:
        self._call("cuCtxSetCurrent", self._context)
        while not over.wait(_PERIOD_S):
            self._peak = max(self._peak, self._used())

    def _used(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._driver, function)(*arguments)
        if code != 0:
            raise OSError(f"the CUDA driver's {function} returned {code}, expected 0")
