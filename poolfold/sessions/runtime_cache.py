"""What TensorRT-RTX compiles on a GPU for an engine, kept in the user's cache folder between processes.

Without it, every start of a service compiles anew, for seconds. It belongs to a GPU, a driver and a release, and the
library itself refuses one that does not fit. Not run: it needs a GPU.

Source: TensorRT-RTX documentation, "Runtime cache" and "Work with CUDA graphs".
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from poolfold.manifest import Engine
from poolfold.sessions.gpu import Gpu
from poolfold.sessions.trt_library import Library


def cache_path(engine: Engine, gpu: Gpu) -> Path:
    """Where the cache of an engine lies: one file for a release, a GPU, a driver and an engine."""
    what = "\n".join([engine.library_version, gpu.name, gpu.driver, engine.path, repr(engine.profiles)])
    return user_cache_path("poolfold") / "tensorrt-rtx" / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.cache"


class RuntimeCache:
    """Makes contexts of one engine that share what was compiled for it."""

    def __init__(self, library: Library, cuda_engine: Any, engine: Engine, gpu: Gpu) -> None:
        """Read the cache where there is one; a file that the library refuses counts as none."""
        trt = library.trt
        self._path, self._cuda_engine = cache_path(engine, gpu), cuda_engine
        runtime_config = cuda_engine.create_runtime_config()
        runtime_cache = runtime_config.create_runtime_cache()
        if self._path.is_file():
            runtime_cache.deserialize(self._path.read_bytes())
        runtime_config.set_runtime_cache(runtime_cache)
        # The library's own capture follows shapes as they change.
        runtime_config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._config, self._cache = runtime_config, runtime_cache

    def create_context(self) -> Any:
        """A context of the engine; None where the library fails."""
        return self._cuda_engine.create_execution_context(self._config)

    def save(self) -> None:
        """Write the cache, whole. Where there is no room for it, the next start compiles again."""
        part = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(memoryview(self._cache.serialize()))
            part.replace(self._path)
        except OSError:
            part.unlink(missing_ok=True)
