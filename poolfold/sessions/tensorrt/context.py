"""Execution contexts of a loaded engine: where their memory comes from, and what is kept between processes.

TensorRT's contexts get their working memory from a lane, which many of them share one after the other. TensorRT-RTX
compiles kernels when a context is made, captures CUDA graphs by itself, and keeps both in a runtime cache. Not run: it
needs a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolfold.errors import ArtifactError, TargetUnavailable
from poolfold.sessions.tensorrt.engine import VECTORS, Loaded
from poolfold.sessions.tensorrt.library import reason
from poolfold.sessions.user_cache import cache_path, read_cache, write_cache


class RuntimeCache:
    """What TensorRT-RTX compiled for an engine and a GPU, in the user's cache folder."""

    def __init__(self, loaded: Loaded, digest: str) -> None:
        """Read what is kept.

        Args:
            loaded: a TensorRT-RTX engine.
            digest: SHA-256 of its file: the cache of another engine would not help.
        """
        trt = loaded.trt
        self._path: Path = cache_path("runtime", "tensorrt-rtx", str(trt.__version__), loaded.gpu.name, digest[:16])
        self.config = loaded.engine.create_runtime_config()
        self._cache = self.config.create_runtime_cache()
        self._lock = threading.Lock()
        kept = read_cache(self._path)
        # It says no to what another driver or GPU made, and then simply starts anew.
        self._saved = len(kept) if kept and self._cache.deserialize(kept) else 0
        self.config.set_runtime_cache(self._cache)
        self.config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE

    def save(self) -> None:
        """Keep what was compiled since it was last kept."""
        with self._lock:
            content = memoryview(self._cache.serialize())
            if content.nbytes != self._saved:
                write_cache(self._path, content)
                self._saved = content.nbytes


def make_context(loaded: Loaded, memory: tuple[int, int] | None, cache: RuntimeCache | None) -> Any:
    """A context.

    Args:
        loaded: the engine.
        memory: address and bytes of the working memory; None has the library allocate it.
        cache: TensorRT-RTX's; None for TensorRT.

    Raises:
        TargetUnavailable: the library cannot make one, for want of memory for example.
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
    """Tell a context the profile, the inputs' shapes, and where each tensor lies.

    Raises:
        ArtifactError: the engine refuses them, though its manifest allows them.
    """
    right = True
    if context.active_optimization_profile != profile:
        right = context.set_optimization_profile_async(profile, stream)
    right = right and all(context.set_input_shape(name, shape) for name, shape in shapes.items())
    right = right and all(context.set_tensor_address(name, address) for name, address in addresses.items())
    rows = shapes[loaded.inputs[0]][0]
    if not right or tuple(context.get_tensor_shape(VECTORS)) != (rows, loaded.dim):
        raise ArtifactError(
            f"{loaded.path} refuses {dict(shapes)} in profile {profile}: {reason(loaded.trt)}. Build the engine again."
        )
