"""Memory of a GPU: the arithmetic, and what the CUDA runtime itself answers on a machine without one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolfold.errors import TargetUnavailable
from poolfold.sessions.tensorrt.device_memory import Buffer, Scratch, Stream, host_view, rounded
from poolfold.sessions.tensorrt.gpu import load_cuda
from tests.gpu_here import without_gpu


@given(st.integers(1, 2**40))
def test_memory_is_enough_and_less_than_twice_as_much(size: int) -> None:
    assert max(size, 2**16) <= rounded(size) < max(2 * size, 2**16 + 1)
    assert rounded(size).bit_count() == 1


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([np.int64, np.float32]))
def test_an_array_over_memory_reads_and_writes_it(rows: int, columns: int, dtype: type) -> None:
    memory = np.arange(rows * columns, dtype=dtype)
    view = host_view(memory.ctypes.data, (rows, columns), np.dtype(dtype))
    np.testing.assert_array_equal(view, memory.reshape(rows, columns))
    view[-1, -1] = 77
    assert memory[-1] == 77


@without_gpu
@pytest.mark.parametrize("take", [lambda cuda: Buffer(cuda).require(10), lambda cuda: Scratch(cuda, 10)])
def test_memory_that_is_not_there_is_refused_in_the_runtimes_words(take) -> None:
    with pytest.raises(TargetUnavailable, match=r"the CUDA runtime failed: cudaError\w+, .+\."):
        take(load_cuda())


@without_gpu
def test_a_stream_without_a_gpu_is_refused() -> None:
    with pytest.raises(TargetUnavailable, match=r"the CUDA runtime failed: cudaError\w+, .+\."):
        Stream(load_cuda(), 0)


def test_a_buffer_that_holds_nothing_frees_nothing() -> None:
    buffer = Buffer(SimpleNamespace())
    buffer.free()
    assert (buffer.address, buffer.require(0)) == (0, False)


NAMES = (
    *("cudaMalloc", "cudaFree", "cudaMallocHost", "cudaFreeHost", "cudaMemcpyAsync", "cudaSetDevice"),
    *("cudaStreamCreateWithFlags", "cudaStreamDestroy", "cudaStreamSynchronize", "cudaStreamNonBlocking"),
    *("cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphLaunch"),
    *("cudaGraphDestroy", "cudaGraphExecDestroy", "cudaGetLastError", "cudaGetDeviceCount"),
    *("cudaGetDeviceProperties", "cudaDriverGetVersion", "cudaGetErrorString"),
)


def test_the_runtime_has_every_name_that_is_called() -> None:
    cuda = load_cuda()
    assert [name for name in NAMES if not hasattr(cuda, name)] == []
    assert cuda.cudaMemcpyKind.cudaMemcpyHostToDevice != cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
    assert cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal is not None
