"""Memory of a GPU and a stream on it, through the CUDA runtime. Independent of engines. Not run on a GPU.

A failed call raises TargetUnavailable with the runtime's name and description of the error.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.sessions.tensorrt.gpu import succeed

_GRANULE = 64 * 1024


def rounded(size: int) -> int:
    """The bytes to allocate for `size`: a power of two, 64 KiB at least, so that a growing buffer is rarely moved."""
    return max(_GRANULE, 1 << (size - 1).bit_length())


class Buffer:
    """Memory of the GPU and equally much page-locked memory of the host, from which the GPU copies; it can grow."""

    def __init__(self, cuda: Any) -> None:
        """Allocate nothing yet; `cuda` is the module `cuda.bindings.runtime`."""
        self._cuda = cuda
        self._device = 0
        self._host = 0
        self._size = 0

    @property
    def address(self) -> int:
        """The address of the GPU memory; 0 before the first `require`."""
        return self._device

    def require(self, size: int) -> bool:
        """Allocate at least `size` bytes; returns whether the memory moved, in which case its content is lost."""
        if size <= self._size:
            return False
        self.free()
        size = rounded(size)
        self._device = int(succeed(self._cuda, self._cuda.cudaMalloc(size)))
        self._host = int(succeed(self._cuda, self._cuda.cudaMallocHost(size)))
        self._size = size
        return True

    def upload(self, values: npt.NDArray[Any], stream: int) -> None:
        """Copy an array to the GPU, after the work queued on the stream. The memory must be large enough."""
        np.copyto(self._view(values.shape, values.dtype), values)
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        succeed(self._cuda, self._cuda.cudaMemcpyAsync(self._device, self._host, values.nbytes, kind, stream))

    def download(self, shape: tuple[int, ...], stream: int) -> Callable[[], npt.NDArray[np.float32]]:
        """Copy float32 values back, after the work queued on the stream.

        Returns:
            A function that returns a copy of the values; call it after waiting for the stream.
        """
        size = int(np.prod(shape)) * 4
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        succeed(self._cuda, self._cuda.cudaMemcpyAsync(self._host, self._device, size, kind, stream))
        return lambda: self._view(shape, np.dtype(np.float32)).copy()

    def _view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        return host_view(self._host, shape, dtype)

    def free(self) -> None:
        """Give the memory back. Freeing twice does nothing."""
        if self._host:
            self._cuda.cudaFreeHost(self._host)
        if self._device:
            self._cuda.cudaFree(self._device)
        self._device = self._host = self._size = 0


class Scratch:
    """Memory of the GPU of a fixed size."""

    def __init__(self, cuda: Any, size: int) -> None:
        """Allocate `size` bytes, at least one."""
        self._cuda = cuda
        self.size = max(size, 1)
        self.address = int(succeed(cuda, cuda.cudaMalloc(self.size)))

    def free(self) -> None:
        """Give it back. Freeing twice does nothing."""
        if self.address:
            self._cuda.cudaFree(self.address)
        self.address = 0


def host_view(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An array over memory of another owner, who must not free it while the array is in use."""
    memory = (ctypes.c_char * (int(np.prod(shape)) * dtype.itemsize)).from_address(address)
    return np.ndarray(shape, dtype, memoryview(memory))


class Stream:
    """A non-blocking CUDA stream: it does not wait for the default stream."""

    def __init__(self, cuda: Any, gpu: int) -> None:
        """Create a stream on the GPU of this number, which becomes the GPU of the calling thread."""
        self._cuda = cuda
        self._gpu = gpu
        self.enter()
        self._stream: Any = succeed(cuda, cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))

    @property
    def handle(self) -> int:
        """The stream, as the libraries take it."""
        return int(self._stream)

    def enter(self) -> None:
        """Make the stream's GPU the GPU of the calling thread; CUDA keeps this setting per thread."""
        succeed(self._cuda, self._cuda.cudaSetDevice(self._gpu))

    def wait(self) -> None:
        """Wait for all work queued on the stream."""
        succeed(self._cuda, self._cuda.cudaStreamSynchronize(self._stream))

    def settle(self) -> None:
        """Wait for the stream before memory is freed, ignoring earlier errors."""
        self._cuda.cudaSetDevice(self._gpu)
        self._cuda.cudaStreamSynchronize(self._stream)

    def capture(self, enqueue: Callable[[], bool]) -> Any | None:
        """Capture the work that `enqueue` queues as a graph to `launch`; None where it cannot be captured.

        The capture is thread-local: CUDA restricts only the calls of this thread meanwhile.
        """
        cuda = self._cuda
        succeed(
            cuda,
            cuda.cudaStreamBeginCapture(self._stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal),
        )
        done = False
        try:
            done = enqueue()
        finally:  # after an error too, the capture must be ended
            code, graph = cuda.cudaStreamEndCapture(self._stream)
        captured = code == cuda.cudaError_t.cudaSuccess
        if not done or not captured:
            if captured:
                cuda.cudaGraphDestroy(graph)
            cuda.cudaGetLastError()  # clears the error, so that the next call does not report it
            return None
        code, executable = cuda.cudaGraphInstantiate(graph, 0)
        cuda.cudaGraphDestroy(graph)
        if code != cuda.cudaError_t.cudaSuccess:
            cuda.cudaGetLastError()
            return None
        return executable

    def launch(self, executable: Any) -> None:
        """Queue a captured graph on the stream."""
        succeed(self._cuda, self._cuda.cudaGraphLaunch(executable, self._stream))

    def discard(self, executable: Any) -> None:
        """Free a captured graph."""
        self._cuda.cudaGraphExecDestroy(executable)

    def free(self) -> None:
        """Destroy the stream."""
        self._cuda.cudaStreamDestroy(self._stream)
