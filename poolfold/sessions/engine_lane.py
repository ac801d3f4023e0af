"""One execution context with its stream, its buffers and its captured graphs: what runs one batch at a time.

Not run: it needs a GPU. Written against TensorRT's documentation ("Inference", "CUDA graphs") and the CUDA Runtime API.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError
from poolfold.sessions.device_memory import DeviceBuffer
from poolfold.sessions.gpu import succeed

OUTPUT = "sentence_embedding"
_MOST_GRAPHS = 16


class Lane:
    """Runs batches one after the other. Not safe to share between threads; `EngineSession` lends each to one."""

    def __init__(self, cuda: Any, context: Any, dim: int, *, capture: bool) -> None:
        """Take a context.

        Args:
            cuda: the CUDA runtime's module.
            context: an execution context of the library.
            dim: values of a vector.
            capture: whether to keep what a shape enqueues as a CUDA graph, which one call launches.
        """
        self._cuda, self._context, self._dim, self._capture = cuda, context, dim, capture
        self._stream: Any = succeed(cuda, cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
        self._buffers: dict[str, DeviceBuffer] = {}
        self._profile: int | None = None
        self._seen: set[tuple[Any, ...]] = set()
        self._graphs: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def run(self, profile: int, inputs: dict[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 inputs by name -> float32 [batch, dim].

        Raises:
            ArtifactError: the engine refuses a shape or fails.
            TargetUnavailable: the GPU fails.
        """
        rows = len(inputs["input_ids"])
        sizes = {name: values.nbytes for name, values in inputs.items()}
        moved = [self._reserve(name, size) for name, size in {**sizes, OUTPUT: 4 * rows * self._dim}.items()]
        if any(moved):
            # A captured graph holds the addresses that it was captured with.
            self._drop_graphs()
        for name, values in inputs.items():
            self._buffers[name].write(np.ascontiguousarray(values), self._stream)
        key = (profile, *(values.shape for values in inputs.values()))
        graph = self._graphs.get(key)
        if graph is not None:
            self._graphs.move_to_end(key)
            succeed(self._cuda, self._cuda.cudaGraphLaunch(graph, self._stream))
        else:
            self._enqueue(profile, inputs, key)
        return self._buffers[OUTPUT].read((rows, self._dim), self._stream)

    def _enqueue(self, profile: int, inputs: dict[str, npt.NDArray[np.int64]], key: tuple[Any, ...]) -> None:
        context = self._context
        if profile != self._profile:
            if not context.set_optimization_profile_async(profile, int(self._stream)):
                raise ArtifactError(f"the engine refuses its own optimisation profile {profile}. Build it again.")
            self._profile = profile
        for name, values in inputs.items():
            if not context.set_input_shape(name, tuple(values.shape)):
                raise ArtifactError(
                    f"the engine refuses {name} {list(values.shape)} in profile {profile}, which its manifest allows. "
                    "Build it again."
                )
        for name, buffer in self._buffers.items():
            context.set_tensor_address(name, buffer.address)
        # Once as it is: the library does work then that cannot be captured. A shape seen again is worth a graph.
        if self._capture and key in self._seen and self._captured(key):
            return
        self._seen.add(key)
        self._execute()

    def _execute(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise ArtifactError("the engine failed while it was enqueued; see its log. Build it again.")

    def _captured(self, key: tuple[Any, ...]) -> bool:
        """Capture what the context enqueues, launch it and keep it; False where this engine cannot be captured."""
        cuda = self._cuda
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        succeed(cuda, cuda.cudaStreamBeginCapture(self._stream, mode))
        enqueued = self._context.execute_async_v3(int(self._stream))
        code, graph = cuda.cudaStreamEndCapture(self._stream)
        if not enqueued or code != cuda.cudaError_t.cudaSuccess:
            cuda.cudaGetLastError()  # clears it
            self._capture = False
            return False
        executable = succeed(cuda, cuda.cudaGraphInstantiate(graph, 0))
        succeed(cuda, cuda.cudaGraphDestroy(graph))
        succeed(cuda, cuda.cudaGraphLaunch(executable, self._stream))
        self._graphs[key] = executable
        if len(self._graphs) > _MOST_GRAPHS:
            succeed(cuda, cuda.cudaGraphExecDestroy(self._graphs.popitem(last=False)[1]))
        return True

    def _reserve(self, name: str, size: int) -> bool:
        if name not in self._buffers:
            self._buffers[name] = DeviceBuffer(self._cuda)
        return self._buffers[name].reserve(size)

    def _drop_graphs(self) -> None:
        for graph in self._graphs.values():
            self._cuda.cudaGraphExecDestroy(graph)
        self._graphs.clear()
        self._seen.clear()

    def close(self) -> None:
        """Free all that it holds on the GPU."""
        self._drop_graphs()
        for buffer in self._buffers.values():
            buffer.free()
        # Contexts go before their engine.
        self._context = None
        self._cuda.cudaStreamDestroy(self._stream)
