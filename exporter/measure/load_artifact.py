"""In a worker: load a graph of an artifact in ONNX Runtime through `poolfold.load`, the loader that ships.

Importing this module imports the runtime's libraries, so that memory before the load counts them; see `worker`.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime  # noqa: F401
import tokenizers  # noqa: F401

import poolfold
from exporter.measure.protocol import Embed


def load(directory: str, strategy: str, dtype: str, target: str, threads: int, provider: str = "cpu") -> Embed:
    """The encoder's `embed`; arguments as `poolfold.load`."""
    encoder = poolfold.load(
        Path(directory), strategy=strategy, target=target, dtype=dtype, threads=threads, provider=provider
    )
    return encoder.embed
