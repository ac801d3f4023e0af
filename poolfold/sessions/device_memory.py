"""Device memory that grows and is used again, and copies to and from it. Not run: it needs a GPU.

Source: CUDA Runtime API, "Memory Management".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.sessions.gpu import succeed


class DeviceBuffer:
    """Bytes on the GPU that is current where it is used. `address` stays until more room is asked for."""

    def __init__(self, cuda: Any) -> None:
        """Start empty; `cuda` is the CUDA runtime's module."""
        self._cuda = cuda
        self._bytes = 0
        self.address = 0

    def reserve(self, size: int) -> bool:
        """Have room for `size` bytes. Returns whether the address has changed."""
        if size <= self._bytes:
            return False
        self.free()
        # In steps, so that a service's batches do not move it each time one is a little longer.
        rounded = 1 << max(size - 1, 255).bit_length()
        self.address = int(succeed(self._cuda, self._cuda.cudaMalloc(rounded)))
        self._bytes = rounded
        return True

    def write(self, values: npt.NDArray[Any], stream: Any) -> None:
        """Copy an array there, in order with the stream's other work. The array must be contiguous."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        copied = self._cuda.cudaMemcpyAsync(self.address, values.ctypes.data, values.nbytes, kind, stream)
        succeed(self._cuda, copied)

    def read(self, shape: tuple[int, ...], stream: Any) -> npt.NDArray[np.float32]:
        """Copy float32 values back, and wait for all of the stream's work."""
        values = np.empty(shape, dtype=np.float32)
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        succeed(self._cuda, self._cuda.cudaMemcpyAsync(values.ctypes.data, self.address, values.nbytes, kind, stream))
        succeed(self._cuda, self._cuda.cudaStreamSynchronize(stream))
        return values

    def free(self) -> None:
        """Give the memory back. Freeing twice does nothing."""
        if self.address:
            self._cuda.cudaFree(self.address)
            self.address, self._bytes = 0, 0
