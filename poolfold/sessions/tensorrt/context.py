"""Create execution contexts of a loaded engine, with their working memory or a runtime cache.

A TensorRT context uses the working memory of its lane, which the contexts of the lane share, one run at a time.
TensorRT-RTX compiles kernels when it creates a context, captures CUDA graphs itself, and stores both in a runtime
cache. Not run on a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolfold.errors import ArtifactError, TargetUnavailable
from poolfold.sessions.graph_inputs import SENTENCE_EMBEDDING
from poolfold.sessions.tensorrt.engine import Loaded
from poolfold.sessions.tensorrt.library import reason
from poolfold.sessions.user_cache import cache_path, read_cache, write_cache


class RuntimeCache:
    """Kernels that TensorRT-RTX compiled for an engine and a GPU, stored in the user's cache folder."""

    def __init__(self, loaded: Loaded, digest: str) -> None:
        """Read the stored cache, if there is one.

        Args:
            loaded: a TensorRT-RTX engine.
            digest: SHA-256 of its file, so that each engine has a cache of its own.
        """
        trt = loaded.trt
        self._path: Path = cache_path("runtime", "tensorrt-rtx", str(trt.__version__), loaded.gpu.name, digest[:16])
        self.config = loaded.engine.create_runtime_config()
        self._cache = self.config.create_runtime_cache()
        self._lock = threading.Lock()
        kept = read_cache(self._path)
        # `deserialize` returns False for a cache from another driver or GPU; the cache then starts empty.
        self._saved = len(kept) if kept and self._cache.deserialize(kept) else 0
        self.config.set_runtime_cache(self._cache)
        self.config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE

    def save(self) -> None:
        """Store the cache if it has grown since it was last stored."""
        with self._lock:
            content = memoryview(self._cache.serialize())
            if content.nbytes != self._saved:
                write_cache(self._path, content)
                self._saved = content.nbytes


def make_context(loaded: Loaded, memory: tuple[int, int] | None, cache: RuntimeCache | None) -> Any:
    """Create an execution context.

    Args:
        loaded: the engine.
        memory: address and bytes of the working memory; None lets the library allocate it.
        cache: the runtime cache of TensorRT-RTX; None for TensorRT.

    Raises:
        TargetUnavailable: the library cannot create one, for lack of memory for example.
    """
    trt = loaded.trt
    if cache is not None:
        context = loaded.engine.create_execution_context(cache.config)
    elif memory is not None:
        context = loaded.engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    else:
        context = loaded.engine.create_execution_context()
    if context is None:
        raise TargetUnavailable(
            f"{loaded.path} cannot be run on {loaded.gpu.name}: {reason(trt)}. Free memory of the GPU, or build an "
            "engine for smaller batches."
        )
    if memory is not None:
        context.set_device_memory(*memory)
    return context


def prepare(
    loaded: Loaded,
    context: Any,
    profile: int,
    shapes: Mapping[str, tuple[int, ...]],
    addresses: Mapping[str, int],
    stream: int,
) -> None:
    """Set the profile of a context, the shapes of its inputs and the address of each tensor.

    Raises:
        ArtifactError: the engine refuses them, though its manifest allows them.
    """
    right = True
    if context.active_optimization_profile != profile:
        right = context.set_optimization_profile_async(profile, stream)
    right = right and all(context.set_input_shape(name, shape) for name, shape in shapes.items())
    right = right and all(context.set_tensor_address(name, address) for name, address in addresses.items())
    rows = shapes[loaded.inputs[0]][0]
    if not right or tuple(context.get_tensor_shape(SENTENCE_EMBEDDING)) != (rows, loaded.dim):
        raise ArtifactError(
            f"{loaded.path} refuses {dict(shapes)} in profile {profile}: {reason(loaded.trt)}. Build the engine again."
        )
