"""TensorRT's timing cache, kept between builds: what each kernel took on this machine's GPU.

It lies in the user's cache folder and not in an artifact, since it belongs to a machine. A cache of another release or
GPU has another name. TensorRT-RTX times nothing when it builds, and has none. Not run: it needs a GPU.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from exporter.targets.trt_library import Library


def cache_file(library: Library, gpu: str) -> Path:
    """Where the cache of a release and a GPU lies; `gpu` is its name."""
    safe = "".join(character if character.isalnum() else "-" for character in f"{library.version}_{gpu}")
    return user_cache_path("poolfold") / "timing" / f"tensorrt_{safe}.cache"


@contextlib.contextmanager
def timing_cache(library: Library, config: Any, path: Path | None) -> Iterator[None]:
    """Build with what earlier builds measured, and keep what this one adds if it ends well.

    Args:
        path: of the cache; None keeps none.
    """
    if path is None or library.is_rtx:
        yield
        return
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    config.set_timing_cache(cache, False)
    yield
    # Beside other builds: each writes its own file, and the last rename wins.
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    part.write_bytes(memoryview(cache.serialize()))
    part.replace(path)
