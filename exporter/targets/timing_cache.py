"""TensorRT's timing cache, kept between builds: what each kernel took on this machine's GPU.

It lies in the user's cache folder and not in an artifact, since it belongs to a machine. A cache of another release or
GPU has another name. TensorRT-RTX times nothing when it builds, and has none. Not run: it needs a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporter.targets.trt_library import Library
from poolfold.sessions.user_cache import cache_path, read_cache, write_cache


def cache_file(library: Library, gpu: str) -> Path:
    """Where the cache of a release and a GPU lies; `gpu` is its name."""
    return cache_path("timing", library.target, library.version, gpu)


@contextlib.contextmanager
def timing_cache(library: Library, config: Any, path: Path | None) -> Iterator[None]:
    """Build with what earlier builds measured, and keep what this one adds if it ends well.

    Args:
        path: of the cache; None keeps none.
    """
    if path is None or library.is_rtx:
        yield
        return
    # A file that the library does not take, cut off for example, counts as none.
    cache = config.create_timing_cache(read_cache(path)) or config.create_timing_cache(b"")
    taken = cache is not None and config.set_timing_cache(cache, False)
    yield
    if taken:
        write_cache(path, memoryview(cache.serialize()))
