"""In a worker: load an engine of an artifact through `poolfold.load`, the loader that ships.

Importing this module imports what both of NVIDIA's libraries are run with; the target's own library comes with the
load, and counts as added. Not run: it needs a GPU.
"""

from __future__ import annotations

from pathlib import Path

import cuda.bindings.runtime  # noqa: F401
import tokenizers  # noqa: F401

import poolfold
from exporter.measure.protocol import Embed


def load(directory: str, strategy: str, dtype: str, target: str, threads: int) -> Embed:
    """The encoder's `embed`; arguments as `poolfold.load`."""
    encoder = poolfold.load(Path(directory), strategy=strategy, target=target, dtype=dtype, threads=threads)
    return encoder.embed
