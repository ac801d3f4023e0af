# ruff: noqa: N802, N815 - names of the CUDA runtime
"""A stand-in for a GPU and an engine, in the machine's own memory, for the bookkeeping around them.

It proves nothing of CUDA or TensorRT: that needs a GPU. It proves that bytes go where they should, that shapes are told
before a run, that a captured graph is used for its own shapes and addresses only, and that all is given back.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from poolfold.manifest import Engine
from poolfold.sessions.tensorrt.engine import Loaded
from poolfold.sessions.tensorrt.gpu import Gpu

DIM = 4
_OK = SimpleNamespace(name="cudaSuccess")
_BAD = SimpleNamespace(name="cudaErrorStreamCaptureUnsupported")
_FULL = SimpleNamespace(name="cudaErrorMemoryAllocation")


class FakeCuda:
    """The calls of the CUDA runtime that sessions make. `held` counts what was taken and not given back."""

    cudaError_t = SimpleNamespace(cudaSuccess=_OK)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking = 1

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.memory: dict[int, Any] = {}
        self.recording: list[Callable[[], None]] | None = None
        self.capturable = True
        self.left = 1 << 40

    def _take(self, kind: str, size: int) -> tuple[Any, int | None]:
        if size > self.left:
            return _FULL, None
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        self.held[kind] += 1
        return _OK, ctypes.addressof(block)

    def _give(self, kind: str, address: int) -> tuple[Any]:
        del self.memory[address]
        self.held[kind] -= 1
        return (_OK,)

    def cudaMalloc(self, size):
        return self._take("device", size)

    def cudaFree(self, address):
        return self._give("device", address)

    def cudaMallocHost(self, size):
        return self._take("host", size)

    def cudaFreeHost(self, address):
        return self._give("host", address)

    def cudaMemcpyAsync(self, to, source, size, kind, stream):
        assert size <= len(self.memory[to])
        assert size <= len(self.memory[source])
        assert self.recording is None
        ctypes.memmove(to, source, size)
        return (_OK,)

    def cudaSetDevice(self, gpu):
        return (_OK,)

    def cudaStreamCreateWithFlags(self, flags):
        self.held["stream"] += 1
        return _OK, 77

    def cudaStreamDestroy(self, stream):
        self.held["stream"] -= 1
        return (_OK,)

    def cudaStreamSynchronize(self, stream):
        return (_OK,)

    def cudaStreamBeginCapture(self, stream, mode):
        self.recording = []
        return (_OK,)

    def cudaStreamEndCapture(self, stream):
        recorded, self.recording = self.recording, None
        if not self.capturable:
            return _BAD, None
        self.held["graph"] += 1
        return _OK, recorded

    def cudaGraphInstantiate(self, graph, flags):
        self.held["executable"] += 1
        return _OK, graph

    def cudaGraphDestroy(self, graph):
        self.held["graph"] -= 1
        return (_OK,)

    def cudaGraphExecDestroy(self, executable):
        self.held["executable"] -= 1
        return (_OK,)

    def cudaGraphLaunch(self, executable, stream):
        self.calls["launch"] += 1
        for step in executable:
            step()
        return (_OK,)

    def cudaGetLastError(self):
        return (_OK,)

    def cudaGetErrorString(self, code):
        return _OK, b"in words"

    def put(self, step: Callable[[], None]) -> None:
        """Do a step now, or note it where a capture runs."""
        if self.recording is None:
            step()
        else:
            self.recording.append(step)


class FakeContext:
    """Gives for each row the sum of its unmasked ids, plus 0, 1, 2, ..."""

    def __init__(self, cuda: FakeCuda, *, fails: bool) -> None:
        self.cuda, self.fails = cuda, fails
        self.active_optimization_profile = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.memory: tuple[int, int] | None = None

    def set_device_memory(self, address, size):
        self.memory = (address, size)

    def set_optimization_profile_async(self, profile, stream):
        self.active_optimization_profile, self.shapes = profile, {}
        return True

    def set_input_shape(self, name, shape):
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def get_tensor_shape(self, name):
        return (self.shapes["input_ids"][0], DIM)

    def execute_async_v3(self, stream_handle):
        assert self.memory is not None
        self.cuda.calls["execute"] += 1
        ids, mask, out = (self.addresses[name] for name in ("input_ids", "attention_mask", "sentence_embedding"))
        shape = self.shapes["input_ids"]
        assert all(address in self.cuda.memory for address in (ids, mask, out, self.memory[0]))

        def compute() -> None:
            count = shape[0] * shape[1]
            read = [
                np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(address)).reshape(shape)
                for address in (ids, mask)
            ]
            to = np.ctypeslib.as_array((ctypes.c_float * (shape[0] * DIM)).from_address(out)).reshape(-1, DIM)
            to[:] = (read[0] * read[1]).sum(axis=1, keepdims=True) + np.arange(DIM)

        self.cuda.put(compute)
        return not self.fails


class FakeEngine:
    """Makes contexts."""

    device_memory_size_v2 = 1000

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.fails, self.made = cuda, False, 0

    def create_execution_context(self, strategy):
        self.made += 1
        return FakeContext(self.cuda, fails=self.fails)


def fake_engine(record: Engine) -> tuple[Loaded, FakeCuda]:
    """An engine of TensorRT's on that GPU."""
    cuda = FakeCuda()
    severity = SimpleNamespace(ERROR=1, WARNING=2)
    trt = SimpleNamespace(
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED=2),
        ILogger=type("ILogger", (), {"Severity": severity}),
        __version__="11.4.0",
    )
    trt = _Hashable(trt)
    gpu = Gpu(ordinal=0, name="stand-in", compute_capability="8.9", driver="13.0")
    return Loaded(Path(record.path), record, gpu, trt, cuda, None, FakeEngine(cuda), DIM), cuda


class _Hashable:
    """A module is hashable, a namespace is not."""

    def __init__(self, names: SimpleNamespace) -> None:
        self.__dict__.update(vars(names))
