"""Memory of a GPU and a stream on it, through the CUDA runtime. Knows no engine. Not run: it needs a GPU.

Every call may fail; a failure raises TargetUnavailable with the runtime's own name and words for it.
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
    """The bytes to allocate for `size`: the next power of two from 64 KiB on, so that a growing need moves seldom."""
    return max(_GRANULE, 1 << (size - 1).bit_length())


class Buffer:
    """Memory of the GPU, and as much of the host's that the GPU copies from and to directly; it grows when asked."""

    def __init__(self, cuda: Any) -> None:
        """Allocate nothing yet; `cuda` is the module `cuda.bindings.runtime`."""
        self._cuda = cuda
        self._device = 0
        self._host = 0
        self._size = 0

    @property
    def address(self) -> int:
        """Of the GPU's memory; 0 before the first `require`."""
        return self._device

    def require(self, size: int) -> bool:
        """Hold `size` bytes at least; returns whether the memory moved. What was in it is then gone."""
        if size <= self._size:
            return False
        self.free()
        size = rounded(size)
        self._device = int(succeed(self._cuda, self._cuda.cudaMalloc(size)))
        self._host = int(succeed(self._cuda, self._cuda.cudaMallocHost(size)))
        self._size = size
        return True

    def upload(self, values: npt.NDArray[Any], stream: int) -> None:
        """Copy an array to the GPU, behind what the stream does already. The memory must be large enough."""
        np.copyto(self._view(values.shape, values.dtype), values)
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        succeed(self._cuda, self._cuda.cudaMemcpyAsync(self._device, self._host, values.nbytes, kind, stream))

    def download(self, shape: tuple[int, ...], stream: int) -> Callable[[], npt.NDArray[np.float32]]:
        """Copy float32 values back, behind what the stream does already.

        Returns:
            What gives a copy of them, to be called once the stream has been waited for.
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
        """Allocate `size` bytes, and one at least."""
        self._cuda = cuda
        self.size = max(size, 1)
        self.address = int(succeed(cuda, cuda.cudaMalloc(self.size)))

    def free(self) -> None:
        """Give it back. Freeing twice does nothing."""
        if self.address:
            self._cuda.cudaFree(self.address)
        self.address = 0


def host_view(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An array over memory that someone else owns, and must keep while the array is used."""
    memory = (ctypes.c_char * (int(np.prod(shape)) * dtype.itemsize)).from_address(address)
    return np.ndarray(shape, dtype, memoryview(memory))


class Stream:
    """A stream of a GPU, which waits for no other."""

    def __init__(self, cuda: Any, gpu: int) -> None:
        """Make one on a GPU, by its number; the calling thread uses that GPU from then on."""
        self._cuda = cuda
        self._gpu = gpu
        self.enter()
        self._stream: Any = succeed(cuda, cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))

    @property
    def handle(self) -> int:
        """The stream, as the libraries take it."""
        return int(self._stream)

    def enter(self) -> None:
        """Have the calling thread use the stream's GPU: CUDA keeps that for each thread."""
        succeed(self._cuda, self._cuda.cudaSetDevice(self._gpu))

    def wait(self) -> None:
        """Wait for all that the stream has to do."""
        succeed(self._cuda, self._cuda.cudaStreamSynchronize(self._stream))

    def settle(self) -> None:
        """Wait before memory is given back, whatever failed before."""
        self._cuda.cudaSetDevice(self._gpu)
        self._cuda.cudaStreamSynchronize(self._stream)

    def capture(self, enqueue: Callable[[], bool]) -> Any | None:
        """What `enqueue` puts into the stream, as a graph to `launch`; None where it cannot be captured.

        Only this thread's calls are captured and forbidden meanwhile, so that other threads go on.
        """
        cuda = self._cuda
        succeed(
            cuda,
            cuda.cudaStreamBeginCapture(self._stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal),
        )
        done = False
        try:
            done = enqueue()
        finally:  # whatever happened, the stream must leave the capture
            code, graph = cuda.cudaStreamEndCapture(self._stream)
        captured = code == cuda.cudaError_t.cudaSuccess
        if not done or not captured:
            if captured:
                cuda.cudaGraphDestroy(graph)
            cuda.cudaGetLastError()  # a failed capture is no failure of the next call
            return None
        code, executable = cuda.cudaGraphInstantiate(graph, 0)
        cuda.cudaGraphDestroy(graph)
        if code != cuda.cudaError_t.cudaSuccess:
            cuda.cudaGetLastError()
            return None
        return executable

    def launch(self, executable: Any) -> None:
        """Put a captured graph into the stream."""
        succeed(self._cuda, self._cuda.cudaGraphLaunch(executable, self._stream))

    def discard(self, executable: Any) -> None:
        """Free a captured graph."""
        self._cuda.cudaGraphExecDestroy(executable)

    def free(self) -> None:
        """End the stream."""
        self._cuda.cudaStreamDestroy(self._stream)
