"""The peak of the memory that a system takes: of the GPU, or on a processor of this process.

Read from the driver in the very process that runs the system, by a thread, and not from an allocator: PyTorch, ONNX
Runtime and TensorRT each have their own. The first GPU's context exists before the watch begins, and is not counted;
other programs on the card would be.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from types import TracebackType
from typing import Self

from exporter.measure import memory as resident

_PERIOD_S = 0.002


class DeviceMemory:
    """A context manager that watches the first GPU's memory in use; `increase_bytes` is its peak above the beginning.

    A driver that does not tell is told of on stderr, and stops no measurement.
    """

    def __enter__(self) -> Self:
        self._thread: threading.Thread | None = None
        try:
            self._begin()
        except (OSError, AttributeError) as error:
            print(f"the card's memory is not measured: {error}", file=sys.stderr)
        return self

    def _begin(self) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self._call("cuCtxSetCurrent", self._context)
        self._start = self._peak = self._used()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._over.set()
            self._thread.join()

    def increase_bytes(self) -> int | None:
        """The peak so far above what was in use at the beginning; None where the driver does not tell."""
        if self._thread is None:
            return None
        self._peak = max(self._peak, self._used())
        return self._peak - self._start

    def _watch(self) -> None:
        self._call("cuCtxSetCurrent", self._context)
        while not self._over.wait(_PERIOD_S):
            self._peak = max(self._peak, self._used())

    def _used(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._driver, function)(*arguments)
        if code != 0:
            raise OSError(f"the CUDA driver's {function} returned {code}, expected 0")


class HostMemory:
    """The same for this process's resident memory; None where the system does not tell."""

    def __enter__(self) -> Self:
        self._start = resident.resident_bytes() if resident.reset_peak() else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing runs beside."""

    def increase_bytes(self) -> int | None:
        """The peak so far above the beginning; libraries that the system imports count."""
        peak = resident.peak_bytes()
        return None if self._start is None or peak is None else peak - self._start


def watch(device: str) -> DeviceMemory | HostMemory:
    """The watch for a device."""
    return DeviceMemory() if device == "cuda" else HostMemory()
